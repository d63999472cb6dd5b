//! The control plane, as far as owners and edges see it: who should own what, who is dead, where
//! everything is. It is for liveness only, so it may be wrong here as often as the plan likes.

use std::collections::{BTreeMap, BTreeSet};

use iris_check::history::{SessionNo, What};
use iris_core::id::{SessionId, ShardCount, ShardId};
use iris_core::seq::{BlockSeq, Epoch};

use crate::network::Node;
use crate::owner::{Call, Report};
use crate::store::Query;
use crate::world::{EDGES, Event, World};

/// It looks around so often.
const TICK_US: u64 = 100_000;
/// A session that says nothing for so long is dead.
const SILENCE_US: u64 = 1_600_000;
/// A move that nobody heard the end of is over by then.
const MOVE_US_MAX: u64 = 8_000_000;
/// Shards that nobody reports are looked up in the store so often.
const SCAN_US: u64 = 2_000_000;
/// A session whose stream broke may come back within this time.
const RECONNECT_US: u64 = 250_000;

/// Where a shard is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    pub(crate) epoch: Epoch,
    pub(crate) owner: usize,
}

/// Where every shard is served that is served.
pub(crate) type Board = BTreeMap<ShardId, Whereabouts>;

/// What a session should acquire, and whom it may fence for that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Owners read it from one place: an earlier one counts no more.
    pub(crate) revision: u64,
    pub(crate) shards: BTreeSet<ShardId>,
    pub(crate) dead: BTreeSet<SessionId>,
}

impl Assignment {
    fn says_what(&self, other: &Self) -> bool {
        (&self.shards, &self.dead) == (&other.shards, &other.dead)
    }
}

/// A session, as the control plane knows it.
#[derive(Debug)]
struct Member {
    heard_at: u64,
    broken_at: Option<u64>,
    serving: BTreeMap<ShardId, Epoch>,
    told: Option<Assignment>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Control {
    count: ShardCount,
    members: BTreeMap<usize, Member>,
    dead: BTreeSet<usize>,
    desired: BTreeMap<ShardId, usize>,
    pub(crate) board: Board,
    pub(crate) moving: BTreeSet<ShardId>,
    /// Until when another leader orders somebody else to do the same.
    two_leaders_until: u64,
    scan_at: u64,
}

impl Control {
    pub(crate) fn new(count: ShardCount) -> Self {
        Self {
            count,
            members: BTreeMap::new(),
            dead: BTreeSet::new(),
            desired: BTreeMap::new(),
            board: Board::new(),
            moving: BTreeSet::new(),
            two_leaders_until: 0,
            scan_at: 0,
        }
    }

    pub(crate) fn stream_broke(&mut self, owner: usize, now: u64) {
        if let Some(member) = self.members.get_mut(&owner) {
            member.broken_at.get_or_insert(now);
        }
    }

    pub(crate) fn two_leaders(&mut self, until: u64) {
        self.two_leaders_until = until;
    }

    pub(crate) fn is_dead(&self, owner: usize) -> bool {
        self.dead.contains(&owner)
    }

    /// Takes a session for dead, whatever it does.
    pub(crate) fn misjudge(&mut self, owner: usize) {
        if self.members.remove(&owner).is_some() {
            self.dead.insert(owner);
        }
    }

    /// Declares sessions dead; whether any was.
    fn find_dead(&mut self, now: u64) -> bool {
        let is_dead = |member: &Member| {
            let silent = now.saturating_sub(member.heard_at) >= SILENCE_US;
            silent || member.broken_at.is_some_and(|at| now.saturating_sub(at) >= RECONNECT_US)
        };
        let dead: Vec<_> =
            self.members.iter().filter(|(_, m)| is_dead(m)).map(|(owner, _)| *owner).collect();
        for owner in &dead {
            self.members.remove(owner);
            self.dead.insert(*owner);
        }
        !dead.is_empty()
    }

    /// Places the shards that have no live owner where there are fewest.
    fn place(&mut self) -> Vec<(ShardId, usize)> {
        let mut placed = Vec::new();
        for shard in self.count.shards() {
            let known = self.desired.get(&shard);
            if self.moving.contains(&shard) || known.is_some_and(|o| self.members.contains_key(o)) {
                continue;
            }
            let load = |owner: &usize| self.desired.values().filter(|o| *o == owner).count();
            let Some(owner) = self.members.keys().copied().min_by_key(load) else { break };
            self.desired.insert(shard, owner);
            placed.push((shard, owner));
        }
        placed
    }
}

impl World {
    pub(crate) fn govern(&mut self) {
        let now = self.now();
        if self.control.find_dead(now) {
            self.publish();
        }
        if now >= self.control.scan_at {
            self.control.scan_at = now + SCAN_US;
            self.scan();
        }
        for (shard, owner) in self.control.place() {
            let owners = vec![self.book.session(self.owners[owner].id)];
            self.note(What::Desired { shard: shard.into(), owners, declared: true });
        }
        self.assign(now);
        self.agenda.after(TICK_US, Event::Govern);
    }

    /// Whoever has a shard by the store should serve it, whatever was assigned.
    fn scan(&mut self) {
        for shard in self.count.shards() {
            let served = |member: &Member| member.serving.contains_key(&shard);
            if self.control.members.values().any(served) || self.control.moving.contains(&shard) {
                continue;
            }
            let head = self.store.head(shard).filter(|row| row.released_block.is_none());
            let holder = head.and_then(|row| self.by_session.get(&row.session).copied());
            if let Some(holder) = holder.filter(|o| self.control.members.contains_key(o)) {
                self.control.desired.insert(shard, holder);
            }
        }
    }

    fn assign(&mut self, now: u64) {
        let members: Vec<usize> = self.control.members.keys().copied().collect();
        // A leader that does not know that it is none any more orders the next one, too.
        let second = self.control.two_leaders_until > now;
        let dead: BTreeSet<SessionId> =
            self.control.dead.iter().map(|owner| self.owners[*owner].id).collect();
        for (index, owner) in members.iter().copied().enumerate() {
            let mut wanted: Vec<usize> = vec![owner];
            if second {
                wanted.push(members[(index + 1) % members.len()]);
            }
            let is_wanted = |(_, desired): &(&ShardId, &usize)| wanted.contains(desired);
            let shards = self.control.desired.iter().filter(is_wanted).map(|(shard, _)| *shard);
            let assignment =
                Assignment { revision: now, shards: shards.collect(), dead: dead.clone() };
            let member = self.control.members.get(&owner).expect("a member");
            let pod = self.owners[owner].pod;
            let cut = self.network.is_cut(Node::Pod(pod), Node::Control, now);
            let told = member.told.as_ref();
            let is_news = told.is_none_or(|told| !told.says_what(&assignment));
            if is_news && !cut {
                self.call_from(Node::Control, owner, Call::Assign(assignment.clone()));
                self.control.members.get_mut(&owner).expect("a member").told = Some(assignment);
            }
        }
    }

    /// The control plane learns what a session serves.
    pub(crate) fn heard(&mut self, owner: usize, report: Report) {
        if self.control.dead.contains(&owner) {
            if self.random.chance(700) {
                self.call_from(Node::Control, owner, Call::End);
            }
            return;
        }
        if !self.owners[owner].alive {
            return;
        }
        let now = self.now();
        let member = self.control.members.entry(owner).or_insert_with(|| Member {
            heard_at: now,
            broken_at: None,
            serving: BTreeMap::new(),
            told: None,
        });
        (member.heard_at, member.broken_at) = (now, None);
        member.serving = report.serving;
        let mut changed = false;
        for (shard, epoch) in &member.serving {
            let known = self.control.board.get(shard);
            if known.is_none_or(|known| known.epoch < *epoch) {
                let whereabouts = Whereabouts { epoch: *epoch, owner: report.owner };
                self.control.board.insert(*shard, whereabouts);
                self.control.desired.insert(*shard, report.owner);
                changed = true;
            }
        }
        if changed {
            self.publish();
        }
    }

    /// Routes go out to everybody who can be reached, each at its own time.
    fn publish(&mut self) {
        let nodes: Vec<_> =
            (0..self.plan.pods.len()).map(Node::Pod).chain((0..EDGES).map(Node::Edge)).collect();
        for node in nodes {
            let us = self.network.delay(&mut self.random) + self.random.around(3_000);
            self.agenda.after(us, Event::Routes { node });
        }
    }

    pub(crate) fn learn_routes(&mut self, node: Node) {
        let now = self.now();
        if self.network.is_cut(node, Node::Control, now) {
            // It follows again once it can.
            let at = self.network.cut_until(node, Node::Control) + 1;
            self.agenda.at(at, Event::Routes { node });
            return;
        }
        let board = self.control.board.clone();
        match node {
            Node::Pod(pod) => {
                let Some(owner) = self.running(pod) else { return };
                let mut news = Vec::new();
                for (shard, known) in board {
                    let routes = &mut self.owners[owner].routes;
                    if routes.get(&shard).is_none_or(|route| route.epoch < known.epoch) {
                        routes.insert(shard, known);
                        news.push(shard);
                    }
                }
                for shard in news {
                    if self.owners[owner].alive && !self.owners[owner].frozen {
                        self.peer_ready(owner, shard);
                    }
                }
            }
            Node::Edge(edge) => {
                for (shard, known) in board {
                    self.edge_learns(edge, shard, known);
                }
                self.close_dead_links(edge);
            }
            Node::Replica(_) | Node::Control | Node::People => {}
        }
    }

    /// Begins to move a shard, if somebody serves it and there is somewhere to move it to.
    pub(crate) fn begin_move(&mut self, shard: ShardId, pod: usize) {
        let Some(known) = self.control.board.get(&shard).copied() else { return };
        let Some(target) = self.running(pod) else { return };
        let source = known.owner;
        let live = |owner: usize| self.control.members.contains_key(&owner);
        let serves = self.owners[source].alive && live(source) && live(target);
        if source == target || !serves || !self.control.moving.insert(shard) {
            return;
        }
        self.note(What::MoveBegan { shard: shard.into() });
        let call = Call::Release { shard, epoch: known.epoch, target };
        self.call_from(Node::Control, source, call);
        self.agenda.after(MOVE_US_MAX, Event::MoveOver(shard));
    }

    /// Whether every shard is served and nothing is on its way anywhere.
    pub(crate) fn is_quiet(&self) -> bool {
        let served = |shard: ShardId| {
            self.owners
                .iter()
                .any(|owner| owner.alive && !owner.frozen && owner.serving().contains_key(&shard))
        };
        self.count.shards().all(served)
            && self.owners.iter().filter(|owner| owner.alive).all(crate::owner::Owner::is_quiet)
    }

    /// Who should own a shard, as the control plane sees it.
    pub(crate) fn control_owner(&mut self, shard: ShardId) -> Vec<SessionNo> {
        let owner = self.control.desired.get(&shard).copied();
        owner.map(|owner| self.book.session(self.owners[owner].id)).into_iter().collect()
    }

    /// Looks at the end whether what lies below each seal is the same for whoever reads it.
    pub(crate) fn read_sealed_lanes(&mut self) {
        let ends = self.store.sealed_lanes();
        for (lane, end) in ends {
            let reads = self.store.look(&Query::Blocks(lane, BlockSeq(0), end));
            for rows in reads {
                let hash = crate::owner::chain_of(&rows, end);
                let lane = self.book.lane(lane);
                self.note(What::SealedRead { lane, hash });
            }
        }
    }
}

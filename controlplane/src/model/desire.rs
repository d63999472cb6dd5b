//! Who should own what.

use std::collections::{BTreeMap, BTreeSet};

use iris_core::clock::MonoUs;
use iris_core::id::{SessionId, ShardId};
use iris_core::placement::{Mode, Owner, OwnerNo, Placement, Problem, solve};

use super::Model;
use super::death::SETTLE_US;

/// A fresh region waits so long for all of its owners before the first placement.
const GATHER_US: u64 = 20_000_000;

/// What one session should acquire, and whom it may fence for that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assigned {
    /// The shards.
    pub shards: BTreeSet<ShardId>,
    /// Dead sessions.
    pub dead: BTreeSet<SessionId>,
}

impl Model {
    /// Places the shards that have no live owner; nothing else moves. Answers whether anything changed.
    pub fn place(&mut self, now: MonoUs) -> bool {
        if !self.may_place(now) {
            return false;
        }
        let sessions: Vec<SessionId> = self.members.keys().copied().collect();
        let number = |id: SessionId| sessions.iter().position(|s| *s == id).map(OwnerNo);
        let previous: Placement =
            self.count.shards().map(|shard| self.holder(shard).and_then(number)).collect();
        let placement = solve(&self.problem(&sessions), &previous);
        let desired: Vec<_> =
            placement.iter().map(|owner| owner.map(|owner| sessions[owner.0])).collect();
        let mut changed = false;
        for (shard, wanted) in self.count.shards().zip(desired) {
            let slot = &mut self.desired[usize::from(shard.get())];
            if !self.moving.contains(&shard) && *slot != wanted && wanted.is_some() {
                *slot = wanted;
                changed = true;
            }
        }
        self.placed |= self.desired.iter().all(Option::is_some);
        changed
    }

    /// An empty view orders nothing, and a fresh region waits for its owners.
    fn may_place(&self, now: MonoUs) -> bool {
        let owners = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let known = self.placed || self.heads.iter().any(Option::is_some);
        let gathered = owners >= self.wishes.expected_owners;
        let ready = known || gathered || now.us_since(self.began) >= GATHER_US;
        // A new leader lets the owners that the store names report before it gives their shards away.
        let settled = now.us_since(self.began) >= SETTLE_US || self.knows_every_holder();
        owners > 0 && ready && settled
    }

    fn knows_every_holder(&self) -> bool {
        let held = self.heads.iter().flatten().filter(|row| row.released_block.is_none());
        let mut holders = held.map(|row| row.session);
        holders.all(|id| self.members.contains_key(&id) || self.dead.contains_key(&id))
    }

    /// The live session that has a shard, or should have it.
    fn holder(&self, shard: ShardId) -> Option<SessionId> {
        let live = |id: &SessionId| self.members.contains_key(id);
        let serving = self.serving(shard).map(|(session, _)| session);
        let head = self.head(shard).filter(|row| row.released_block.is_none());
        let held = serving.or(head.map(|row| row.session)).filter(live);
        held.or(self.desired(shard).filter(live))
    }

    fn problem(&self, sessions: &[SessionId]) -> Problem {
        let owner = |id: &SessionId| {
            let member = &self.members[id];
            Owner {
                zone: member.about.zone.clone(),
                capacity: 1,
                cordoned: member.leaving || self.wishes.cordoned.contains(&member.about.pod),
            }
        };
        let of_pod = |pod: &str| {
            sessions.iter().position(|id| self.members[id].about.pod == *pod).map(OwnerNo)
        };
        // A pin is a wish of where an ownerless shard goes; moves of owned ones are asked for.
        let pins = self.wishes.pins.iter().flat_map(|(range, pod)| {
            let owner = of_pod(pod);
            let ownerless = range.shards().filter(|shard| self.holder(*shard).is_none());
            ownerless.filter_map(move |shard| Some((shard, owner?))).collect::<Vec<_>>()
        });
        Problem {
            shards: self.count,
            weights: Vec::new(),
            owners: sessions.iter().map(owner).collect(),
            pins: pins.collect(),
            mode: Mode::Fill,
        }
    }

    /// What each live session should acquire.
    pub fn assignments(&self) -> BTreeMap<SessionId, Assigned> {
        let mut assigned: BTreeMap<SessionId, Assigned> =
            self.members.keys().map(|id| (*id, Assigned::default())).collect();
        for shard in self.count.shards() {
            let Some(wanted) = self.desired(shard) else { continue };
            let Some(assignment) = assigned.get_mut(&wanted) else { continue };
            assignment.shards.insert(shard);
            let head = self.head(shard).filter(|row| row.released_block.is_none());
            if let Some(row) = head.filter(|row| self.is_gone(row.session)) {
                assignment.dead.insert(row.session);
            }
        }
        assigned
    }

    /// Whether a session that a head row names is dead: declared so, or of a time that nobody knows.
    fn is_gone(&self, session: SessionId) -> bool {
        !self.members.contains_key(&session)
    }

    /// Targets for the shards of a session that wants to end, evenly over the others.
    pub fn new_homes(&self, leaving: SessionId) -> Vec<(ShardId, SessionId)> {
        let sessions: Vec<SessionId> = self.members.keys().copied().collect();
        let number = |id: SessionId| sessions.iter().position(|s| *s == id).map(OwnerNo);
        let stays = |shard| self.holder(shard).filter(|holder| *holder != leaving);
        let previous: Placement =
            self.count.shards().map(|shard| stays(shard).and_then(number)).collect();
        let mut problem = self.problem(&sessions);
        problem.pins.clear();
        if let Some(no) = number(leaving) {
            problem.owners[no.0].cordoned = true;
        }
        let placement = solve(&problem, &previous);
        let leaves = |shard: &ShardId| self.serving(*shard).is_some_and(|(s, _)| s == leaving);
        let moves = self.count.shards().filter(leaves).filter_map(|shard| {
            let target = placement[usize::from(shard.get())]?;
            Some((shard, sessions[target.0]))
        });
        moves.collect()
    }
}

//! What the leader knows of its region, and what follows from it. Pure: no clock, no I/O.
//!
//! It is for liveness only. A session that it takes for dead by mistake loses its ownerships, which
//! costs a short write gap; no mistake of it costs a message.

mod death;
mod desire;
mod routes;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use iris_core::clock::MonoUs;
use iris_core::id::{LaneNo, SessionId, ShardCount, ShardId};
use iris_core::ranges::ShardRange;
use iris_core::seq::{BlockSeq, Epoch};
use iris_core::takeover::EpochRow;

pub use death::Death;
pub use desire::Assigned;
pub use routes::{RouteBoard, RouteChange};

/// What a session says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its pod.
    pub pod: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// The pod's node.
    pub node: String,
    /// The failure domain.
    pub zone: String,
    /// host:port of its services.
    pub address: String,
    /// How many lanes it has.
    pub lanes: u8,
    /// The version of its program.
    pub version: String,
    /// When it began, wall-clock milliseconds.
    pub started_at_ms: u64,
}

/// The stream on which a session reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// It did not report to this leader yet.
    Never,
    /// It reports.
    Open,
    /// It broke, at this time.
    Broken(MonoUs),
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it says of itself.
    pub about: About,
    /// Whether its key is in etcd.
    pub leased: bool,
    /// Its stream.
    pub stream: Stream,
    /// When it last said anything.
    pub heard_at: MonoUs,
    /// It wants to end: its shards should move.
    pub leaving: bool,
    /// What it serves, by its own word.
    pub serving: BTreeMap<ShardId, Epoch>,
    /// Why shards that should be with it are not.
    pub troubles: BTreeMap<ShardId, String>,
    /// Messages it accepts in a second, accounts, connections.
    pub load: (u64, u64, u64),
}

/// What people wish of the placement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Shards that must be with a pod.
    pub pins: Vec<(ShardRange, String)>,
    /// Pods that get nothing new.
    pub cordoned: BTreeSet<String>,
    /// How many owners the region should have.
    pub expected_owners: u32,
}

/// A region, as its leader knows it. See the module.
#[derive(Debug)]
pub struct Model {
    count: ShardCount,
    /// Since when this leader leads.
    began: MonoUs,
    ticked_at: MonoUs,
    members: BTreeMap<SessionId, Member>,
    /// Sessions that were declared dead and may still be in head rows.
    dead: BTreeMap<SessionId, About>,
    /// The newest ownership of each shard, by the store or by its owner.
    heads: Vec<Option<EpochRow>>,
    desired: Vec<Option<SessionId>>,
    /// Shards that a move has in hand: nothing else touches them.
    moving: BTreeSet<ShardId>,
    wishes: Wishes,
    /// When sessions were declared dead lately.
    deaths: VecDeque<MonoUs>,
    /// Whether every shard was placed once: from then on nobody waits for absent owners.
    placed: bool,
}

impl Model {
    /// Nothing is known.
    pub fn new(count: ShardCount, now: MonoUs, wishes: Wishes) -> Self {
        let shards = count.shards().len();
        Self {
            count,
            began: now,
            ticked_at: now,
            members: BTreeMap::new(),
            dead: BTreeMap::new(),
            heads: vec![None; shards],
            desired: vec![None; shards],
            moving: BTreeSet::new(),
            wishes,
            deaths: VecDeque::new(),
            placed: false,
        }
    }

    /// How many shards there are.
    pub fn count(&self) -> ShardCount {
        self.count
    }

    /// The live sessions.
    pub fn members(&self) -> &BTreeMap<SessionId, Member> {
        &self.members
    }

    /// The dead ones that still matter.
    pub fn dead(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.dead.keys().copied()
    }

    /// What a dead session said of itself.
    pub fn about_dead(&self, session: SessionId) -> Option<&About> {
        self.dead.get(&session)
    }

    /// The newest ownership of a shard.
    pub fn head(&self, shard: ShardId) -> Option<&EpochRow> {
        self.heads.get(usize::from(shard.get())).and_then(Option::as_ref)
    }

    /// Who should have a shard.
    pub fn desired(&self, shard: ShardId) -> Option<SessionId> {
        self.desired.get(usize::from(shard.get())).copied().flatten()
    }

    /// Who serves a shard, by its own word, under which ownership.
    pub fn serving(&self, shard: ShardId) -> Option<(SessionId, Epoch)> {
        let serves = |(id, member): (&SessionId, &Member)| {
            member.serving.get(&shard).map(|epoch| (*id, *epoch))
        };
        self.members.iter().filter_map(serves).max_by_key(|(_, epoch)| *epoch)
    }

    /// The live session of a pod; the newest where there are two.
    pub fn session_of(&self, pod: &str) -> Option<SessionId> {
        let of_pod = self.members.iter().filter(|(_, member)| member.about.pod == pod);
        of_pod.max_by_key(|(_, member)| member.about.started_at_ms).map(|(id, _)| *id)
    }

    /// What people wish.
    pub fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    /// People wish something else.
    pub fn wish(&mut self, wishes: Wishes) {
        self.wishes = wishes;
    }

    /// A session's key is in etcd.
    pub fn leased(&mut self, session: SessionId, about: About, now: MonoUs) {
        if !self.dead.contains_key(&session) {
            self.member(session, about, now).leased = true;
        }
    }

    /// A session's key is gone from etcd.
    pub fn lease_ended(&mut self, session: SessionId) {
        if let Some(member) = self.members.get_mut(&session) {
            member.leased = false;
        }
    }

    /// A session reports: answers false when it is dead for this leader, and must end.
    pub fn reports(&mut self, session: SessionId, about: About, now: MonoUs) -> bool {
        if self.dead.contains_key(&session) {
            return false;
        }
        let member = self.member(session, about, now);
        member.stream = Stream::Open;
        member.heard_at = now;
        true
    }

    /// Something was heard of a session.
    pub fn heard(&mut self, session: SessionId, now: MonoUs) -> Option<&mut Member> {
        let member = self.members.get_mut(&session)?;
        member.heard_at = now;
        member.stream = Stream::Open;
        Some(member)
    }

    /// A session says that it serves a shard.
    pub fn holds(&mut self, session: SessionId, shard: ShardId, epoch: Epoch) {
        let Some(member) = self.members.get_mut(&session) else { return };
        member.serving.insert(shard, epoch);
        let lane = LaneNo::of_shard(shard, member.about.lanes);
        let first_block = BlockSeq(0);
        self.found(shard, EpochRow { epoch, session, lane, first_block, released_block: None });
    }

    /// A session says that it serves a shard no more.
    pub fn left(&mut self, session: SessionId, shard: ShardId) {
        if let Some(member) = self.members.get_mut(&session) {
            member.serving.remove(&shard);
        }
    }

    /// A session's stream broke.
    pub fn stream_broke(&mut self, session: SessionId, now: MonoUs) {
        if let Some(member) = self.members.get_mut(&session)
            && member.stream == Stream::Open
        {
            member.stream = Stream::Broken(now);
        }
    }

    /// The store says who has a shard.
    pub fn found(&mut self, shard: ShardId, row: EpochRow) {
        if let Some(head) = self.heads.get_mut(usize::from(shard.get())) {
            let newer = head.is_none_or(|known| {
                let releases = row.released_block.is_some() || known.released_block.is_none();
                row.epoch > known.epoch || (row.epoch == known.epoch && releases)
            });
            if newer {
                *head = Some(row);
            }
        }
    }

    /// A session was declared dead by an earlier leader.
    pub fn known_dead(&mut self, session: SessionId, about: About) {
        self.members.remove(&session);
        self.dead.insert(session, about);
    }

    /// A move takes a shard in hand; false when another one has it.
    pub fn begin_move(&mut self, shard: ShardId) -> bool {
        self.moving.insert(shard)
    }

    /// A move let go of a shard. Where it should be now is where it is.
    pub fn end_move(&mut self, shard: ShardId, desired: Option<SessionId>) {
        self.moving.remove(&shard);
        if let Some(session) = desired
            && let Some(slot) = self.desired.get_mut(usize::from(shard.get()))
        {
            *slot = Some(session);
        }
    }

    /// Whether a move has a shard in hand.
    pub fn is_moving(&self, shard: ShardId) -> bool {
        self.moving.contains(&shard)
    }

    fn member(&mut self, session: SessionId, about: About, now: MonoUs) -> &mut Member {
        let member = self.members.entry(session).or_insert_with(|| Member {
            about: about.clone(),
            leased: false,
            stream: Stream::Never,
            heard_at: now,
            leaving: false,
            serving: BTreeMap::new(),
            troubles: BTreeMap::new(),
            load: (0, 0, 0),
        });
        member.about = about;
        member
    }
}

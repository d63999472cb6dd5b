//! Routes for edges and owners: a board of the latest, and a log of what changed, so that a follower
//! gets changes and not the board.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use iris_core::id::{SessionId, ShardCount, ShardId};
use iris_core::seq::Epoch;

use super::Model;

/// Changes that are remembered; a follower further behind gets the whole board.
const LOG_MAX: usize = 8192;

/// A route: under which ownership, and who serves it, if anybody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteChange {
    /// The ownership.
    pub epoch: Epoch,
    /// Who.
    pub session: Option<SessionId>,
}

/// See the module.
#[derive(Debug)]
pub struct RouteBoard {
    count: ShardCount,
    routes: Vec<RouteChange>,
    sessions: BTreeMap<SessionId, (String, String, u8)>,
    log: VecDeque<ShardId>,
    /// The number of changes so far; the log holds the last ones.
    changes: u64,
    /// The number of changes when the sessions last changed.
    sessions_changed: u64,
}

impl RouteBoard {
    /// Nobody serves anything.
    pub fn new(count: ShardCount) -> Self {
        Self {
            count,
            routes: vec![RouteChange::default(); count.shards().len()],
            sessions: BTreeMap::new(),
            log: VecDeque::new(),
            changes: 1,
            sessions_changed: 1,
        }
    }

    /// Takes what the model says now. Answers whether anything changed.
    pub fn update(&mut self, model: &Model) -> bool {
        let before = self.changes;
        let sessions: BTreeMap<_, _> = model
            .members()
            .iter()
            .map(|(id, member)| {
                let about = &member.about;
                (*id, (about.address.clone(), about.pod.clone(), about.lanes))
            })
            .collect();
        if sessions != self.sessions {
            self.sessions = sessions;
            self.changes += 1;
            self.sessions_changed = self.changes;
            self.log.push_back(ShardId::new(0));
        }
        let mut serving: Vec<Option<(Epoch, SessionId)>> = vec![None; self.routes.len()];
        for (id, member) in model.members() {
            for (shard, epoch) in &member.serving {
                let slot = &mut serving[usize::from(shard.get())];
                if slot.is_none_or(|(known, _)| *epoch > known) {
                    *slot = Some((*epoch, *id));
                }
            }
        }
        for shard in self.count.shards() {
            let index = usize::from(shard.get());
            let head = model.head(shard).map(|row| row.epoch).unwrap_or_default();
            let known = self.routes[index];
            let now = match serving[index] {
                Some((epoch, session)) => RouteChange { epoch, session: Some(session) },
                None => RouteChange { epoch: head.max(known.epoch), session: None },
            };
            // A word about an earlier ownership is old.
            if now.epoch >= known.epoch && now != known {
                self.routes[index] = now;
                self.changes += 1;
                self.log.push_back(shard);
            }
        }
        while self.log.len() > LOG_MAX {
            self.log.pop_front();
        }
        self.changes != before
    }

    /// How many shards there are.
    pub fn count(&self) -> ShardCount {
        self.count
    }

    /// How many changes there were.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What a follower that knows the first `known` changes must be told: nothing when it needs the whole
    /// board, because it is new, too far behind, or does not know the sessions.
    pub fn since(&self, known: u64) -> Option<BTreeSet<ShardId>> {
        let behind = usize::try_from(self.changes.saturating_sub(known)).ok()?;
        let needs_all = known < self.sessions_changed || behind > self.log.len();
        (!needs_all).then(|| self.log.iter().rev().take(behind).copied().collect())
    }

    /// A shard's route.
    pub fn route(&self, shard: ShardId) -> RouteChange {
        self.routes[usize::from(shard.get())]
    }

    /// Every session: its address, its pod, its lanes.
    pub fn sessions(&self) -> &BTreeMap<SessionId, (String, String, u8)> {
        &self.sessions
    }
}

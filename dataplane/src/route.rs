//! Which session serves which shard, as far as this process knows. Always the last known good: a
//! control plane that is away changes nothing.

#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;

use iris_core::id::{LaneNo, SessionId, ShardCount, ShardId};
use iris_core::seq::Epoch;
use iris_proto::control::RouteUpdate;
use parking_lot::RwLock;
use tokio::sync::watch as channel;

pub use watch::follow;

/// Where a shard is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// By which session.
    pub session: SessionId,
    /// In which of its lanes.
    pub lane: LaneNo,
    /// Where that session's services are, host:port.
    pub address: String,
    /// Under which ownership.
    pub epoch: Epoch,
}

/// A session, as far as routing goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionAddress {
    /// host:port of its services.
    pub address: String,
    /// How many lanes it has.
    pub lanes: u8,
}

/// The table. See the module.
#[derive(Debug)]
pub struct Routes {
    count: ShardCount,
    inner: RwLock<Inner>,
    version: channel::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    shards: Vec<Known>,
    sessions: BTreeMap<SessionId, SessionAddress>,
    complete: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    epoch: Epoch,
    session: Option<SessionId>,
}

impl Routes {
    /// A table that knows nothing.
    pub fn new(count: ShardCount) -> Self {
        let shards = vec![Known::default(); count.shards().len()];
        let inner = Inner { shards, sessions: BTreeMap::new(), complete: false };
        Self { count, inner: RwLock::new(inner), version: channel::Sender::new(0) }
    }

    /// How many shards there are.
    pub fn shard_count(&self) -> ShardCount {
        self.count
    }

    /// Where a shard is served, if anybody is known to.
    pub fn find(&self, shard: ShardId) -> Option<Destination> {
        let inner = self.inner.read();
        let known = inner.shards.get(usize::from(shard.get()))?;
        let session = known.session?;
        let address = inner.sessions.get(&session)?;
        Some(Destination {
            session,
            lane: LaneNo::of_shard(shard, address.lanes),
            address: address.address.clone(),
            epoch: known.epoch,
        })
    }

    /// Every session that serves or may serve.
    pub fn sessions(&self) -> BTreeMap<SessionId, SessionAddress> {
        self.inner.read().sessions.clone()
    }

    /// Whether the control plane was heard once.
    pub fn is_complete(&self) -> bool {
        self.inner.read().complete
    }

    /// A number that changes with every change.
    pub fn version(&self) -> channel::Receiver<u64> {
        self.version.subscribe()
    }

    /// Takes what the control plane says. What was learned of later epochs stays.
    pub fn apply(&self, update: RouteUpdate) {
        let mut inner = self.inner.write();
        if update.full {
            inner.sessions.clear();
        }
        for session in update.sessions {
            let Ok(id) = SessionId::from_bytes(&session.session) else { continue };
            let lanes = u8::try_from(session.lanes).unwrap_or(1).max(1);
            inner.sessions.insert(id, SessionAddress { address: session.address, lanes });
        }
        for route in update.routes {
            let Ok(shard) = self.count.shard(route.shard) else { continue };
            let session = SessionId::from_bytes(&route.session).ok();
            inner.learn(shard, Known { epoch: Epoch(route.epoch), session });
        }
        inner.complete |= update.full;
        drop(inner);
        self.version.send_modify(|version| *version += 1);
    }

    /// Takes what an owner says of a shard that it served.
    pub fn learn(&self, shard: ShardId, epoch: Epoch, session: Option<SessionId>) {
        let mut inner = self.inner.write();
        let changed = inner.learn(shard, Known { epoch, session });
        drop(inner);
        if changed {
            self.version.send_modify(|version| *version += 1);
        }
    }
}

impl Inner {
    fn learn(&mut self, shard: ShardId, said: Known) -> bool {
        let Some(known) = self.shards.get_mut(usize::from(shard.get())) else { return false };
        if said.epoch < known.epoch {
            return false;
        }
        let changed = said.epoch > known.epoch || said.session != known.session;
        *known = said;
        changed
    }
}

//! Which shards this session has, acquires or lets go: at most one thing at a time for each.

use std::collections::BTreeMap;

use iris_core::id::ShardId;
use iris_core::seq::Epoch;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// What is going on with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holding {
    /// It is being acquired.
    Acquiring,
    /// It is served.
    Serving(Epoch),
    /// It is being released and handed over: nothing is appended any more, and this session does not
    /// take it back before it is known what the target did.
    Leaving(Epoch),
}

/// The register. See the module.
#[derive(Debug)]
pub(super) struct Held {
    shards: Mutex<BTreeMap<ShardId, Holding>>,
    troubles: Mutex<BTreeMap<ShardId, String>>,
    version: watch::Sender<u64>,
    ownerless: Notify,
}

impl Held {
    pub(super) fn new() -> Self {
        let (shards, troubles) = (Mutex::default(), Mutex::default());
        Self { shards, troubles, version: watch::Sender::new(0), ownerless: Notify::new() }
    }

    /// Begins to acquire a shard; false when something is going on with it already.
    pub(super) fn begin(&self, shard: ShardId) -> bool {
        let mut shards = self.shards.lock();
        if shards.contains_key(&shard) {
            return false;
        }
        shards.insert(shard, Holding::Acquiring);
        true
    }

    pub(super) fn served(&self, shard: ShardId, epoch: Epoch) {
        self.shards.lock().insert(shard, Holding::Serving(epoch));
        self.troubles.lock().remove(&shard);
        self.changed();
    }

    /// The acquisition failed, for the reason given.
    pub(super) fn failed(&self, shard: ShardId, why: String) {
        self.shards.lock().remove(&shard);
        self.troubles.lock().insert(shard, why);
        self.changed();
    }

    /// Begins to release a shard; the ownership when it is served, and nothing else is going on.
    pub(super) fn leave(&self, shard: ShardId) -> Option<Epoch> {
        let mut shards = self.shards.lock();
        match shards.get(&shard).copied() {
            Some(Holding::Serving(epoch)) => {
                shards.insert(shard, Holding::Leaving(epoch));
                Some(epoch)
            }
            Some(Holding::Acquiring | Holding::Leaving(_)) | None => None,
        }
    }

    /// The shard was handed over.
    pub(super) fn left(&self, shard: ShardId) {
        self.shards.lock().remove(&shard);
        self.changed();
    }

    /// The shard was released, and nobody took it: whoever should have it acquires it at once.
    pub(super) fn left_to_nobody(&self, shard: ShardId) {
        self.left(shard);
        self.ownerless.notify_one();
    }

    /// Waits until a shard was left to nobody.
    pub(super) async fn ownerless(&self) {
        self.ownerless.notified().await;
    }

    pub(super) fn get(&self, shard: ShardId) -> Option<Holding> {
        self.shards.lock().get(&shard).copied()
    }

    /// The shards that are served, with their ownerships.
    pub(super) fn serving(&self) -> BTreeMap<ShardId, Epoch> {
        let shards = self.shards.lock();
        let serving = shards.iter().filter_map(|(shard, holding)| match holding {
            Holding::Serving(epoch) => Some((*shard, *epoch)),
            Holding::Acquiring | Holding::Leaving(_) => None,
        });
        serving.collect()
    }

    /// How many shards it is about.
    pub(super) fn count(&self) -> usize {
        self.shards.lock().len()
    }

    /// Why shards that should be here are not.
    pub(super) fn troubles(&self) -> BTreeMap<ShardId, String> {
        self.troubles.lock().clone()
    }

    /// Forgets the trouble with a shard that should not be here any more.
    pub(super) fn forget_trouble(&self, shard: ShardId) {
        self.troubles.lock().remove(&shard);
    }

    pub(super) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }
}

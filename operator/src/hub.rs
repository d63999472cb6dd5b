//! What is watched, and whom a change concerns: one watch for each kind, shared by all controllers.
//!
//! Never decides what to do about a change; it only wakes the controllers of the objects that it may
//! concern. A wake-up too many costs a look, one too few is made up for by the next look.

mod owned;
mod watches;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use iris_crds::{
    IrisCluster, IrisEdgePool, IrisRebalance, IrisRegion, IrisShardMap, IrisShardMigration,
};
use iris_runtime::task::Tasks;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;

use crate::status::Reported;
pub use owned::Owned;
pub use watches::Watched;

/// Wake-ups that wait for a controller; beyond, a watch waits.
const QUEUE_MAX: usize = 1024;

/// The kinds that have a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `IrisCluster`.
    Cluster,
    /// `IrisRegion`.
    Region,
    /// `IrisEdgePool`.
    EdgePool,
    /// `IrisShardMap`.
    ShardMap,
    /// `IrisShardMigration`.
    Migration,
    /// `IrisRebalance`.
    Rebalance,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Cluster,
        Self::Region,
        Self::EdgePool,
        Self::ShardMap,
        Self::Migration,
        Self::Rebalance,
    ];

    /// As in `kind:`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "IrisCluster",
            Self::Region => "IrisRegion",
            Self::EdgePool => "IrisEdgePool",
            Self::ShardMap => "IrisShardMap",
            Self::Migration => "IrisShardMigration",
            Self::Rebalance => "IrisRebalance",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An object that has a controller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Which namespaces the operator looks after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// One.
    Namespace(String),
}

impl Scope {
    /// The API of a kind in this scope.
    pub fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match self {
            Self::All => Api::all(client.clone()),
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

/// The store of each kind.
pub type Parts = (
    Store<DeserializeGuard<IrisCluster>>,
    Store<DeserializeGuard<IrisRegion>>,
    Store<DeserializeGuard<IrisEdgePool>>,
    Store<DeserializeGuard<IrisShardMap>>,
    Store<DeserializeGuard<IrisShardMigration>>,
    Store<DeserializeGuard<IrisRebalance>>,
);

/// What is known of every kind, from watches. It may be behind.
#[derive(Clone)]
pub struct Stores {
    clusters: Store<DeserializeGuard<IrisCluster>>,
    regions: Store<DeserializeGuard<IrisRegion>>,
    pools: Store<DeserializeGuard<IrisEdgePool>>,
    maps: Store<DeserializeGuard<IrisShardMap>>,
    migrations: Store<DeserializeGuard<IrisShardMigration>>,
    rebalances: Store<DeserializeGuard<IrisRebalance>>,
}

impl Stores {
    /// The store of each kind, for its controller.
    pub fn parts(&self) -> Parts {
        (
            self.clusters.clone(),
            self.regions.clone(),
            self.pools.clone(),
            self.maps.clone(),
            self.migrations.clone(),
            self.rebalances.clone(),
        )
    }

    /// Waits until each has seen everything once: only then does a missing object mean something. One
    /// task may wait at a time, because a store wakes only the last one that asked.
    pub async fn ready(&self) -> Result<(), WriterDropped> {
        self.clusters.wait_until_ready().await?;
        self.regions.wait_until_ready().await?;
        self.pools.wait_until_ready().await?;
        self.maps.wait_until_ready().await?;
        self.migrations.wait_until_ready().await?;
        self.rebalances.wait_until_ready().await
    }

    /// A cluster, by name.
    pub fn cluster(&self, namespace: &str, name: &str) -> Option<Arc<IrisCluster>> {
        get(&self.clusters, namespace, name)
    }

    /// A region, by name.
    pub fn region(&self, namespace: &str, name: &str) -> Option<Arc<IrisRegion>> {
        get(&self.regions, namespace, name)
    }

    /// The regions of a cluster, by name.
    pub fn regions_of(&self, namespace: &str, cluster: &str) -> Vec<Arc<IrisRegion>> {
        let of = |region: &IrisRegion| region.spec.cluster_ref.name == cluster;
        list(&self.regions, namespace, of)
    }

    /// The edge pools of a region, by name.
    pub fn pools_of(&self, namespace: &str, region: &str) -> Vec<Arc<IrisEdgePool>> {
        let of = |pool: &IrisEdgePool| pool.spec.region_ref.name == region;
        list(&self.pools, namespace, of)
    }

    /// The shard maps of a region, by name.
    pub fn maps_of(&self, namespace: &str, region: &str) -> Vec<Arc<IrisShardMap>> {
        let of = |map: &IrisShardMap| map.spec.region_ref.name == region;
        list(&self.maps, namespace, of)
    }

    /// The moves in a region that have not ended, by name.
    pub fn moves_in(&self, namespace: &str, region: &str) -> Vec<Arc<IrisShardMigration>> {
        let of = |migration: &IrisShardMigration| {
            let ended = migration.status.as_ref().is_some_and(|status| status.result.is_some());
            migration.spec.source.region == region && !ended
        };
        list(&self.migrations, namespace, of)
    }
}

fn get<K: Reported>(
    store: &Store<DeserializeGuard<K>>,
    namespace: &str,
    name: &str,
) -> Option<Arc<K>> {
    let found = store.get(&ObjectRef::new(name).within(namespace))?;
    found.0.as_ref().ok().cloned().map(Arc::new)
}

fn list<K: Reported>(
    store: &Store<DeserializeGuard<K>>,
    namespace: &str,
    of: impl Fn(&K) -> bool,
) -> Vec<Arc<K>> {
    let all = store.state();
    let readable = all.iter().filter_map(|guard| guard.0.as_ref().ok());
    let wanted = readable.filter(|object| object.namespace().as_deref() == Some(namespace));
    let mut found: Vec<_> = wanted.filter(|object| of(object)).cloned().map(Arc::new).collect();
    found.sort_by_key(|object| object.name_any());
    found
}

/// Wakes controllers.
#[derive(Debug, Clone)]
pub struct Bell {
    queues: Arc<BTreeMap<Kind, mpsc::Sender<Key>>>,
}

impl Bell {
    /// A bell, and the queue of each controller.
    pub fn new() -> (Self, BTreeMap<Kind, mpsc::Receiver<Key>>) {
        let (senders, receivers) = Kind::ALL
            .into_iter()
            .map(|kind| {
                let (sender, receiver) = mpsc::channel(QUEUE_MAX);
                ((kind, sender), (kind, receiver))
            })
            .unzip();
        (Self { queues: Arc::new(senders) }, receivers)
    }

    /// Wakes the controller of an object.
    pub async fn ring(&self, key: Key) {
        if let Some(queue) = self.queues.get(&key.kind) {
            // A closed queue: the controllers stop, and nobody needs waking.
            let _ = queue.send(key).await;
        }
    }
}

/// Starts every watch.
pub fn start(client: &Client, scope: &Scope, bell: &Bell, tasks: &Tasks) -> (Stores, Owned) {
    let watched = watches::start(client, scope, bell, tasks);
    let owned = owned::start(client, scope, bell, tasks);
    (watched.stores(), owned)
}

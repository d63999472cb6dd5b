//! The watches of our own kinds. A change of one object concerns itself and those that refer to it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::{StreamExt, pin_mut};
use iris_crds::conditions::Condition;
use iris_crds::{
    IrisCluster, IrisEdgePool, IrisRebalance, IrisRegion, IrisShardMap, IrisShardMigration,
};
use iris_runtime::task::Tasks;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, Resource, ResourceExt};

use super::{Bell, Key, Kind, Scope, Stores};
use crate::status::Reported;

/// The stores that the watches fill.
pub struct Watched(Stores);

impl Watched {
    pub(super) fn stores(self) -> Stores {
        self.0
    }
}

/// Starts a watch for each kind.
pub(super) fn start(client: &Client, scope: &Scope, bell: &Bell, tasks: &Tasks) -> Watched {
    let (clusters, cluster_events) = prepare::<IrisCluster>();
    let (regions, region_events) = prepare::<IrisRegion>();
    let (pools, pool_events) = prepare::<IrisEdgePool>();
    let (maps, map_events) = prepare::<IrisShardMap>();
    let (migrations, migration_events) = prepare::<IrisShardMigration>();
    let (rebalances, rebalance_events) = prepare::<IrisRebalance>();
    let stores = Stores { clusters, regions, pools, maps, migrations, rebalances };
    let with = |kind| Watch { kind, bell: bell.clone(), stores: stores.clone() };
    let from = (client, scope, tasks);
    with(Kind::Cluster).spawn(from, "watch clusters", cluster_events);
    with(Kind::Region).spawn(from, "watch regions", region_events);
    with(Kind::EdgePool).spawn(from, "watch edge pools", pool_events);
    with(Kind::ShardMap).spawn(from, "watch shard maps", map_events);
    with(Kind::Migration).spawn(from, "watch migrations", migration_events);
    with(Kind::Rebalance).spawn(from, "watch rebalances", rebalance_events);
    Watched(stores)
}

type Guard<K> = DeserializeGuard<K>;

fn prepare<K: Reported>() -> (Store<Guard<K>>, reflector::store::Writer<Guard<K>>) {
    reflector::store()
}

struct Watch {
    kind: Kind,
    bell: Bell,
    stores: Stores,
}

impl Watch {
    fn spawn<K: Reported>(
        self,
        (client, scope, tasks): (&Client, &Scope, &Tasks),
        name: &'static str,
        writer: reflector::store::Writer<Guard<K>>,
    ) {
        let api = scope.api::<Guard<K>>(client);
        let store = writer.as_reader();
        let events = watch(api, watcher::Config::default()).default_backoff().reflect(writer);
        tasks.spawn_critical(name, async move { self.run(events, store).await });
    }

    async fn run<K: Reported>(
        self,
        events: impl futures::Stream<Item = Result<Event<Guard<K>>, watcher::Error>>,
        store: Store<Guard<K>>,
    ) {
        pin_mut!(events);
        // What was last passed on of each object.
        let mut known: HashMap<(String, String), Seen> = HashMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(object)) => self.changed(&object, &mut known).await,
                Ok(Event::Delete(object)) => {
                    known.remove(&place(&object));
                    self.ring_self(&object).await;
                    self.ring_others(&object).await;
                }
                // Only then has the store what the list brought.
                Ok(Event::InitDone) => {
                    for object in store.state() {
                        self.changed(&object, &mut known).await;
                    }
                }
                Ok(Event::Init | Event::InitApply(_)) => {}
                Err(error) => {
                    tracing::warn!(kind = %self.kind, error = %iris_runtime::rpc::chain(&error), "a watch was interrupted");
                }
            }
        }
    }

    /// Our own writes to a status concern nobody, unless they change what others build upon.
    async fn changed<K: Reported>(
        &self,
        object: &Guard<K>,
        known: &mut HashMap<(String, String), Seen>,
    ) {
        let now = Seen::of(object);
        let before = known.insert(place(object), now);
        if before.is_none_or(|before| before.wanted != now.wanted) {
            self.ring_self(object).await;
        }
        let found_matters = !matches!(self.kind, Kind::ShardMap | Kind::Migration);
        let wants_else = before.is_none_or(|before| before.wanted != now.wanted);
        if wants_else || found_matters && before != Some(now) {
            self.ring_others(object).await;
        }
    }

    async fn ring_self<K: Reported>(&self, object: &Guard<K>) {
        let (namespace, name) = place(object);
        self.bell.ring(Key { kind: self.kind, namespace, name }).await;
    }

    async fn ring_others<K: Reported>(&self, object: &Guard<K>) {
        let (namespace, name) = place(object);
        let Ok(object) = &object.0 else { return };
        for key in self.concerned(object, &namespace, &name) {
            self.bell.ring(key).await;
        }
    }

    fn concerned<K: Reported>(&self, object: &K, namespace: &str, name: &str) -> Vec<Key> {
        let key = |kind, name: String| Key { kind, namespace: namespace.to_owned(), name };
        match self.kind {
            Kind::Cluster => {
                let regions = self.stores.regions_of(namespace, name);
                let pools = regions
                    .iter()
                    .flat_map(|region| self.stores.pools_of(namespace, &region.name_any()))
                    .map(|pool| key(Kind::EdgePool, pool.name_any()));
                let pools: Vec<_> = pools.collect();
                let regions = regions.iter().map(|region| key(Kind::Region, region.name_any()));
                regions.chain(pools).collect()
            }
            Kind::Region => {
                let cluster =
                    object.refers_to().map(|cluster| key(Kind::Cluster, cluster.to_owned()));
                let pools = self.stores.pools_of(namespace, name);
                let pools = pools.iter().map(|pool| key(Kind::EdgePool, pool.name_any()));
                let maps = self.stores.maps_of(namespace, name);
                let maps = maps.iter().map(|map| key(Kind::ShardMap, map.name_any()));
                let moves = self.stores.moves_in(namespace, name);
                let moves = moves.iter().map(|a_move| key(Kind::Migration, a_move.name_any()));
                cluster.into_iter().chain(pools).chain(maps).chain(moves).collect()
            }
            // The cluster counts its edges.
            Kind::EdgePool => {
                let region = object.refers_to().unwrap_or_default();
                let region = self.stores.region(namespace, region);
                let cluster = region.map(|region| region.spec.cluster_ref.name.clone());
                cluster.map(|cluster| key(Kind::Cluster, cluster)).into_iter().collect()
            }
            // A region without a map has no pins, and its map shows the moves that are under way.
            Kind::ShardMap => {
                let region = object.refers_to().map(|region| key(Kind::Region, region.to_owned()));
                region.into_iter().collect()
            }
            Kind::Migration => {
                let maps = self.stores.maps_of(namespace, object.refers_to().unwrap_or_default());
                maps.iter().map(|map| key(Kind::ShardMap, map.name_any())).collect()
            }
            Kind::Rebalance => Vec::new(),
        }
    }
}

fn place<K: Resource>(object: &K) -> (String, String) {
    (
        object.meta().namespace.clone().unwrap_or_default(),
        object.meta().name.clone().unwrap_or_default(),
    )
}

/// What of an object others build upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// What people want: its uid, its generation, that it is being deleted.
    wanted: u64,
    /// What is true of it.
    found: u64,
}

impl Seen {
    fn of<K: Reported>(object: &Guard<K>) -> Self {
        let meta = object.meta();
        let wanted = hash(&(
            &meta.uid,
            meta.generation,
            meta.deletion_timestamp.is_some(),
            object.0.is_ok(),
        ));
        let status = object.0.as_ref().ok().and_then(Reported::status);
        let mut value = status
            .map(|status| serde_json::to_value(status).unwrap_or_default())
            .unwrap_or_default();
        let conditions = status.map(K::conditions).unwrap_or_default();
        let conditions: Vec<_> = conditions.iter().map(essence).collect();
        if let Some(map) = value.as_object_mut() {
            // Numbers that change by themselves concern nobody else.
            for volatile in ["conditions", "describedAt", "connections", "instances"] {
                map.remove(volatile);
            }
        }
        Self { wanted, found: hash(&(value.to_string(), conditions)) }
    }
}

fn essence(condition: &Condition) -> (String, String, String, String) {
    let Condition { kind, status, reason, message, .. } = condition;
    (kind.clone(), format!("{status:?}"), reason.clone(), message.clone())
}

fn hash<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

//! The leader: it keeps the model current, and carries out what follows from it.

mod assign;
mod begin;
mod govern;
mod moves;
mod scan;

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_coord::{CoordError, Guard, SharedCoord, Write};
use iris_core::id::{SessionId, ShardCount, ShardId};
use iris_core::seq::HomeGen;
use iris_proto::coordinated::Move;
use iris_runtime::clock::SharedClock;
use iris_runtime::task::Tasks;
use iris_runtime::tls::Identity;
use iris_store::{ShardRef, SharedStore, StoreReport};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::metrics::ControlMetrics;
use crate::model::{Assigned, Model, RouteBoard};

pub(crate) use begin::wishes_from;
pub use begin::{BeginError, Leadership, lead};
pub(crate) use moves::has_ended;
pub use moves::{MoveOrder, MoveRefused};

/// What a control plane works with.
#[derive(Clone)]
pub struct Deps {
    /// How many shards the cluster has.
    pub count: ShardCount,
    /// The region's place in each shard's history of homes.
    pub home_gen: HomeGen,
    /// How many owners the region should have.
    pub expected_owners: u32,
    /// Whether what is unfit for production is accepted.
    pub development: bool,
    /// etcd.
    pub coord: SharedCoord,
    /// The database.
    pub store: SharedStore,
    /// The clocks.
    pub clock: SharedClock,
    /// The pod's certificate.
    pub identity: Identity,
    /// What it counts.
    pub metrics: ControlMetrics,
}

/// The leader of a region, for as long as it leads.
pub struct Leader {
    deps: Deps,
    /// The pod that leads: this one.
    pub(crate) pod: String,
    pub(crate) term: u64,
    /// Holds as long as this replica leads: every write to etcd carries it.
    guard: Guard,
    model: Mutex<Model>,
    board: Mutex<RouteBoard>,
    /// The number of changes on the board.
    news: watch::Sender<u64>,
    /// Wakes the governing task.
    woken: Notify,
    /// What was written of assignments: their revisions and contents.
    written: Mutex<BTreeMap<SessionId, (u64, Assigned)>>,
    /// The newest move of each shard.
    moves: Mutex<BTreeMap<ShardId, Move>>,
    /// The highest term of an operator that asked for something.
    operator_term: Mutex<u64>,
    report: Mutex<Option<StoreReport>>,
    edges: Mutex<u32>,
    pub(crate) tasks: Tasks,
}

impl Leader {
    /// What the leader works with.
    pub(crate) fn deps(&self) -> &Deps {
        &self.deps
    }

    /// Looks at the model.
    pub(crate) fn see<T>(&self, look: impl FnOnce(&Model) -> T) -> T {
        look(&self.model.lock())
    }

    /// Changes the model, and has the consequences looked after.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        let result = change(&mut self.model.lock());
        self.woken.notify_one();
        result
    }

    /// Looks at the routes.
    pub(crate) fn routes<T>(&self, look: impl FnOnce(&RouteBoard) -> T) -> T {
        look(&self.board.lock())
    }

    /// Follows changes of the routes.
    pub(crate) fn route_news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// What the store last said of itself.
    pub(crate) fn store_report(&self) -> Option<StoreReport> {
        self.report.lock().clone()
    }

    /// How many edges follow the routes.
    pub(crate) fn edges(&self) -> u32 {
        *self.edges.lock()
    }

    /// An edge follows the routes, until the answer is dropped.
    pub(crate) fn edge_follows(self: &Arc<Self>) -> EdgeFollows {
        *self.edges.lock() += 1;
        self.deps.metrics.followers.inc();
        EdgeFollows(Arc::clone(self))
    }

    /// Writes to etcd, if this replica leads still.
    pub(crate) async fn write(&self, writes: Vec<Write>) -> Result<(), CoordError> {
        self.commit(writes).await
    }

    pub(crate) fn shard_ref(&self, shard: ShardId) -> ShardRef {
        ShardRef { shard, home_gen: self.deps.home_gen }
    }

    /// Refuses an operator that was deposed; remembers a newer one.
    pub(crate) fn accept_operator(&self, term: u64) -> bool {
        let mut known = self.operator_term.lock();
        let current = term >= *known;
        *known = term.max(*known);
        current
    }
}

/// Counts an edge while it lives.
pub(crate) struct EdgeFollows(Arc<Leader>);

impl Drop for EdgeFollows {
    fn drop(&mut self) {
        *self.0.edges.lock() -= 1;
        self.0.deps.metrics.followers.dec();
    }
}

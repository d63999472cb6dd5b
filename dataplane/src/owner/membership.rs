//! This session in etcd: its key lives by a lease, and its assignment says which shards it should
//! acquire. Losing either costs nothing that is served: a session that is taken for dead learns it from
//! its fence.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use iris_coord::{CoordError, Event, SharedCoord, Write};
use iris_core::id::{SessionId, ShardId};
use iris_proto::coordinated::{Assignment, Session};
use iris_proto::coordinated_keys as keys;
use iris_runtime::backoff::Backoff;
use iris_runtime::task::Tasks;
use parking_lot::Mutex;
use prost::Message as _;

use super::acquire::{AcquireError, Acquirer, Turn};
use super::held::Held;

/// The lease of a session: the backstop of the control plane's detection of its death.
pub(super) const LEASE: Duration = Duration::from_secs(5);
/// Renewed so often.
const RENEW: Duration = Duration::from_millis(1_500);

/// What the assignment says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wanted {
    shards: BTreeSet<ShardId>,
    dead: BTreeSet<SessionId>,
}

/// See the module.
pub(super) struct Membership {
    pub(super) coord: SharedCoord,
    pub(super) acquirer: Arc<Acquirer>,
    pub(super) held: Arc<Held>,
    pub(super) tasks: Tasks,
    pub(super) record: Session,
    wanted: Mutex<Wanted>,
}

impl Membership {
    pub(super) fn new(
        coord: SharedCoord,
        acquirer: Arc<Acquirer>,
        held: Arc<Held>,
        (tasks, record): (Tasks, Session),
    ) -> Self {
        Self { coord, acquirer, held, tasks, record, wanted: Mutex::default() }
    }

    fn session(&self) -> SessionId {
        self.acquirer.session
    }

    /// Keeps the session's key alive for ever.
    pub(super) async fn keep_alive(self: Arc<Self>) {
        let mut backoff = Backoff::between_pods();
        loop {
            match self.live_once(&mut backoff).await {
                CoordError::LeaseGone => {
                    tracing::warn!("the session's lease ended; a new one begins")
                }
                error => tracing::warn!(%error, "coordination does not answer; serving on"),
            }
            backoff.wait().await;
        }
    }

    async fn live_once(&self, backoff: &mut Backoff) -> CoordError {
        let lease = match self.coord.grant(LEASE).await {
            Ok(lease) => lease,
            Err(error) => return error,
        };
        let put = Write::Put {
            key: keys::session(self.session()),
            value: self.record.encode_to_vec().into(),
            lease: Some(lease),
        };
        if let Err(error) = self.coord.commit(&[], &[put]).await {
            return error;
        }
        loop {
            tokio::time::sleep(RENEW).await;
            match self.coord.renew(lease).await {
                Ok(()) => backoff.reset(),
                Err(CoordError::LeaseGone) => return CoordError::LeaseGone,
                Err(error) => tracing::debug!(%error, "the lease was not renewed this time"),
            }
        }
    }

    /// Follows the session's assignment for ever.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut backoff = Backoff::between_pods();
        loop {
            if let Err(error) = self.follow_once(&mut backoff).await {
                tracing::debug!(%error, "the assignment is read again");
            }
            backoff.wait().await;
        }
    }

    async fn follow_once(self: &Arc<Self>, backoff: &mut Backoff) -> Result<(), CoordError> {
        let key = keys::assignment(self.session());
        let (found, revision) = self.coord.list(&key).await?;
        if let Some(found) = found.into_iter().find(|found| found.key == key) {
            self.take(&found.value);
        }
        let mut events = self.coord.watch(&key, revision).await?;
        while let Some(event) = events.next().await {
            backoff.reset();
            if let Event::Put(put) = event?
                && put.key == key
            {
                self.take(&put.value);
            }
        }
        Ok(())
    }

    fn take(self: &Arc<Self>, value: &[u8]) {
        let Ok(assignment) = Assignment::decode(value) else {
            tracing::error!("the assignment cannot be understood; it stays as it was");
            return;
        };
        let count = self.acquirer.config.shard_count;
        let mut wanted = Wanted::default();
        for range in assignment.shards {
            let shards = (range.first..=range.last.min(count.get() - 1)).map(|n| count.shard(n));
            wanted.shards.extend(shards.flatten());
        }
        let dead = assignment.fence.iter().map(|id| SessionId::from_bytes(id));
        wanted.dead.extend(dead.flatten().filter(|dead| *dead != self.session()));
        let (shards, dead) = (wanted.shards.len(), wanted.dead.len());
        tracing::info!(revision = assignment.revision, shards, dead, "assigned");
        *self.wanted.lock() = wanted;
        self.acquire_missing();
    }

    /// Begins to acquire every shard that should be here and is not.
    pub(super) fn acquire_missing(self: &Arc<Self>) {
        let wanted = self.wanted.lock().clone();
        for shard in wanted.shards {
            if self.held.begin(shard) {
                let membership = Arc::clone(self);
                self.tasks.spawn("acquire", async move {
                    let acquire = AssertUnwindSafe(membership.acquire(shard)).catch_unwind();
                    if acquire.await.is_err() {
                        // What was read contradicts itself. Others are served on; someone must look.
                        let why = "its log and its rows contradict each other: see the owner's log";
                        membership.held.failed(shard, why.to_owned());
                    }
                });
            }
        }
    }

    /// Tries to acquire a shard as long as it should be here.
    async fn acquire(&self, shard: ShardId) {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
        let is_wanted = || self.wanted.lock().shards.contains(&shard);
        loop {
            let dead = self.wanted.lock().dead.clone();
            if !is_wanted() {
                self.held.failed(shard, AcquireError::Unwanted.to_string());
                self.held.forget_trouble(shard);
                return;
            }
            match self.acquirer.acquire(shard, &dead, Turn::Queued(&is_wanted)).await {
                Ok(acquired) => {
                    self.held.served(shard, acquired.epoch);
                    return;
                }
                Err(error) if error.is_retryable() => {
                    if !matches!(error, AcquireError::Held(_) | AcquireError::Unwanted) {
                        tracing::warn!(%shard, %error, "a shard is acquired again");
                    }
                    backoff.wait().await;
                }
                Err(error) => {
                    tracing::error!(%shard, %error, "a shard cannot be acquired");
                    if error.is_of_the_log() {
                        self.acquirer.metrics.damaged.with_label_values(&["log"]).inc();
                    }
                    self.held.failed(shard, error.to_string());
                    return;
                }
            }
        }
    }

    /// Looks now and then after what was missed: failed acquisitions and moves, memory of dead lanes.
    pub(super) async fn look_after(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
                () = self.held.ownerless() => {}
            }
            self.acquire_missing();
            let wanted = self.wanted.lock().clone();
            if wanted.shards.iter().all(|shard| self.held.get(*shard).is_some()) {
                self.acquirer.forget_tails();
            }
        }
    }
}

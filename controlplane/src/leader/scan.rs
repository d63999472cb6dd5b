//! Looking at the store: who has the shards that nobody reports, and whether the store is fit.

use std::sync::Arc;
use std::time::Duration;

use iris_coord::Write;
use iris_proto::coordinated_keys as keys;

use super::Leader;
use super::begin::HEADS_AT_ONCE;

/// Shards that nobody reports are looked up so often.
const SCAN: Duration = Duration::from_secs(2);
/// One in so many of the others is looked up each time.
const ROLL: usize = 60;
/// How often the store is asked about itself.
const ASK_STORE: Duration = Duration::from_secs(30);

impl Leader {
    /// Looks up heads for ever.
    pub(super) async fn scan(self: Arc<Self>) {
        let mut turn = 0;
        loop {
            tokio::time::sleep(SCAN).await;
            turn = (turn + 1) % ROLL;
            let wanted: Vec<_> = self.see(|model| {
                let due = |shard: &iris_core::id::ShardId| {
                    usize::from(shard.get()) % ROLL == turn || model.serving(*shard).is_none()
                };
                model.count().shards().filter(due).map(|shard| self.shard_ref(shard)).collect()
            });
            for some in wanted.chunks(HEADS_AT_ONCE) {
                match self.deps.store.heads(some).await {
                    Ok(heads) => self.change(|model| {
                        for (at, head) in heads {
                            if let Some(row) = head {
                                model.found(at.shard, row);
                            }
                        }
                    }),
                    Err(error) => tracing::debug!(%error, "heads cannot be read"),
                }
            }
            self.forget_dead().await;
        }
    }

    async fn forget_dead(&self) {
        let gone = self.change(crate::model::Model::forget_dead);
        let writes: Vec<_> =
            gone.into_iter().map(|id| Write::Delete { key: keys::dead(id) }).collect();
        if !writes.is_empty()
            && let Err(error) = self.commit(writes).await
        {
            tracing::debug!(%error, "dead sessions are forgotten later");
        }
    }

    /// Asks the store about itself for ever.
    pub(super) async fn ask_store(self: Arc<Self>) {
        loop {
            let wait = match self.deps.store.report().await {
                Ok(report) => {
                    *self.report.lock() = Some(report);
                    ASK_STORE
                }
                Err(error) => {
                    tracing::warn!(%error, "the store does not say how it is");
                    Duration::from_secs(5)
                }
            };
            tokio::time::sleep(wait).await;
        }
    }
}

//! Over what earlier sessions panicked, for the shard that comes here.

use std::collections::BTreeSet;

use iris_core::id::ShardId;
use iris_core::limits;
use iris_store::Suspect;

use super::{AcquireError, Acquirer};

impl Acquirer {
    /// What is not taken, in words. A shard over which too many sessions panicked is not served: it is
    /// not one input that they panicked over, and the sessions have others.
    pub(in crate::owner) async fn suspects(
        &self,
        shard: ShardId,
    ) -> Result<BTreeSet<String>, AcquireError> {
        let now = self.clock.now().wall;
        let mut found = self.store.suspects(shard).await?;
        // Another version may do better, and this one is tried again after a while.
        found.retain(|found| found.version == self.config.version && found.until > now);
        for Suspect { session, input, .. } in &found {
            // What its own session counted ended with it.
            self.metrics.damaged.with_label_values(&["input"]).inc();
            tracing::error!(%shard, %session, input, "not taken: a session panicked over it");
        }
        if found.len() >= limits::SUSPECTS_MAX {
            return Err(AcquireError::Suspect { shard, sessions: found.len() });
        }
        Ok(found.into_iter().map(|found| found.input).collect())
    }
}

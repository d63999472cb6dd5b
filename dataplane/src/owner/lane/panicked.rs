//! The end of a lane whose engine panicked: its session ends.
//!
//! What the engine holds is half changed. Nothing of it is released, written, told or asked any more but
//! what it was deciding. That is written down for whoever has the shard next, who does not take it.

use std::any::Any;
use std::panic::resume_unwind;
use std::time::Duration;

use iris_core::clock::WallMs;
use iris_core::limits;
use iris_runtime::backoff::Backoff;
use iris_store::Suspect;

use super::super::panics;
use super::Lane;

/// Whoever takes over waits for this.
const PATIENCE: Duration = Duration::from_secs(2);

impl Lane {
    /// Writes down over what it panicked, and goes on panicking: that ends the session.
    pub(super) async fn panicked(self, panic: Box<dyn Any + Send>) {
        let Self { deps, engine, .. } = self;
        let (lane, why) = (deps.lane, panics::words(&*panic));
        let Some((shard, deciding)) = engine.deciding() else {
            tracing::error!(%lane, why, "panicked, but not over what came for a shard");
            resume_unwind(panic);
        };
        drop(engine);
        deps.metrics.damaged.with_label_values(&["input"]).inc();
        tracing::error!(%lane, %shard, %deciding, why, "panicked: the session ends");
        let now = deps.clock.now().wall;
        let suspect = Suspect {
            session: lane.session,
            version: deps.version,
            input: deciding.to_string(),
            until: WallMs(now.0.saturating_add(limits::SUSPECT_MS)),
        };
        let store = deps.store;
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
        let write = async {
            while let Err(error) = store.suspect(shard, &suspect).await {
                tracing::warn!(%error, %shard, "what a session panicked over is written again");
                backoff.wait().await;
            }
        };
        if tokio::time::timeout(PATIENCE, write).await.is_err() {
            tracing::error!(%shard, "nobody will know what the session panicked over");
        }
        resume_unwind(panic)
    }
}

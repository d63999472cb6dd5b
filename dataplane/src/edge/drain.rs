//! An edge that ends asks its clients to leave at a pace, so that the other edges can take them.

use std::time::Duration;

use super::config::EdgeConfig;
use super::registry::Registry;

/// Clients are asked in portions of a tenth of a second.
const PORTION: Duration = Duration::from_millis(100);

/// Asks every client to leave, and waits until they have, within the edge's patience.
pub(super) async fn drain(config: &EdgeConfig, registry: &Registry) {
    let per_portion = usize::try_from(config.drain_per_second / 10).unwrap_or(1).max(1);
    let asked = async {
        let mut after = 0;
        while let Some(last) = registry.ask(after, per_portion) {
            after = last;
            tokio::time::sleep(PORTION).await;
        }
        while registry.len() > 0 {
            tokio::time::sleep(PORTION).await;
        }
    };
    if tokio::time::timeout(config.drain_patience, asked).await.is_err() {
        tracing::warn!(left = registry.len(), "some clients did not leave in time");
    }
}

//! A region in one process: what people see while owners, edges and control planes come and go.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says where it failed")]

mod chat;
mod failures;
mod late;
mod moves;
mod real;
mod zombie;

use std::sync::Arc;

use iris_coord::SharedCoord;
use iris_coord::memory::MemoryCoord;
use iris_e2e::region::{Region, Shape};
use iris_runtime::telemetry::{self, LogFormat};
use iris_store::SharedStore;
use iris_store::embedded::EmbeddedStore;
use tempfile::TempDir;

/// A region over an embedded store and coordination in memory.
async fn start(shape: Shape) -> (Region, TempDir) {
    let files = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedStore::open(files.path()).await.unwrap());
    (start_over(shape, store, Arc::new(MemoryCoord::new())).await, files)
}

/// A region whose shards are all served and whose edges are ready.
async fn start_over(shape: Shape, store: SharedStore, coord: SharedCoord) -> Region {
    telemetry::init(LogFormat::Text);
    let region = Region::start(shape, store, coord).await.unwrap();
    region.operator().all_served().await.unwrap();
    region.ready().await.unwrap();
    region
}

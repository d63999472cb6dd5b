//! What is answered is on the disk.

use crate::conformance;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    let report = conformance::run(&store, 1).await;
    report.verdict().unwrap();
    assert_eq!(report.passed.len(), conformance::cases().len());
}

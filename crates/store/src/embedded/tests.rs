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

/// Nothing goes wrong, at once.
struct Fair;

impl Weather for Fair {
    fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    fn fate(&self, _: Access) -> Fate {
        Fate { after: std::time::Duration::ZERO, answer: Answer::Done }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_conforms() {
    let report = conformance::run(&EmbeddedStore::simulated(Fair), 1).await;
    report.verdict().unwrap();
    assert_eq!(report.passed.len(), conformance::cases().len());
}

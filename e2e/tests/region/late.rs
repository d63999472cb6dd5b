//! A store whose fence reads answer late: what they say is old when it is heard, and whatever waits
//! for a release waits long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iris_store::embedded::EmbeddedStore;
use iris_store::{Observed, Operation, Outcome, SharedStore, StoreObserver, Table};
use tempfile::TempDir;

/// Turns lateness on and off.
#[derive(Clone)]
pub(crate) struct Late {
    on: Arc<AtomicBool>,
    by: Duration,
}

impl Late {
    /// A store in `files` whose fence reads will be late by so much.
    pub(crate) async fn store(files: &TempDir, by: Duration) -> (SharedStore, Self) {
        let late = Self { on: Arc::default(), by };
        let store = EmbeddedStore::open(files.path()).await.unwrap();
        (Arc::new(Observed::new(store, late.clone())), late)
    }

    pub(crate) fn set(&self, on: bool) {
        self.on.store(on, Ordering::Release);
    }
}

impl StoreObserver for Late {
    #[expect(clippy::disallowed_methods, reason = "an observer cannot await")]
    fn ended(&self, operation: Operation, _: Outcome, _: Duration) {
        if operation == Operation::ReadFence && self.on.load(Ordering::Acquire) {
            // Holds one of the runtime's threads: a test has one for each owner's fence reader, and more,
            // and what the embedded store does is done elsewhere.
            std::thread::sleep(self.by);
        }
    }

    fn wrote(&self, _: Table, _: usize, _: usize) {}
}

//! The connections of an edge, for draining it. Touched when one begins and ends, never by a message.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// How one connection is asked to leave.
#[derive(Debug, Default)]
pub(super) struct Leave {
    asked: Notify,
}

impl Leave {
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Registry {
    connections: Mutex<BTreeMap<u64, Arc<Leave>>>,
}

impl Registry {
    pub(super) fn enter(&self, conn: u64) -> Arc<Leave> {
        let leave = Arc::new(Leave::default());
        self.connections.lock().insert(conn, Arc::clone(&leave));
        leave
    }

    pub(super) fn exit(&self, conn: u64) {
        self.connections.lock().remove(&conn);
    }

    pub(super) fn len(&self) -> usize {
        self.connections.lock().len()
    }

    /// Asks up to `count` connections above `after` to leave; answers the last one asked.
    pub(super) fn ask(&self, after: u64, count: usize) -> Option<u64> {
        let connections = self.connections.lock();
        let mut last = None;
        for (conn, leave) in connections.range(after + 1..).take(count) {
            leave.asked.notify_one();
            last = Some(*conn);
        }
        last
    }
}

//! Tasks: each has a name, an owner, and an end that somebody notices.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerWaitFuture;

/// The tasks of one component. Cloned freely; ends when its owner says so.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// No tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// A group that stops with this one and can stop before it.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { tracker: TaskTracker::new(), stop: self.stop.child_token() }
    }

    /// Runs a task until it ends or the group stops.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        // Boxed, since a future that awaits what it was given has room for it twice.
        let task = Box::pin(task);
        self.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => tracing::debug!(task = name, "stopped"),
                () = task => tracing::debug!(task = name, "ended"),
            }
        });
    }

    /// Runs a task whose end, unless the group stops, means that the whole group must stop.
    pub fn spawn_critical<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            // A panic in the task drops the guard too: the group never goes on without it.
            let guard = stop.clone().drop_guard();
            tokio::select! {
                // First: a task that ends because its group stops is no failure of its own.
                biased;
                () = stop.cancelled() => tracing::debug!(task = name, "stopped"),
                () = task => match stop.is_cancelled() {
                    true => tracing::debug!(task = name, "stopped"),
                    false => tracing::error!(task = name, "a critical task ended"),
                },
            }
            drop(guard);
        });
    }

    /// Asks every task to stop.
    pub fn stop(&self) {
        self.tracker.close();
        self.stop.cancel();
    }

    /// Whether the group was asked to stop, or a critical task ended.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until the group is asked to stop or a critical task ends.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until every task has ended; call [`Tasks::stop`] first.
    pub fn ended(&self) -> TaskTrackerWaitFuture<'_> {
        self.tracker.close();
        self.tracker.wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_critical_task_takes_its_group_along() {
        let tasks = Tasks::new();
        let child = tasks.child();
        child.spawn("waits", std::future::pending());
        child.spawn_critical("ends", async {});
        child.stopped().await;
        child.ended().await;
        assert!(!tasks.is_stopped(), "the parent goes on");
    }
}

//! Tasks: each has a name, an owner, and an end that somebody notices.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerWaitFuture;

/// Whether a process goes on. Simulations have some that stand still for a while, as after a SIGSTOP.
pub trait Pace: Debug + Send + Sync + 'static {
    /// Ready while the process goes on; else whoever asked is woken once it does.
    fn poll_going(&self, context: &mut Context<'_>) -> Poll<()>;
}

/// A future that does nothing while its process stands still, whatever it waits for.
#[derive(Debug)]
pub struct Paced<F> {
    pace: Arc<dyn Pace>,
    future: Pin<Box<F>>,
}

impl<F> Paced<F> {
    /// A future of the process of that pace.
    pub fn new(pace: Arc<dyn Pace>, future: F) -> Self {
        Self { pace, future: Box::pin(future) }
    }
}

impl<F: Future> Future for Paced<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        ready!(self.pace.poll_going(context));
        self.future.as_mut().poll(context)
    }
}

/// The tasks of one component. Cloned freely; ends when its owner says so.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    /// In a simulation: that of the process. What ships always goes on.
    pace: Option<Arc<dyn Pace>>,
}

impl Tasks {
    /// No tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// No tasks, of a simulated process.
    pub fn paced(pace: Arc<dyn Pace>) -> Self {
        Self { pace: Some(pace), ..Self::default() }
    }

    /// A group that stops with this one and can stop before it.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { tracker: TaskTracker::new(), stop: self.stop.child_token(), pace: self.pace.clone() }
    }

    /// Runs a task until it ends or the group stops.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        // Boxed, since a future that awaits what it was given has room for it twice.
        let task = Box::pin(task);
        self.run(async move {
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
        self.run(async move {
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

    fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.pace {
            None => self.tracker.spawn(task),
            Some(pace) => self.tracker.spawn(Paced::new(Arc::clone(pace), task)),
        };
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
    use std::task::Waker;

    use parking_lot::Mutex;
    use tokio::sync::watch;

    use super::*;

    /// Stands still while there is a list of those who wait.
    #[derive(Debug)]
    struct Switch(Mutex<Option<Vec<Waker>>>);

    impl Pace for Switch {
        fn poll_going(&self, context: &mut Context<'_>) -> Poll<()> {
            match &mut *self.0.lock() {
                None => Poll::Ready(()),
                Some(waiting) => {
                    waiting.push(context.waker().clone());
                    Poll::Pending
                }
            }
        }
    }

    #[tokio::test]
    async fn what_stands_still_does_nothing_and_then_goes_on() {
        let switch = Arc::new(Switch(Mutex::new(Some(Vec::new()))));
        let tasks = Tasks::paced(switch.clone()).child();
        let done = watch::Sender::new(false);
        let mut seen = done.subscribe();
        tasks.spawn("waits", async move {
            done.send_replace(true);
        });
        // It is polled meanwhile: there is one thread, and nobody else is on it.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!*seen.borrow(), "it did something");
        assert_eq!(switch.0.lock().as_ref().map(Vec::len), Some(1));
        let waiting = switch.0.lock().take().unwrap();
        waiting.into_iter().for_each(Waker::wake);
        seen.changed().await.unwrap();
        tasks.ended().await;
    }

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

//! What waits to be sent on a stream. A lane never waits for a stream: it pushes, and is told when a
//! stream is so far behind that it should push no more.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Above this many bytes a stream counts as congested.
const CONGESTED_BYTES: usize = 8 * 1024 * 1024;
/// Above this many bytes a stream is given up: its other side does not read at all.
const GIVEN_UP_BYTES: usize = 64 * 1024 * 1024;
/// What one batch takes along.
const BATCH_BYTES: usize = 256 * 1024;

/// A queue with one reader. See the module.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    news: Notify,
    congested: AtomicBool,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
}

/// What a push found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The stream keeps up.
    Fine,
    /// The stream just fell behind.
    Congested,
    /// The stream is gone, or was given up by this push.
    Gone,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting { items: VecDeque::new(), bytes: 0 }),
            news: Notify::new(),
            congested: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Adds an item that weighs `bytes`.
    pub(crate) fn push(&self, item: T, bytes: usize) -> Pushed {
        if self.is_closed() {
            return Pushed::Gone;
        }
        let mut waiting = self.waiting.lock();
        waiting.items.push_back((item, bytes));
        waiting.bytes += bytes;
        let total = waiting.bytes;
        drop(waiting);
        self.news.notify_one();
        if total > GIVEN_UP_BYTES {
            self.close();
            return Pushed::Gone;
        }
        let fell_behind = total > CONGESTED_BYTES && !self.congested.swap(true, Ordering::AcqRel);
        if fell_behind { Pushed::Congested } else { Pushed::Fine }
    }

    /// Whether the stream is behind.
    pub(crate) fn is_congested(&self) -> bool {
        self.congested.load(Ordering::Acquire)
    }

    /// Takes a batch, waiting for one; nothing when the queue was closed. The second value says that the
    /// stream has caught up again.
    pub(crate) async fn take(&self) -> Option<(Vec<T>, bool)> {
        loop {
            let news = self.news.notified();
            let batch = self.take_now();
            if !batch.is_empty() {
                let low = self.waiting.lock().bytes < CONGESTED_BYTES / 2;
                let caught_up = low && self.congested.swap(false, Ordering::AcqRel);
                return Some((batch, caught_up));
            }
            if self.is_closed() {
                return None;
            }
            news.await;
        }
    }

    fn take_now(&self) -> Vec<T> {
        let mut waiting = self.waiting.lock();
        let (mut count, mut bytes) = (0, 0);
        for (_, weight) in &waiting.items {
            if count > 0 && bytes + weight > BATCH_BYTES {
                break;
            }
            (count, bytes) = (count + 1, bytes + weight);
        }
        waiting.bytes -= bytes;
        waiting.items.drain(..count).map(|(item, _)| item).collect()
    }

    /// Ends the queue: what waits is still taken, nothing more is added.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.news.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn batches_are_bounded_and_in_order() {
        let queue = Queue::new();
        for n in 0..5 {
            assert_eq!(queue.push(n, 100 * 1024), Pushed::Fine);
        }
        assert_eq!(queue.take().await, Some((vec![0, 1], false)));
        assert_eq!(queue.take().await, Some((vec![2, 3], false)));
        queue.close();
        assert_eq!(queue.push(9, 1), Pushed::Gone);
        assert_eq!(queue.take().await, Some((vec![4], false)));
        assert_eq!(queue.take().await, None);
    }

    #[tokio::test]
    async fn a_stream_that_falls_behind_is_told_of_once_and_given_up_in_the_end() {
        let queue = Queue::new();
        let mut seen = Vec::new();
        while !queue.is_closed() {
            seen.push(queue.push((), 1024 * 1024));
        }
        assert_eq!(seen.iter().filter(|p| **p == Pushed::Congested).count(), 1);
        assert_eq!(seen.last(), Some(&Pushed::Gone));
        assert!(queue.is_congested());
        let mut caught_up = 0;
        while let Some((_, now)) = queue.take().await {
            caught_up += usize::from(now);
        }
        assert_eq!(caught_up, 1);
    }
}

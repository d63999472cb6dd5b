//! What becomes of the accesses to a store in memory: a simulation's model of a database that answers
//! late, not at all, or long after nobody waits any more.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::disk::Disk;
use crate::StoreError;

/// Decides what becomes of each access of a process, and is the time of all who share the store.
pub trait Weather: Send + Sync + 'static {
    /// How much time went by since the store was made.
    fn elapsed(&self) -> Duration;

    /// What becomes of an access that begins now.
    fn fate(&self, access: Access) -> Fate;

    /// Whether a read that is not serial, and begins now, misses what was decided last.
    fn reads_old(&self) -> bool {
        false
    }

    /// Ready once the process can hear an answer; a process that stands still hears none.
    fn poll_hears(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// What is asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It changes nothing.
    Read,
    /// A write, compare-and-swaps included.
    Write,
}

/// What becomes of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// When the answer is there.
    pub after: Duration,
    /// What it is.
    pub answer: Answer,
}

/// How an access is answered. Those who read know only the first two; to them the others are the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done,
    /// Nobody could, and nothing happened.
    Unavailable,
    /// It happened, and nobody knows.
    Unknown,
    /// Nobody knows, and nothing happened.
    Lost,
    /// Nobody knows, and it happens so long after the answer.
    Late(Duration),
}

type Work = Box<dyn FnOnce(&Disk) + Send>;

/// How long an access waits at a time that did not arrive yet.
const TICK: Duration = Duration::from_millis(1);

/// The weather of a process, and what is on its way.
pub(super) struct Sky {
    weather: Box<dyn Weather>,
    air: Arc<Air>,
}

/// What all who share a store have in common.
#[derive(Default)]
struct Air {
    /// What is still to happen, and when.
    coming: Mutex<Vec<(Duration, Work)>>,
    counts: Arc<Counts>,
}

/// What happened to a store in memory.
#[derive(Debug, Default)]
pub struct Counts {
    /// Blocks that arrived when their session was fenced.
    pub late_blocks: AtomicU64,
    /// Flushes of which nobody knows what was written.
    pub torn_flushes: AtomicU64,
    /// Plain reads of ownerships that missed what was decided last.
    pub old_reads: AtomicU64,
}

/// Something that is torn unless it gets done.
pub(super) struct Torn(Option<Arc<Counts>>);

impl Torn {
    pub(super) fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Torn {
    fn drop(&mut self) {
        if let Some(counts) = &self.0 {
            counts.torn_flushes.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Sky {
    pub(super) fn new(weather: impl Weather) -> Self {
        Self { weather: Box::new(weather), air: Arc::default() }
    }

    /// The same for another process.
    pub(super) fn of_another(&self, weather: impl Weather) -> Self {
        Self { weather: Box::new(weather), air: Arc::clone(&self.air) }
    }

    /// Whether a read that is not serial misses what was decided last.
    pub(super) fn reads_old(&self) -> bool {
        self.weather.reads_old()
    }

    pub(super) fn counts(&self) -> &Arc<Counts> {
        &self.air.counts
    }

    /// Counts a flush as torn unless it gets done: when its process dies, too.
    pub(super) fn count_unless_done(&self) -> Torn {
        Torn(Some(Arc::clone(&self.air.counts)))
    }

    /// Does the work, or not, as the weather has it.
    pub(super) async fn access<T: Send + 'static>(
        &self,
        disk: &Disk,
        access: Access,
        work: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.ask(disk, access, work).await;
        poll_fn(|context| self.weather.poll_hears(context)).await;
        answer
    }

    async fn ask<T: Send + 'static>(
        &self,
        disk: &Disk,
        access: Access,
        work: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Fate { after, answer } = self.weather.fate(access);
        let answer = match (access, answer) {
            (Access::Read, Answer::Unknown | Answer::Lost | Answer::Late(_)) => Answer::Unavailable,
            (_, answer) => answer,
        };
        // Half of the way there, half of the way back.
        let arrives = self.weather.elapsed() + after / 2;
        let (answered, mut heard) = oneshot::channel();
        let arriving = match answer {
            Answer::Done | Answer::Unknown => Some(arrives),
            Answer::Late(by) => Some(arrives + after / 2 + by),
            Answer::Unavailable | Answer::Lost => None,
        };
        if let Some(due) = arriving {
            // It is on its way, whatever becomes of who sent it. Nobody may wait any more.
            let work: Work = Box::new(|disk| drop(answered.send(work(disk))));
            self.air.coming.lock().push((due, work));
        }
        tokio::time::sleep(after / 2).await;
        self.catch_up(disk);
        tokio::time::sleep(after / 2).await;
        match answer {
            // Clocks of two hosts may be a tick apart.
            Answer::Done => loop {
                if let Ok(done) = heard.try_recv() {
                    return done;
                }
                tokio::time::sleep(TICK).await;
                self.catch_up(disk);
            },
            Answer::Unavailable => Err(StoreError::Unavailable("the weather".to_owned())),
            Answer::Unknown | Answer::Lost | Answer::Late(_) => {
                Err(StoreError::Unknown("the weather".to_owned()))
            }
        }
    }

    /// Lets happen what is due, in its order.
    fn catch_up(&self, disk: &Disk) {
        let now = self.weather.elapsed();
        let mut coming = self.air.coming.lock();
        coming.sort_by_key(|(due, _)| *due);
        let due = coming.iter().take_while(|(due, _)| *due <= now).count();
        let due: Vec<_> = coming.drain(..due).collect();
        drop(coming);
        for (_, work) in due {
            work(disk);
        }
    }
}

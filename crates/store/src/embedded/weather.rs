//! What becomes of the accesses to a store in memory: a simulation's model of a database that answers
//! late, not at all, or long after nobody waits any more.

use std::time::Duration;

use parking_lot::Mutex;

use super::disk::Disk;
use crate::StoreError;

/// Decides what becomes of each access, and is the time of all who share the store.
pub trait Weather: Send + Sync + 'static {
    /// How much time went by since the store was made.
    fn elapsed(&self) -> Duration;

    /// What becomes of an access that begins now.
    fn fate(&self, access: Access) -> Fate;
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

/// A weather, and the writes that are still to happen.
pub(super) struct Sky {
    weather: Box<dyn Weather>,
    late: Mutex<Vec<(Duration, Work)>>,
}

impl Sky {
    pub(super) fn new(weather: impl Weather) -> Self {
        Self { weather: Box::new(weather), late: Mutex::default() }
    }

    /// Does the work, or not, as the weather has it.
    pub(super) async fn access<T: 'static>(
        &self,
        disk: &Disk,
        access: Access,
        work: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Fate { after, answer } = self.weather.fate(access);
        // Half of the way there, half of the way back.
        tokio::time::sleep(after / 2).await;
        self.catch_up(disk);
        let answer = match (access, answer) {
            (Access::Read, Answer::Unknown | Answer::Lost | Answer::Late(_)) => Answer::Unavailable,
            (_, answer) => answer,
        };
        let done = match answer {
            Answer::Done => work(disk),
            Answer::Unavailable => Err(StoreError::Unavailable("the weather".to_owned())),
            Answer::Lost => Err(unknown()),
            Answer::Unknown => work(disk).and(Err(unknown())),
            Answer::Late(by) => {
                let due = self.weather.elapsed() + after / 2 + by;
                // Whoever asked does not hear what becomes of it.
                self.late.lock().push((due, Box::new(|disk| drop(work(disk)))));
                Err(unknown())
            }
        };
        tokio::time::sleep(after / 2).await;
        done
    }

    /// Lets happen what is due, in its order.
    fn catch_up(&self, disk: &Disk) {
        let now = self.weather.elapsed();
        let mut late = self.late.lock();
        late.sort_by_key(|(due, _)| *due);
        let due = late.iter().take_while(|(due, _)| *due <= now).count();
        let due: Vec<_> = late.drain(..due).collect();
        drop(late);
        for (_, work) in due {
            work(disk);
        }
    }
}

fn unknown() -> StoreError {
    StoreError::Unknown("the weather".to_owned())
}

//! How many shards are acquired at once, and which of them first.
//!
//! A dead owner's shards come all together. Those that people write to are not to share the database's
//! time with those for whom hardly anybody waits.

#[cfg(test)]
mod tests;

use std::pin::pin;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Shards whose newest ownership is read at once.
const LOOKS: usize = 64;
/// Shards claimed and recovered at once: each costs a few round trips and a compare-and-swap, whose time
/// is that of the database's disk and shared by those that are under way together.
const CLAIMS: usize = 64;
/// And so many of them may be quiet while others wait, or may: enough to keep the database busy, few
/// enough to leave it to the others.
const QUIET_CLAIMS: usize = 4;
/// Once nobody else waits there is one more of them each time that so long went by: who comes back to the
/// others costs something, too.
const ONE_MORE: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Places {
    looks: Semaphore,
    claims: Semaphore,
    quiet: Mutex<Quiet>,
    room: Notify,
}

#[derive(Debug)]
struct Quiet {
    /// How many quiet shards have a place.
    placed: usize,
    /// How many others there are, those included of which nothing is known yet.
    others: usize,
    /// When one of the others had its owner last.
    since: Instant,
}

impl Quiet {
    fn places(&self) -> usize {
        if self.others > 0 {
            return QUIET_CLAIMS;
        }
        let more = self.since.elapsed().as_millis() / ONE_MORE.as_millis();
        QUIET_CLAIMS.saturating_add(usize::try_from(more).unwrap_or(CLAIMS)).min(CLAIMS)
    }
}

/// A shard that is to be acquired, of which nothing is known yet.
#[derive(Debug)]
pub(super) struct Arrival<'a>(&'a Places);

/// A place to claim a shard and recover it, as long as it is kept.
#[derive(Debug)]
pub(super) struct Place<'a> {
    _claim: Option<SemaphorePermit<'a>>,
    _kind: Kind<'a>,
}

#[derive(Debug)]
enum Kind<'a> {
    Quiet { _place: QuietPlace<'a> },
    Other { _place: OtherPlace<'a> },
}

#[derive(Debug)]
struct OtherPlace<'a>(Arrival<'a>);

#[derive(Debug)]
struct QuietPlace<'a>(&'a Places);

impl Places {
    pub(super) fn new() -> Self {
        let quiet = Quiet { placed: 0, others: 0, since: Instant::now() };
        Self {
            looks: Semaphore::new(LOOKS),
            claims: Semaphore::new(CLAIMS),
            quiet: Mutex::new(quiet),
            room: Notify::new(),
        }
    }

    /// A shard is to be acquired.
    pub(super) fn arrive(&self) -> Arrival<'_> {
        self.quiet.lock().others += 1;
        Arrival(self)
    }

    async fn quiet_place(&self) -> QuietPlace<'_> {
        loop {
            let mut room = pin!(self.room.notified());
            // Whoever gives a place back between the look and the wait is heard.
            room.as_mut().enable();
            {
                let mut quiet = self.quiet.lock();
                if quiet.placed < quiet.places() {
                    quiet.placed += 1;
                    return QuietPlace(self);
                }
            }
            // Somebody has a place, and gives it back.
            room.await;
        }
    }

    fn wake(&self, quiet: &Quiet) {
        for _ in quiet.placed..quiet.places() {
            self.room.notify_one();
        }
    }
}

impl<'a> Arrival<'a> {
    /// A place to read who has the shard; nothing once the process ends.
    pub(super) async fn look(&self) -> Option<SemaphorePermit<'a>> {
        self.0.looks.acquire().await.ok()
    }

    /// A place to claim it. It is quiet when nobody wrote to it lately.
    pub(super) async fn claim(self, is_quiet: bool) -> Place<'a> {
        let places = self.0;
        let kind = if is_quiet {
            drop(self);
            Kind::Quiet { _place: places.quiet_place().await }
        } else {
            Kind::Other { _place: OtherPlace(self) }
        };
        Place { _claim: places.claims.acquire().await.ok(), _kind: kind }
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.0.quiet.lock().others -= 1;
    }
}

impl Drop for OtherPlace<'_> {
    fn drop(&mut self) {
        let Self(Arrival(places)) = self;
        places.quiet.lock().since = Instant::now();
    }
}

impl Drop for QuietPlace<'_> {
    fn drop(&mut self) {
        let mut quiet = self.0.quiet.lock();
        quiet.placed -= 1;
        self.0.wake(&quiet);
    }
}

//! One leader at a time, by a key that lives by the leader's lease.
//!
//! Being the leader is a belief that may be wrong for a moment: whatever a leader writes carries the
//! election's guard, and what it tells others carries its term.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::{Commit, CoordError, Event, Guard, LeaseId, SharedCoord, Write};

/// A lease is renewed this often within its time.
const RENEWALS: u32 = 4;
/// After a failure, before the next try.
const PAUSE: Duration = Duration::from_millis(200);

/// Someone who would lead.
#[derive(Clone)]
pub struct Candidate {
    /// Where the election is held.
    pub coord: SharedCoord,
    /// The key that the leader holds.
    pub key: String,
    /// What others should know of this candidate.
    pub value: Bytes,
    /// A leader that says nothing for so long leads no more (whole seconds).
    pub ttl: Duration,
}

/// A leadership, until it is lost or resigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elected {
    /// Which leadership of this key; grows.
    pub term: u64,
    /// Holds as long as the leadership does.
    pub guard: Guard,
    lease: LeaseId,
    /// Nobody else leads before.
    sure_until: Instant,
}

/// The outcome of a try.
enum Try {
    Elected(Elected),
    /// Another leads.
    Lost,
}

impl Candidate {
    /// Waits until this candidate leads. `follow` hears of every other leader.
    pub async fn campaign(&self, mut follow: impl FnMut(Option<Bytes>) + Send) -> Elected {
        loop {
            match self.attempt().await {
                Ok(Try::Elected(elected)) => return elected,
                Ok(Try::Lost) => {
                    if let Err(error) = self.await_vacancy(&mut follow).await {
                        tracing::debug!(%error, "the election is looked at again");
                        sleep(PAUSE).await;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "no election");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn attempt(&self) -> Result<Try, CoordError> {
        if self.coord.get(&self.key).await?.is_some() {
            return Ok(Try::Lost);
        }
        let begun = Instant::now();
        let lease = self.coord.grant(self.ttl).await?;
        let put =
            Write::Put { key: self.key.clone(), value: self.value.clone(), lease: Some(lease) };
        let committed = self.coord.commit(&[Guard::Absent(self.key.clone())], &[put]).await;
        if let Ok(Commit::Done(revision)) = committed {
            return Ok(Try::Elected(Elected {
                term: u64::try_from(revision.0).unwrap_or_default(),
                guard: Guard::Unchanged(self.key.clone(), revision),
                lease,
                sure_until: begun + self.ttl,
            }));
        }
        // Whether or not the key was set, nobody holds the lease.
        if let Err(error) = self.coord.revoke(lease).await {
            tracing::debug!(%error, "an unused lease ends by itself");
        }
        committed.map(|_| Try::Lost)
    }

    /// Returns when nobody leads.
    async fn await_vacancy(
        &self,
        follow: &mut (impl FnMut(Option<Bytes>) + Send),
    ) -> Result<(), CoordError> {
        let (found, revision) = self.coord.list(&self.key).await?;
        let Some(leader) = found.into_iter().find(|found| found.key == self.key) else {
            return Ok(());
        };
        follow(Some(leader.value));
        let mut events = self.coord.watch(&self.key, revision).await?;
        while let Some(event) = events.next().await {
            match event? {
                Event::Put(put) if put.key == self.key => follow(Some(put.value)),
                Event::Delete { key, .. } if key == self.key => {
                    follow(None);
                    return Ok(());
                }
                Event::Put(_) | Event::Delete { .. } => {}
            }
        }
        Ok(())
    }

    /// Keeps a leadership; returns when it may be over.
    pub async fn hold(&self, elected: &Elected) -> CoordError {
        let mut sure_until = elected.sure_until;
        let mut last = CoordError::LeaseGone;
        loop {
            sleep_until((Instant::now() + self.ttl / RENEWALS).min(sure_until)).await;
            let begun = Instant::now();
            if begun >= sure_until {
                return last;
            }
            match timeout_at(sure_until, self.coord.renew(elected.lease)).await {
                Ok(Ok(())) => sure_until = begun + self.ttl,
                Ok(Err(CoordError::LeaseGone)) => return CoordError::LeaseGone,
                Ok(Err(error)) => {
                    last = error;
                    sleep_until((Instant::now() + PAUSE).min(sure_until)).await;
                }
                Err(_) => return last,
            }
        }
    }

    /// Gives a leadership up, so that another need not wait for its end.
    pub async fn resign(&self, elected: Elected) {
        if let Err(error) = self.coord.revoke(elected.lease).await {
            tracing::debug!(%error, "the leadership ends by itself");
        }
    }
}

//! etcd as a host has it: there, unwell, or out of its reach. A request may happen though no answer
//! comes back.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _};
use iris_coord::memory::MemoryCoord;
use iris_coord::{Commit, Coord, CoordError, Event, Guard, LeaseId, Revision, Versioned, Write};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::ground::elapsed;
use crate::machine::Road;
use crate::stillness::Stillness;

/// The one that all hosts share.
pub(crate) struct Etcd {
    memory: MemoryCoord,
    unwell: AtomicBool,
    random: Mutex<fastrand::Rng>,
    /// Changes whose outcome nobody knew: those that happened and those that did not.
    unclear: [AtomicU64; 2],
}

impl Etcd {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            memory: MemoryCoord::with_clock(elapsed),
            unwell: AtomicBool::new(false),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            unclear: Default::default(),
        }
    }

    /// Nobody reaches it, or everybody again.
    pub(crate) fn set_down(&self, down: bool) {
        self.memory.set_down(down);
    }

    /// Whether it leaves outcomes unknown.
    pub(crate) fn set_unwell(&self, unwell: bool) {
        self.unwell.store(unwell, Ordering::Release);
    }

    /// How many changes had an unknown outcome, by what it was.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 2] {
        let count = |at: usize| self.unclear[at].load(Ordering::Relaxed);
        [
            ("a change in etcd happened and seemed lost", count(0)),
            ("a change in etcd was lost", count(1)),
        ]
    }

    /// What becomes of a request, and how long it takes to know nothing.
    fn fate(&self, road: Road) -> (Fate, Duration) {
        let mut random = self.random.lock();
        let timeout = Duration::from_millis(random.u64(100..2_000));
        let fate = match (road, self.unwell.load(Ordering::Acquire)) {
            (Road::Open, false) => Fate::Answered,
            (Road::Closed, _) => Fate::Lost,
            (Road::NoWayBack, _) => Fate::Happens,
            (Road::Open, true) => match random.u8(0..8) {
                0 => Fate::Lost,
                1 => Fate::Happens,
                2 => Fate::HappensLate,
                _ => Fate::Answered,
            },
        };
        (fate, timeout)
    }

    fn count(&self, happened: bool) {
        self.unclear[usize::from(!happened)].fetch_add(1, Ordering::Relaxed);
    }
}

/// What becomes of a request. But for the first, nobody who asked knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Lost,
    Happens,
    /// Just before whoever asked gives up; nothing happens for one who gave up earlier.
    HappensLate,
}

/// etcd as one host has it.
pub(crate) struct Line {
    pub(crate) etcd: Arc<Etcd>,
    pub(crate) road: watch::Receiver<Road>,
    pub(crate) stillness: Arc<Stillness>,
}

impl Line {
    /// Asks something that changes nothing.
    async fn read<T: Send>(
        &self,
        request: impl Future<Output = Result<T, CoordError>> + Send,
    ) -> Result<T, CoordError> {
        let (fate, timeout) = self.fate();
        let answer = match fate {
            Fate::Answered => request.await,
            Fate::Lost | Fate::Happens | Fate::HappensLate => {
                tokio::time::sleep(timeout).await;
                Err(out_of_reach())
            }
        };
        self.stillness.going().await;
        answer
    }

    /// Asks for a change.
    async fn change<T: Send>(
        &self,
        request: impl Future<Output = Result<T, CoordError>> + Send,
    ) -> Result<T, CoordError> {
        let (fate, timeout) = self.fate();
        let unknown = Err(CoordError::Unknown("etcd did not answer".to_owned()));
        let answer = match fate {
            Fate::Answered => request.await,
            Fate::Lost => {
                self.etcd.count(false);
                tokio::time::sleep(timeout).await;
                unknown
            }
            Fate::Happens => {
                self.etcd.count(request.await.is_ok());
                tokio::time::sleep(timeout).await;
                unknown
            }
            Fate::HappensLate => {
                tokio::time::sleep(timeout).await;
                self.etcd.count(request.await.is_ok());
                unknown
            }
        };
        self.stillness.going().await;
        answer
    }

    fn fate(&self) -> (Fate, Duration) {
        self.etcd.fate(*self.road.borrow())
    }
}

fn out_of_reach() -> CoordError {
    CoordError::Unavailable("etcd is out of reach".to_owned())
}

#[async_trait]
impl Coord for Line {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, CoordError> {
        self.read(self.etcd.memory.get(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<(Vec<Versioned>, Revision), CoordError> {
        self.read(self.etcd.memory.list(prefix)).await
    }

    async fn commit(&self, guards: &[Guard], writes: &[Write]) -> Result<Commit, CoordError> {
        self.change(self.etcd.memory.commit(guards, writes)).await
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, CoordError> {
        self.change(self.etcd.memory.grant(ttl)).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), CoordError> {
        self.change(self.etcd.memory.renew(lease)).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), CoordError> {
        self.change(self.etcd.memory.revoke(lease)).await
    }

    async fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Event, CoordError>>, CoordError> {
        let events = self.read(self.etcd.memory.watch(prefix, after)).await?;
        Ok(stream::unfold(Some((events, self.road.clone())), next).boxed())
    }
}

type Watched = (BoxStream<'static, Result<Event, CoordError>>, watch::Receiver<Road>);

/// What happened next, as long as the host reaches etcd.
async fn next(watched: Option<Watched>) -> Option<(Result<Event, CoordError>, Option<Watched>)> {
    let (mut events, mut road) = watched?;
    let event = tokio::select! {
        biased;
        () = async { drop(road.wait_for(|road| *road != Road::Open).await) } => {
            return Some((Err(out_of_reach()), None));
        }
        event = events.next() => event?,
    };
    Some((event, Some((events, road))))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn line(seed: u64) -> (Line, watch::Sender<Road>) {
        let (roads, road) = watch::channel(Road::Open);
        (Line { etcd: Arc::new(Etcd::new(seed)), road, stillness: Arc::default() }, roads)
    }

    fn put(key: &str) -> [Write; 1] {
        [Write::Put { key: key.to_owned(), value: Bytes::new(), lease: None }]
    }

    #[tokio::test(start_paused = true)]
    async fn what_seems_lost_may_have_happened() {
        let (line, roads) = line(1);
        for (road, happens) in [(Road::NoWayBack, true), (Road::Closed, false)] {
            let key = format!("{road:?}");
            roads.send_replace(road);
            let unknown = line.commit(&[], &put(&key)).await;
            assert!(matches!(unknown, Err(CoordError::Unknown(_))), "{unknown:?}");
            assert!(matches!(line.get(&key).await, Err(CoordError::Unavailable(_))));
            roads.send_replace(Road::Open);
            assert_eq!(line.get(&key).await.unwrap().is_some(), happens, "{road:?}");
        }
        assert_eq!(line.etcd.counts().map(|(_, count)| count), [1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_unwell_answers_some_and_leaves_others_unknown() {
        let (line, _roads) = line(2);
        line.etcd.set_unwell(true);
        let (mut answered, mut unknown) = (0, 0);
        for n in 0..200 {
            match line.commit(&[], &put(&n.to_string())).await {
                Ok(_) => answered += 1,
                Err(CoordError::Unknown(_)) => unknown += 1,
                Err(error) => panic!("{error}"),
            }
        }
        let [happened, lost] = line.etcd.counts().map(|(_, count)| count);
        assert!(answered > 100 && happened > 20 && lost > 10, "{answered} {happened} {lost}");
        assert_eq!(happened + lost, unknown);
        line.etcd.set_unwell(false);
        let (found, _) = line.list("").await.unwrap();
        assert_eq!(found.len() as u64, answered + happened);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_breaks_when_its_host_is_cut_off() {
        let (line, roads) = line(3);
        let mut events = line.watch("", Revision(0)).await.unwrap();
        line.commit(&[], &put("seen")).await.unwrap();
        assert!(events.next().await.unwrap().is_ok());
        roads.send_replace(Road::NoWayBack);
        assert_eq!(events.next().await.unwrap(), Err(out_of_reach()));
        assert!(events.next().await.is_none());
    }
}

//! Coordination inside one process: for tests, simulation and first contact.
//!
//! Leases end by tokio's clock, so paused time works, or by one that is given. Nothing runs in the background: what is due is
//! done by whoever looks next, and a watcher wakes by itself when a lease may have ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Commit, Coord, CoordError, Event, Guard, LeaseId, Revision, Versioned, Write};

/// Changes remembered for watchers that begin in the past.
const HISTORY_MAX: usize = 10_000;

/// See the module.
#[derive(Clone)]
pub struct MemoryCoord {
    shared: Arc<Shared>,
}

struct Shared {
    /// How much time went by since it began.
    elapsed: Box<dyn Fn() -> Duration + Send + Sync>,
    state: Mutex<State>,
    /// The newest revision: wakes watchers.
    news: watch::Sender<i64>,
}

#[derive(Default)]
struct State {
    revision: i64,
    values: BTreeMap<String, Kept>,
    leases: BTreeMap<LeaseId, Lease>,
    last_lease: i64,
    history: VecDeque<Event>,
    /// Changes up to this revision are forgotten.
    forgotten: i64,
    down: bool,
}

struct Kept {
    value: Bytes,
    modified: Revision,
    lease: Option<LeaseId>,
}

struct Lease {
    ttl: Duration,
    ends: Duration,
}

impl Default for MemoryCoord {
    fn default() -> Self {
        let began = Instant::now();
        Self::with_clock(move || began.elapsed())
    }
}

impl MemoryCoord {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store whose leases end by a clock that tells how much time went by: where those who
    /// share the store are in runtimes of different times.
    pub fn with_clock(elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let (state, news) = (Mutex::default(), watch::Sender::default());
        Self { shared: Arc::new(Shared { elapsed: Box::new(elapsed), state, news }) }
    }

    /// From now on every call fails and every watch breaks, as if nobody answered; or no longer.
    /// Leases end meanwhile, as they would.
    pub fn set_down(&self, down: bool) {
        self.shared.state.lock().down = down;
        self.shared.news.send_modify(|_| {});
    }

    /// Forgets every change up to `revision`.
    pub fn compact(&self, revision: Revision) {
        self.shared.state.lock().forget(revision.0);
    }

    /// Does something to the state as it is now, and tells the watchers.
    fn with<T>(
        &self,
        act: impl FnOnce(&mut State, Duration) -> Result<T, CoordError>,
    ) -> Result<T, CoordError> {
        let mut state = self.shared.state.lock();
        let now = (self.shared.elapsed)();
        state.expire(now);
        let result = if state.down { Err(unavailable()) } else { act(&mut state, now) };
        let revision = state.revision;
        drop(state);
        self.shared.news.send_if_modified(|known| std::mem::replace(known, revision) != revision);
        result
    }
}

fn unavailable() -> CoordError {
    CoordError::Unavailable("the store in memory is down".to_owned())
}

impl State {
    fn expire(&mut self, now: Duration) {
        let ended: Vec<_> =
            self.leases.iter().filter(|(_, lease)| lease.ends <= now).map(|(id, _)| *id).collect();
        for id in ended {
            self.end(id);
        }
    }

    fn end(&mut self, id: LeaseId) {
        self.leases.remove(&id);
        let bound = |(key, kept): (&String, &Kept)| (kept.lease == Some(id)).then(|| key.clone());
        let keys: Vec<_> = self.values.iter().filter_map(bound).collect();
        if !keys.is_empty() {
            self.revision += 1;
        }
        for key in keys {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: String) {
        if self.values.remove(&key).is_some() {
            let at = Revision(self.revision);
            self.remember(Event::Delete { key, at });
        }
    }

    fn put(&mut self, key: &str, value: &Bytes, lease: Option<LeaseId>) {
        let modified = Revision(self.revision);
        self.values.insert(key.to_owned(), Kept { value: value.clone(), modified, lease });
        let put = Versioned { key: key.to_owned(), value: value.clone(), modified };
        self.remember(Event::Put(put));
    }

    fn remember(&mut self, event: Event) {
        self.history.push_back(event);
        while self.history.len() > HISTORY_MAX {
            let at = self.history.front().map_or(0, revision_of);
            self.forget(at);
        }
    }

    fn forget(&mut self, revision: i64) {
        self.forgotten = self.forgotten.max(revision.min(self.revision));
        while self.history.front().is_some_and(|event| revision_of(event) <= self.forgotten) {
            self.history.pop_front();
        }
    }

    fn holds(&self, guard: &Guard) -> bool {
        match guard {
            Guard::Absent(key) => !self.values.contains_key(key),
            Guard::Unchanged(key, revision) => {
                self.values.get(key).is_some_and(|kept| kept.modified == *revision)
            }
        }
    }

    fn commit(&mut self, guards: &[Guard], writes: &[Write]) -> Result<Commit, CoordError> {
        let lease_gone = |write: &Write| match write {
            Write::Put { lease: Some(lease), .. } => !self.leases.contains_key(lease),
            Write::Put { .. } | Write::Delete { .. } => false,
        };
        if !guards.iter().all(|guard| self.holds(guard)) {
            return Ok(Commit::Conflict);
        }
        if writes.iter().any(lease_gone) {
            return Err(CoordError::LeaseGone);
        }
        let changes = |write: &Write| match write {
            Write::Put { .. } => true,
            Write::Delete { key } => self.values.contains_key(key),
        };
        if writes.iter().any(changes) {
            self.revision += 1;
        }
        for write in writes {
            match write {
                Write::Put { key, value, lease } => self.put(key, value, *lease),
                Write::Delete { key } => self.remove(key.clone()),
            }
        }
        Ok(Commit::Done(Revision(self.revision)))
    }

    fn found(&self, prefix: &str) -> Vec<Versioned> {
        let from = self.values.range(prefix.to_owned()..);
        let below = from.take_while(|(key, _)| key.starts_with(prefix));
        below.map(|(key, kept)| versioned(key, kept)).collect()
    }
}

fn versioned(key: &str, kept: &Kept) -> Versioned {
    Versioned { key: key.to_owned(), value: kept.value.clone(), modified: kept.modified }
}

fn revision_of(event: &Event) -> i64 {
    match event {
        Event::Put(put) => put.modified.0,
        Event::Delete { at, .. } => at.0,
    }
}

fn key_of(event: &Event) -> &str {
    match event {
        Event::Put(put) => &put.key,
        Event::Delete { key, .. } => key,
    }
}

#[async_trait]
impl Coord for MemoryCoord {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, CoordError> {
        self.with(|state, _| Ok(state.values.get(key).map(|kept| versioned(key, kept))))
    }

    async fn list(&self, prefix: &str) -> Result<(Vec<Versioned>, Revision), CoordError> {
        self.with(|state, _| Ok((state.found(prefix), Revision(state.revision))))
    }

    async fn commit(&self, guards: &[Guard], writes: &[Write]) -> Result<Commit, CoordError> {
        self.with(|state, _| state.commit(guards, writes))
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, CoordError> {
        self.with(|state, now| {
            state.last_lease += 1;
            let id = LeaseId(state.last_lease);
            state.leases.insert(id, Lease { ttl, ends: now + ttl });
            Ok(id)
        })
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), CoordError> {
        self.with(|state, now| {
            let lease = state.leases.get_mut(&lease).ok_or(CoordError::LeaseGone)?;
            lease.ends = now + lease.ttl;
            Ok(())
        })
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), CoordError> {
        self.with(|state, _| {
            if !state.leases.contains_key(&lease) {
                return Err(CoordError::LeaseGone);
            }
            state.end(lease);
            Ok(())
        })
    }

    async fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Event, CoordError>>, CoordError> {
        self.with(|_, _| Ok(()))?;
        let watcher = Watcher {
            coord: self.clone(),
            prefix: prefix.to_owned(),
            seen: after.0,
            news: self.shared.news.subscribe(),
        };
        Ok(stream::unfold(Some(watcher), Watcher::step).flat_map(stream::iter).boxed())
    }
}

struct Watcher {
    coord: MemoryCoord,
    prefix: String,
    seen: i64,
    news: watch::Receiver<i64>,
}

type Batch = Vec<Result<Event, CoordError>>;

impl Watcher {
    /// What happened next, and the watcher, unless it broke.
    async fn step(this: Option<Self>) -> Option<(Batch, Option<Self>)> {
        let mut this = this?;
        loop {
            this.news.borrow_and_update();
            match this.look() {
                Ok((events, _)) if !events.is_empty() => {
                    return Some((events.into_iter().map(Ok).collect(), Some(this)));
                }
                Ok((_, due)) => this.wait(due).await,
                Err(error) => return Some((vec![Err(error)], None)),
            }
        }
    }

    fn look(&mut self) -> Result<(Vec<Event>, Option<Duration>), CoordError> {
        let coord = self.coord.clone();
        coord.with(|state, now| {
            if self.seen < state.forgotten {
                return Err(CoordError::Compacted);
            }
            let new = state.history.iter().filter(|event| revision_of(event) > self.seen);
            let ours = new.filter(|event| key_of(event).starts_with(&self.prefix));
            let events = ours.cloned().collect();
            self.seen = self.seen.max(state.revision);
            Ok((events, state.leases.values().map(|lease| lease.ends.saturating_sub(now)).min()))
        })
    }

    /// Until something changed, or a lease may have ended.
    async fn wait(&mut self, due: Option<Duration>) {
        let due = async {
            match due {
                Some(due) => tokio::time::sleep(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.news.changed() => {}
            () = due => {}
        }
    }
}

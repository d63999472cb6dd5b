//! What happens when: virtual time jumps from one event to the next.

use std::collections::BTreeMap;

/// Events in order of time; those of one time in the order in which they were put here.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    now: u64,
    count: u64,
    events: BTreeMap<(u64, u64), E>,
}

impl<E> Agenda<E> {
    pub(crate) fn new() -> Self {
        Self { now: 0, count: 0, events: BTreeMap::new() }
    }

    /// Microseconds since the beginning.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    pub(crate) fn after(&mut self, us: u64, event: E) {
        self.at(self.now + us, event);
    }

    pub(crate) fn at(&mut self, at: u64, event: E) {
        self.count += 1;
        self.events.insert((at.max(self.now), self.count), event);
    }

    /// The next event, unless it lies behind `end`.
    pub(crate) fn next(&mut self, end: u64) -> Option<E> {
        let entry = self.events.first_entry()?;
        if entry.key().0 > end {
            return None;
        }
        let ((at, _), event) = entry.remove_entry();
        self.now = at;
        Some(event)
    }

    /// How many events there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

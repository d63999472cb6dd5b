//! The ledger of groups: every message that was accepted has one place in its group, the same for every
//! member, and reaches each of them once, in the order of the places, none of which is skipped.
//!
//! No clock, no network: times are arguments, in microseconds since the run began. A *writer* is one
//! member who writes to one group; its messages are numbered 0, 1, 2, ... as they were sent. A *reader*
//! is one member who is there. The members of a group are numbered alike as writers and as readers.

use std::collections::{BTreeMap, VecDeque};

use super::super::latency::Latencies;

const ACCEPTED: u8 = 1;
const REFUSED: u8 = 2;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::soak) struct GroupLedger {
    groups: Vec<Book>,
    counts: GroupCounts,
    e2e: Latencies,
}

/// What happened so often.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::soak) struct GroupCounts {
    /// Given to the clients.
    pub(in crate::soak) messages: u64,
    /// Acknowledged as accepted.
    pub(in crate::soak) acked: u64,
    /// Refused for good, by the sender's shard or later by the group.
    pub(in crate::soak) refused: u64,
    /// Without an answer.
    pub(in crate::soak) undecided: u64,
    /// Arrived at a member, each counted once.
    pub(in crate::soak) deliveries: u64,
    /// Accepted, and not with a member that it should have reached.
    pub(in crate::soak) lost: u64,
    /// Arrived at a member again, or stands at a second place.
    pub(in crate::soak) duplicated: u64,
    /// Arrived behind a later place, or at another place than at another member.
    pub(in crate::soak) reordered: u64,
    /// Times that a member saw places skipped.
    pub(in crate::soak) gaps: u64,
    /// Arrived though never sent, or refused; or an answer to nothing.
    pub(in crate::soak) unexpected: u64,
}

#[derive(Debug, Default)]
struct Book {
    writers: Vec<Writer>,
    readers: Vec<Reader>,
    /// What stands at each place: a message, or a change.
    places: BTreeMap<u64, Option<(usize, u64)>>,
}

#[derive(Debug, Default)]
struct Writer {
    known: Vec<u8>,
    /// When each was due.
    due: Vec<u64>,
    /// At which place each stands; 0 while nobody saw it.
    placed: Vec<u64>,
    /// Those without an answer.
    waiting: VecDeque<u64>,
}

#[derive(Debug, Default)]
struct Reader {
    /// The place at which it began.
    first: u64,
    /// The highest place that it saw.
    last: u64,
    /// Which of the places behind the first it saw, by bits.
    seen: Vec<u64>,
}

impl Reader {
    /// Marks a place as seen. Answers whether it was before.
    fn see(&mut self, place: u64) -> bool {
        let at = place.saturating_sub(self.first);
        let (word, bit) = (usize::try_from(at / 64).unwrap_or(usize::MAX), 1 << (at % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let before = self.seen[word] & bit != 0;
        self.seen[word] |= bit;
        before
    }

    fn has_seen(&self, place: u64) -> bool {
        if self.first == 0 || place < self.first {
            return false;
        }
        let at = place - self.first;
        let word = usize::try_from(at / 64).unwrap_or(usize::MAX);
        self.seen.get(word).is_some_and(|bits| bits & (1 << (at % 64)) != 0)
    }
}

impl GroupLedger {
    /// For so many groups, each with so many members who are there.
    pub(in crate::soak) fn new(groups: usize, members: usize) -> Self {
        let book = || Book {
            writers: (0..members).map(|_| Writer::default()).collect(),
            readers: (0..members).map(|_| Reader::default()).collect(),
            places: BTreeMap::new(),
        };
        Self { groups: (0..groups).map(|_| book()).collect(), ..Self::default() }
    }

    fn writer(&mut self, group: usize, member: usize) -> Option<&mut Writer> {
        self.groups.get_mut(group)?.writers.get_mut(member)
    }

    /// The number that the next message of a member has.
    pub(in crate::soak) fn next_number(&self, group: usize, member: usize) -> u64 {
        let writer = self.groups.get(group).and_then(|book| book.writers.get(member));
        writer.map_or(0, |writer| writer.known.len() as u64)
    }

    /// A message was given to the client; it was due at `due`.
    pub(in crate::soak) fn submitted(&mut self, group: usize, member: usize, due: u64) {
        if let Some(writer) = self.writer(group, member) {
            writer.waiting.push_back(writer.known.len() as u64);
            writer.known.push(0);
            writer.due.push(due);
            writer.placed.push(0);
            self.counts.messages += 1;
        }
    }

    /// A message was accepted, or refused for good by the sender's shard.
    pub(in crate::soak) fn decided(
        &mut self,
        group: usize,
        member: usize,
        number: u64,
        accepted: bool,
    ) {
        let expected = self.writer(group, member).and_then(|writer| {
            let is_next = writer.waiting.front() == Some(&number);
            if is_next { writer.waiting.pop_front() } else { None }
        });
        let Some(index) = expected.and_then(|number| usize::try_from(number).ok()) else {
            self.counts.unexpected += 1;
            return;
        };
        if let Some(writer) = self.writer(group, member) {
            writer.known[index] |= if accepted { ACCEPTED } else { REFUSED };
        }
        match accepted {
            true => self.counts.acked += 1,
            false => self.counts.refused += 1,
        }
    }

    /// The group refused a message after it had been accepted.
    pub(in crate::soak) fn noticed(&mut self, group: usize, member: usize, number: u64) {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let known = self.writer(group, member).and_then(|writer| writer.known.get_mut(index));
        match known {
            Some(known) if *known & REFUSED == 0 => {
                *known |= REFUSED;
                self.counts.refused += 1;
            }
            Some(_) => {}
            None => self.counts.unexpected += 1,
        }
    }

    /// A member saw a change of the group at a place.
    pub(in crate::soak) fn changed(&mut self, group: usize, reader: usize, place: u64) {
        self.placed(group, reader, place, None);
    }

    /// A member saw a message at a place: whose, and which number.
    pub(in crate::soak) fn delivered(
        &mut self,
        group: usize,
        reader: usize,
        place: u64,
        (member, number): (usize, u64),
        now: u64,
    ) {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let found = self.writer(group, member).and_then(|writer| {
            let refused = *writer.known.get(index)? & REFUSED != 0;
            Some((writer.due[index], refused))
        });
        let Some((due, false)) = found else {
            self.counts.unexpected += 1;
            return;
        };
        if self.placed(group, reader, place, Some((member, number))) {
            self.counts.deliveries += 1;
            self.e2e.record(now.saturating_sub(due));
        }
    }

    /// Something arrived that nobody sent.
    pub(in crate::soak) fn strayed(&mut self) {
        self.counts.unexpected += 1;
    }

    /// Answers whether the reader did not see this place before.
    fn placed(
        &mut self,
        group: usize,
        reader: usize,
        place: u64,
        what: Option<(usize, u64)>,
    ) -> bool {
        let Some(book) = self.groups.get_mut(group) else { return false };
        let (writers, places) = (&mut book.writers, &mut book.places);
        let Some(reader) = book.readers.get_mut(reader) else { return false };
        if *places.entry(place).or_insert(what) != what {
            self.counts.reordered += 1;
        }
        if let Some((member, number)) = what
            && let Some(placed) = writers.get_mut(member).and_then(|writer| {
                writer.placed.get_mut(usize::try_from(number).unwrap_or(usize::MAX))
            })
        {
            if *placed != 0 && *placed != place {
                self.counts.duplicated += 1;
                return false;
            }
            *placed = place;
        }
        if reader.first == 0 {
            (reader.first, reader.last) = (place, place);
            reader.see(place);
            return true;
        }
        if place < reader.first || reader.has_seen(place) {
            self.counts.duplicated += 1;
            return false;
        }
        if place < reader.last {
            self.counts.reordered += 1;
        } else if place > reader.last + 1 {
            self.counts.gaps += 1;
        }
        reader.last = reader.last.max(place);
        !reader.see(place)
    }

    /// The highest place of a group that a member saw.
    pub(in crate::soak) fn seen(&self, group: usize, reader: usize) -> u64 {
        let reader = self.groups.get(group).and_then(|book| book.readers.get(reader));
        reader.map_or(0, |reader| reader.last)
    }

    /// How many deliveries there are when everything has arrived that was accepted.
    fn expected(&self) -> u64 {
        let of = |book: &Book| {
            let known = book.writers.iter().flat_map(|writer| &writer.known);
            known.filter(|known| **known == ACCEPTED).count() as u64 * book.readers.len() as u64
        };
        self.groups.iter().map(of).sum()
    }

    /// Whether everything that was sent has an answer and, where accepted, arrived everywhere.
    pub(in crate::soak) fn is_settled(&self) -> bool {
        let waiting = |book: &Book| book.writers.iter().any(|writer| !writer.waiting.is_empty());
        !self.groups.iter().any(waiting) && self.counts.deliveries >= self.expected()
    }

    /// How often what happened; what is lost is only known once nothing more comes.
    pub(in crate::soak) fn counts(&self) -> GroupCounts {
        self.counts
    }

    /// Closes the ledger: nothing more comes.
    pub(in crate::soak) fn close(mut self) -> (GroupCounts, Latencies) {
        for book in &self.groups {
            for writer in &book.writers {
                self.counts.undecided += writer.waiting.len() as u64;
                for (known, place) in writer.known.iter().zip(&writer.placed) {
                    if *known == ACCEPTED {
                        let missing = book.readers.iter().filter(|reader| !reader.has_seen(*place));
                        self.counts.lost += missing.count() as u64;
                    }
                }
            }
        }
        (self.counts, self.e2e)
    }
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;

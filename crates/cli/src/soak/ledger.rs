//! The ledger: what was sent, what the server said of it, what arrived, and whether that fits together.
//!
//! No clock, no network: times are arguments, in microseconds since the run began. A *direction* is one
//! member of a pair writing to the other; its messages are numbered 0, 1, 2, ... as they were sent.

use std::collections::VecDeque;

use super::latency::Latencies;

/// Answers of a direction that come so close together are one: they came in one frame.
const TOGETHER_US: u64 = 1_000;
/// Longer waits for an ack are interruptions, told of apart from the rest.
pub const INTERRUPTION_US: u64 = 100_000;

const ACCEPTED: u8 = 1;
const REFUSED: u8 = 2;
const DELIVERED: u8 = 4;
const NOTICED: u8 = 8;

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    directions: Vec<Direction>,
    counts: Counts,
    latencies: Measured,
    /// Waits since [`Ledger::take_recent_acks`].
    recent: Latencies,
}

/// The latencies of a run.
#[derive(Debug, Default, Clone)]
pub struct Measured {
    /// From when a message was due to its ack.
    pub ack: Latencies,
    /// From when a message was due to its arrival.
    pub e2e: Latencies,
    /// Intervals in which a direction had something unanswered and heard no ack.
    pub gap: Latencies,
    /// Those of them above [`INTERRUPTION_US`].
    pub interruption: Latencies,
    /// Those in which the server said "again later", as when an owner dies or changes.
    pub outage: Latencies,
}

/// What happened so often.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Given to the client.
    pub submitted: u64,
    /// Acknowledged as accepted.
    pub acked: u64,
    /// Refused for good by the sender's shard.
    pub refused: u64,
    /// Without answer.
    pub undecided: u64,
    /// Arrived, each counted once.
    pub delivered: u64,
    /// Accepted, and refused later by the destination, with a notice.
    pub noticed: u64,
    /// Accepted, never arrived, and no notice came.
    pub lost: u64,
    /// Arrived again.
    pub duplicated: u64,
    /// Arrived after one that was sent later.
    pub reordered: u64,
    /// Arrived though never sent, refused, or at the wrong place.
    pub unexpected: u64,
    /// Answers to what was never sent or was answered before.
    pub misanswered: u64,
}

#[derive(Debug, Default)]
struct Direction {
    /// What is known of each message.
    known: Vec<u8>,
    /// When those were due that have no answer, the oldest first.
    due: VecDeque<u64>,
    /// When the last answer came.
    answered_at: u64,
    /// It was told to try again since then.
    put_off: bool,
    /// The highest number that arrived, and one more.
    arrived: usize,
}

impl Direction {
    /// The number of the oldest message without an answer.
    fn unanswered(&self) -> usize {
        self.known.len() - self.due.len()
    }
}

impl Ledger {
    /// For so many directions.
    pub fn new(directions: usize) -> Self {
        let directions = (0..directions).map(|_| Direction::default()).collect();
        Self { directions, ..Self::default() }
    }

    /// The number that the next message of a direction has.
    pub fn next_number(&self, direction: usize) -> u64 {
        self.directions.get(direction).map_or(0, |direction| direction.known.len() as u64)
    }

    /// A message was given to the client; it was due at `due`.
    pub fn submitted(&mut self, direction: usize, due: u64) {
        if let Some(direction) = self.directions.get_mut(direction) {
            direction.known.push(0);
            direction.due.push_back(due);
            self.counts.submitted += 1;
        }
    }

    /// The oldest message without an answer is to be sent again later.
    pub fn put_off(&mut self, direction: usize) {
        if let Some(direction) = self.directions.get_mut(direction) {
            direction.put_off = true;
        }
    }

    /// A message was accepted, or refused for good.
    pub fn decided(&mut self, direction: usize, number: u64, accepted: bool, now: u64) {
        let Some(direction) = self.directions.get_mut(direction) else {
            self.counts.misanswered += 1;
            return;
        };
        // Answers come in the order of the sends.
        if number != direction.unanswered() as u64 {
            self.counts.misanswered += 1;
            return;
        }
        let (index, Some(due)) = (direction.unanswered(), direction.due.pop_front()) else {
            self.counts.misanswered += 1;
            return;
        };
        direction.known[index] |= if accepted { ACCEPTED } else { REFUSED };
        if accepted {
            self.counts.acked += 1;
            self.latencies.ack.record(now.saturating_sub(due));
            self.recent.record(now.saturating_sub(due));
        } else {
            self.counts.refused += 1;
        }
        let answered_at = std::mem::replace(&mut direction.answered_at, now);
        let put_off = std::mem::take(&mut direction.put_off);
        let together = answered_at > 0 && now.saturating_sub(answered_at) < TOGETHER_US;
        if !(together && due <= answered_at) {
            self.gap(due.max(answered_at), now, put_off);
        }
    }

    fn gap(&mut self, from: u64, to: u64, put_off: bool) {
        let gap = to.saturating_sub(from);
        self.latencies.gap.record(gap);
        if put_off {
            self.latencies.outage.record(gap);
        }
        if gap >= INTERRUPTION_US {
            self.latencies.interruption.record(gap);
        }
    }

    /// A message arrived that was due at `due`; without it, how long it took does not count.
    pub fn delivered(&mut self, direction: usize, number: u64, due: Option<u64>, now: u64) {
        let found = self.directions.get_mut(direction);
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let Some((direction, known)) = found
            .and_then(|d| d.known.get(index).copied().map(|known| (d, known)))
            .filter(|(_, known)| known & REFUSED == 0)
        else {
            self.counts.unexpected += 1;
            return;
        };
        if known & DELIVERED != 0 {
            self.counts.duplicated += 1;
            return;
        }
        direction.known[index] |= DELIVERED;
        self.counts.delivered += 1;
        if index < direction.arrived {
            self.counts.reordered += 1;
        }
        direction.arrived = direction.arrived.max(index + 1);
        if let Some(due) = due {
            self.latencies.e2e.record(now.saturating_sub(due));
        }
    }

    /// The destination refused a message after it had been accepted.
    pub fn noticed(&mut self, direction: usize, number: u64) {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let found = self.directions.get_mut(direction).and_then(|d| d.known.get_mut(index));
        match found {
            Some(known) if *known & NOTICED == 0 => {
                *known |= NOTICED;
                self.counts.noticed += 1;
            }
            Some(_) => {}
            None => self.counts.unexpected += 1,
        }
    }

    /// Something arrived that nobody sent.
    pub fn strayed(&mut self) {
        self.counts.unexpected += 1;
    }

    /// Whether everything that was sent has an answer and, where accepted, arrived.
    pub fn is_settled(&self) -> bool {
        let Counts { submitted, acked, refused, delivered, noticed, .. } = self.counts;
        // Unlike the exact judgement at the end this is asked often: sums are enough.
        submitted == acked + refused && delivered + noticed >= acked
    }

    /// How often what happened; what is lost is only known once nothing more comes.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The latencies so far.
    pub fn latencies(&self) -> &Measured {
        &self.latencies
    }

    /// The ack latencies since this was last asked.
    pub fn take_recent_acks(&mut self) -> Latencies {
        std::mem::take(&mut self.recent)
    }

    /// Closes the ledger: nothing more comes. What is still unanswered has waited until now.
    pub fn close(mut self, now: u64) -> (Counts, Measured) {
        for n in 0..self.directions.len() {
            let direction = &self.directions[n];
            self.counts.undecided += direction.due.len() as u64;
            let missing = |known: &&u8| **known & (ACCEPTED | DELIVERED | NOTICED) == ACCEPTED;
            self.counts.lost += direction.known.iter().filter(missing).count() as u64;
            if let Some(due) = direction.due.front() {
                self.gap((*due).max(direction.answered_at), now, direction.put_off);
            }
        }
        (self.counts, self.latencies)
    }
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;

//! How long a lane gathers entries before it writes a block.
//!
//! A block costs the store the same whether it holds one entry or a hundred. With nothing else
//! waiting a block is formed at once; under load blocks begin a few commits apart, so that the rows
//! for each message fall with the load, and the store has time for everything else.

use crate::clock::MonoUs;

/// A lane never waits longer than this, whatever the store's latency.
const PACE_US_MAX: u64 = 10_000;
/// Under load blocks begin so many commits apart.
const PACE_COMMITS: u64 = 3;
/// Below this many entries a second and session, two for each message, a lane does not wait at all; from twice as many on it
/// waits for all of its pace.
const QUIET_ENTRIES_PER_S: u64 = 500;
/// The weight of one observation in the moving averages: 1/16.
const SMOOTHING_SHIFT: u32 = 4;

/// Moving averages of one lane. See the module.
#[derive(Debug)]
pub struct Pacer {
    lanes: u64,
    last_formed: MonoUs,
    /// From forming a block to its release, averaged.
    commit_us: u64,
    /// Between entries, averaged.
    gap_us: u64,
}

impl Pacer {
    pub(super) fn new(lanes: u8) -> Self {
        Self {
            lanes: u64::from(lanes.max(1)),
            last_formed: MonoUs(0),
            commit_us: 0,
            gap_us: 1_000_000,
        }
    }

    /// When the open block may be formed.
    pub(super) fn due(&self) -> MonoUs {
        MonoUs(self.last_formed.0 + self.pace_us())
    }

    /// How long the lane gathers now.
    pub fn pace_us(&self) -> u64 {
        let entries_per_s = 1_000_000 * self.lanes / self.gap_us.max(1);
        let pace = (self.commit_us * PACE_COMMITS).min(PACE_US_MAX);
        let busy = entries_per_s.saturating_sub(QUIET_ENTRIES_PER_S).min(QUIET_ENTRIES_PER_S);
        pace * busy / QUIET_ENTRIES_PER_S
    }

    pub(super) fn formed(&mut self, now: MonoUs, entries: usize) {
        let entries = u64::try_from(entries.max(1)).unwrap_or(u64::MAX);
        let gap = now.us_since(self.last_formed) / entries;
        self.gap_us = average(self.gap_us, gap.min(1_000_000));
        self.last_formed = now;
    }

    pub(super) fn committed(&mut self, took_us: u64) {
        self.commit_us = average(self.commit_us, took_us);
    }
}

fn average(before: u64, observed: u64) -> u64 {
    before - (before >> SMOOTHING_SHIFT) + (observed >> SMOOTHING_SHIFT)
}

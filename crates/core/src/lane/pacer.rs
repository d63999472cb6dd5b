//! How long a lane gathers entries before it writes a block.
//!
//! A block costs the store the same whether it holds one entry or a hundred. With nothing else
//! waiting a block is formed at once; under load blocks begin a few commits apart, so that the rows
//! for each message fall with the load, and the store has time for everything else.

use crate::clock::MonoUs;

/// Under load a lane never waits longer than this, whatever the store's latency.
const PACE_US_MAX: u64 = 10_000;
/// Under load blocks begin so many commits apart.
const PACE_COMMITS: u64 = 3;
/// Up to this many entries a second and session, two for each message, a lane does not wait at all.
const QUIET_ENTRIES_PER_S: u64 = 750;
/// So many more, and it waits for all of its pace; in between for a part of it.
const RAMP_ENTRIES_PER_S: u64 = 500;
/// Above this a commit says that the store, or the machine that it shares, is short of time.
const COMMIT_US_EASY: u64 = 3_000;
/// Blocks then begin so many times what is above that apart, whatever the load.
const RELIEF: u64 = 2;
/// And never further than this.
const RELIEF_US_MAX: u64 = 25_000;
/// What a pause counts at most: a lane that was idle follows a load within a dozen blocks.
const INTERVAL_US_MAX: u64 = 100_000;
/// How much each block fades those before it: by 1/16.
const SMOOTHING_SHIFT: u32 = 4;

/// Moving averages of one lane. See the module.
#[derive(Debug)]
pub struct Pacer {
    lanes: u64,
    last_formed: MonoUs,
    /// From forming a block to its release, averaged.
    commit_us: u64,
    /// Entries of late and the time they came in, both fading with each block. Their quotient is the
    /// rate even when entries come in bursts; of the gaps between entries, block by block, the many
    /// small blocks would make an average that says silence.
    milli_entries: u64,
    entries_us: u64,
}

impl Pacer {
    pub(super) fn new(lanes: u8) -> Self {
        Self {
            lanes: u64::from(lanes.max(1)),
            last_formed: MonoUs(0),
            commit_us: 0,
            milli_entries: 0,
            entries_us: INTERVAL_US_MAX,
        }
    }

    /// When the open block may be formed.
    pub(super) fn due(&self) -> MonoUs {
        MonoUs(self.last_formed.0 + self.pace_us())
    }

    /// How long the lane gathers now.
    pub fn pace_us(&self) -> u64 {
        let entries_per_s = 1_000 * self.lanes * self.milli_entries / self.entries_us.max(1);
        let pace = (self.commit_us * PACE_COMMITS).min(PACE_US_MAX);
        let busy = entries_per_s.saturating_sub(QUIET_ENTRIES_PER_S).min(RAMP_ENTRIES_PER_S);
        // A store that is slow because it has too much to do gets fewer blocks, and is quicker for it.
        let relief = self.commit_us.saturating_sub(COMMIT_US_EASY) * RELIEF;
        (pace * busy / RAMP_ENTRIES_PER_S).max(relief.min(RELIEF_US_MAX))
    }

    pub(super) fn formed(&mut self, now: MonoUs, entries: usize) {
        let entries = u64::try_from(entries).expect("a block is bounded");
        self.milli_entries = faded(self.milli_entries) + 1_000 * entries;
        self.entries_us =
            faded(self.entries_us) + now.us_since(self.last_formed).min(INTERVAL_US_MAX);
        self.last_formed = now;
    }

    pub(super) fn committed(&mut self, took_us: u64) {
        self.commit_us = faded(self.commit_us) + (took_us >> SMOOTHING_SHIFT);
    }
}

fn faded(sum: u64) -> u64 {
    sum - (sum >> SMOOTHING_SHIFT)
}

//! Time as a value: wall clock for people, hybrid clocks for order, logical timestamps for rows.

use std::fmt;

use crate::seq::{Epoch, HomeGen, ShardSeq};

/// Wall-clock milliseconds since 1970; never compared between machines for safety.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallMs(pub u64);

/// Microseconds of a monotonic clock that counts suspension; only differences mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MonoUs(pub u64);

impl MonoUs {
    /// Microseconds since `earlier`; 0 if it is later.
    pub const fn us_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole milliseconds since `earlier`; 0 if it is later.
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.us_since(earlier) / 1000
    }
}

/// What a step is told of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For clocks that people and other shards see.
    pub wall: WallMs,
    /// For durations.
    pub mono: MonoUs,
}

/// A hybrid logical clock: wall milliseconds in the upper 48 bits, a counter in the lower 16.
///
/// After Kulkarni et al., "Logical Physical Clocks" (2014): close to the wall clock, never behind
/// anything that was seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The least clock at a wall time.
    pub const fn at(wall: WallMs) -> Self {
        Self(wall.0 << 16)
    }

    /// A clock above `self` and not behind the wall.
    #[must_use]
    pub fn tick(self, wall: WallMs) -> Self {
        Self::at(wall).max(Self(self.0 + 1))
    }

    /// A clock not behind `seen`.
    #[must_use]
    pub fn merge(self, seen: Self) -> Self {
        self.max(seen)
    }

    /// The wall part.
    pub const fn wall(self) -> WallMs {
        WallMs(self.0 >> 16)
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 16, self.0 & 0xffff)
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The write timestamp of every derived row: home generation (7 bits), epoch (20), position (36).
///
/// It orders rows by what they reflect, so that a late write of a deposed owner always loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogicalTimestamp(i64);

impl LogicalTimestamp {
    /// Positions above this are refused: 2^36 - 1, two years at 1,000 entries a second in one shard.
    pub const POS_MAX: u64 = (1 << 36) - 1;
    /// Epochs above this are refused.
    pub const EPOCH_MAX: u32 = (1 << 20) - 1;
    /// Home generations above this are refused.
    pub const HOME_GEN_MAX: u8 = (1 << 7) - 1;

    /// The timestamp of a row that reflects the log of `epoch` up to and with `pos`.
    ///
    /// # Panics
    /// When a part is above its maximum: the owner stops admitting long before.
    pub fn new(home_gen: HomeGen, epoch: Epoch, pos: ShardSeq) -> Self {
        assert!(home_gen.0 <= Self::HOME_GEN_MAX, "home generation past its 7 bits");
        assert!(epoch.0 <= Self::EPOCH_MAX, "epoch past its 20 bits");
        assert!(pos.0 <= Self::POS_MAX, "shard position past its 36 bits");
        let bits = (u64::from(home_gen.0) << 56) | (u64::from(epoch.0) << 36) | pos.0;
        Self(i64::try_from(bits).expect("63 bits"))
    }

    /// The home generation in it.
    pub fn home_gen(self) -> HomeGen {
        HomeGen(u8::try_from(self.0 >> 56).expect("7 bits of a positive number"))
    }

    /// As Cassandra takes it.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// A timestamp as it was stored.
    pub const fn from_stored(timestamp: i64) -> Self {
        Self(timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_never_goes_back() {
        let early = Hlc::default().tick(WallMs(1000));
        assert_eq!(early, Hlc::at(WallMs(1000)));
        let stepped_back = early.tick(WallMs(900));
        assert!(stepped_back > early);
        assert_eq!(stepped_back.wall(), WallMs(1000));
        assert!(early.merge(Hlc::at(WallMs(2000))).tick(WallMs(0)) > Hlc::at(WallMs(2000)));
    }

    #[test]
    fn timestamps_order_by_home_then_epoch_then_position() {
        let at =
            |home, epoch, pos| LogicalTimestamp::new(HomeGen(home), Epoch(epoch), ShardSeq(pos));
        assert!(at(0, 1, LogicalTimestamp::POS_MAX) < at(0, 2, 0));
        assert!(at(0, LogicalTimestamp::EPOCH_MAX, 5) < at(1, 1, 0));
        assert!(at(3, 7, 8) < at(3, 7, 9));
        let last = at(127, LogicalTimestamp::EPOCH_MAX, LogicalTimestamp::POS_MAX);
        assert!(last.get() > 0);
        assert_eq!((last.home_gen(), at(3, 7, 8).home_gen()), (HomeGen(127), HomeGen(3)));
    }
}

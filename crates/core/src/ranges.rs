//! Shards as ranges, and the rule that a map covers every shard once.

use std::fmt;

use crate::id::{ShardCount, ShardId};

/// Neighbouring shards, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardRange {
    /// The lowest.
    pub first: ShardId,
    /// The highest.
    pub last: ShardId,
}

impl ShardRange {
    /// How many shards it has.
    pub fn len(self) -> u32 {
        u32::from(self.last.get()) - u32::from(self.first.get()) + 1
    }

    /// A range always has a shard.
    pub const fn is_empty(self) -> bool {
        false
    }

    /// Its shards, ascending.
    pub fn shards(self) -> impl Iterator<Item = ShardId> {
        (self.first.get()..=self.last.get()).map(ShardId::new)
    }
}

impl fmt::Display for ShardRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// The fewest ranges that hold exactly `shards`, ascending.
pub fn ranges_of(shards: impl IntoIterator<Item = ShardId>) -> Vec<ShardRange> {
    let mut sorted: Vec<_> = shards.into_iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut ranges: Vec<ShardRange> = Vec::new();
    for shard in sorted {
        match ranges.last_mut() {
            Some(range) if range.last.get() + 1 == shard.get() => range.last = shard,
            _ => ranges.push(ShardRange { first: shard, last: shard }),
        }
    }
    ranges
}

/// What is wrong with a map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoverageError {
    /// Nobody has it.
    #[error("shard {0} has no owner")]
    Hole(ShardId),
    /// Two have it.
    #[error("shard {0} has two owners")]
    Overlap(ShardId),
    /// It does not exist.
    #[error("shard {0} is not one of this cluster")]
    Foreign(ShardId),
}

/// Whether `ranges` cover every shard of a cluster exactly once. Runs in O(n log n).
pub fn check_coverage(count: ShardCount, ranges: &[ShardRange]) -> Result<(), CoverageError> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut next: u32 = 0;
    for range in sorted {
        let (first, last) = (u32::from(range.first), u32::from(range.last));
        let hole = u16::try_from(next).map(ShardId::new);
        match first.cmp(&next) {
            std::cmp::Ordering::Less => return Err(CoverageError::Overlap(range.first)),
            std::cmp::Ordering::Greater => {
                return Err(CoverageError::Hole(hole.unwrap_or(range.first)));
            }
            std::cmp::Ordering::Equal => {}
        }
        if last >= count.get() {
            return Err(CoverageError::Foreign(range.last));
        }
        next = last + 1;
    }
    match u16::try_from(next) {
        Ok(missing) if next < count.get() => Err(CoverageError::Hole(ShardId::new(missing))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16) -> ShardRange {
        ShardRange { first: ShardId::new(first), last: ShardId::new(last) }
    }

    #[test]
    fn ranges_are_the_fewest() {
        let shards = [5, 1, 2, 3, 9, 8, 5].map(ShardId::new);
        let ranges = ranges_of(shards);
        assert_eq!(ranges, vec![range(1, 3), range(5, 5), range(8, 9)]);
        let text: Vec<_> = ranges.iter().map(ToString::to_string).collect();
        assert_eq!(text.join(","), "1-3,5,8-9");
        assert_eq!(ranges_of([u16::MAX - 1, u16::MAX].map(ShardId::new)).len(), 1);
    }

    #[test]
    fn a_map_with_a_hole_or_an_overlap_is_refused() {
        let count = ShardCount::new(16).unwrap();
        let hole = |shard| Err(CoverageError::Hole(ShardId::new(shard)));
        assert_eq!(check_coverage(count, &[range(8, 15), range(0, 7)]), Ok(()));
        assert_eq!(check_coverage(count, &[]), hole(0));
        assert_eq!(check_coverage(count, &[range(0, 7), range(9, 15)]), hole(8));
        assert_eq!(check_coverage(count, &[range(0, 7), range(8, 14)]), hole(15));
        let overlap = check_coverage(count, &[range(0, 8), range(8, 15)]);
        assert_eq!(overlap, Err(CoverageError::Overlap(ShardId::new(8))));
        let foreign = check_coverage(count, &[range(0, 16)]);
        assert_eq!(foreign, Err(CoverageError::Foreign(ShardId::new(16))));
        let all = ShardCount::new(65_536).unwrap();
        assert_eq!(check_coverage(all, &[range(0, u16::MAX)]), Ok(()));
    }
}

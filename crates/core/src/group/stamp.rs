//! When rows of a group's log are written.
//!
//! A place of a log holds one message for ever, whole or erased, and many shards write its row, some of
//! them again when they are recovered. Their positions say nothing about each other's, so there are two
//! timestamps, the same for every writer: an erasure wins over whole rows that come before and after it.
//! Places count anew in another home, whose rows win over those of the one before.

use crate::clock::LogicalTimestamp;
use crate::seq::{Epoch, HomeGen, ShardSeq};

const WHOLE: ShardSeq = ShardSeq(1);
const ERASED: ShardSeq = ShardSeq(2);

/// That of a whole message.
pub fn whole(home: HomeGen) -> LogicalTimestamp {
    LogicalTimestamp::new(home, Epoch(1), WHOLE)
}

/// That of an erased one.
pub fn erased(home: HomeGen) -> LogicalTimestamp {
    LogicalTimestamp::new(home, Epoch(1), ERASED)
}

/// Whether a row of this timestamp is that of an erased message.
pub fn is_erased(written: LogicalTimestamp) -> bool {
    written >= erased(written.home_gen())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erasure_is_newer_than_whatever_anybody_writes_at_its_place() {
        let (here, forced) = (HomeGen(0), HomeGen(LogicalTimestamp::HOME_GEN_MAX));
        for home in [here, forced] {
            assert!(whole(home) < erased(home));
            assert!(is_erased(erased(home)) && !is_erased(whole(home)));
        }
        assert!(whole(forced) > erased(here), "places count anew in another home");
    }
}

//! The replay of what was recovered of a shard. A panic in it stops that shard and nothing else: nobody
//! was served yet, and the state that it leaves half changed is dropped here.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use iris_core::entry::Entry;
use iris_core::id::ShardId;
use iris_core::seq::{Epoch, ShardSeq};
use iris_core::shard::{Recovered, Shard, ShardKey};

use super::super::panics;
use super::{AcquireError, Acquirer};

impl Acquirer {
    /// The shard, as its rows and the entries behind them make it.
    pub(super) fn replay(
        &self,
        key: ShardKey,
        recovered: Recovered,
    ) -> Result<Shard, AcquireError> {
        let now = self.clock.now().mono;
        let last = Cell::new(None);
        let note = |entry: &Entry| last.set(Some((entry.epoch, entry.seq)));
        let replay = || Shard::recover_noting(key, self.config.policy, now, recovered, note);
        match catch_unwind(AssertUnwindSafe(replay)) {
            Ok(replayed) => Ok(replayed?),
            Err(panic) => {
                let entry = last.get().map(|at| self.whereabouts(key.id, at));
                let entry = entry.unwrap_or_else(|| "its checkpoint".to_owned());
                let why = panics::words(&*panic);
                Err(AcquireError::Panicked { shard: key.id, entry, why })
            }
        }
    }

    /// An entry in words: where in the log it is, if it was read there.
    fn whereabouts(&self, shard: ShardId, (epoch, seq): (Epoch, ShardSeq)) -> String {
        let tails = self.tails.lock();
        let mut read = tails.values().filter_map(|tail| tail.get());
        let found = read.find_map(|tail| tail.whereabouts(shard, (epoch, seq)));
        let at = match found {
            Some((lane, block)) => format!("{lane}, block {block}"),
            None => "handed over".to_owned(),
        };
        format!("position {seq} of epoch {epoch} ({at})")
    }
}

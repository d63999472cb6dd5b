//! A planned move, at its source: the shard is emptied while it serves, then stopped, then emptied of
//! the rest. What is left to write while it is stopped is what came in during one flush.

use crate::clock::{MonoUs, Now};
use crate::id::ShardId;
use crate::mutation::{self, Mutation};
use crate::seq::ShardSeq;

use super::{Action, Drained, Engine};

/// How far a shard is from being ready for its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    /// Serving, while most of what changed is written.
    Emptying,
    /// Refusing sends, while the rest is written.
    Stopped { since: MonoUs, refused: u32 },
}

impl Engine {
    /// Begins to drain a shard; [`Action::Drained`] follows. Answers false when it is not served here.
    pub fn drain(&mut self, now: Now, shard: ShardId, out: &mut Vec<Action>) -> bool {
        let Some(served) = self.shards.get_mut(&shard) else { return false };
        served.drain.get_or_insert(Drain::Emptying);
        if served.captured.is_none() {
            self.capture(now, shard, false, out);
        }
        self.advance_drain(now, shard, out);
        true
    }

    /// Serves on: allowed only while no release of the shard was sent to the store.
    pub fn cancel_drain(&mut self, shard: ShardId) {
        if let Some(served) = self.shards.get_mut(&shard)
            && served.drain.take().is_some()
        {
            served.shard.set_admitting(true);
        }
    }

    pub(super) fn advance_drain(&mut self, now: Now, shard: ShardId, out: &mut Vec<Action>) {
        let Some(served) = self.shards.get_mut(&shard) else { return };
        if served.captured.is_some() || served.shard.is_flushing() {
            return;
        }
        match served.drain {
            None => {}
            Some(Drain::Emptying) => {
                served.shard.set_admitting(mutation::is_on(Mutation::N3));
                served.drain = Some(Drain::Stopped { since: now.mono, refused: 0 });
                self.capture(now, shard, true, out);
                self.finish_drain(now.mono, shard, out);
            }
            Some(Drain::Stopped { .. }) if served.shard.is_clean() => {
                self.finish_drain(now.mono, shard, out);
            }
            Some(Drain::Stopped { .. }) => self.capture(now, shard, true, out),
        }
    }

    /// Nothing is left that only memory or the log has: the shard can be released.
    fn finish_drain(&mut self, now: MonoUs, shard: ShardId, out: &mut Vec<Action>) {
        // Everything of the shard is released, so nothing of it is in a block that is not.
        let end_block = self.lane.released();
        let open = self.lane.holds_open(shard);
        let Some(served) = self.shards.get_mut(&shard) else { return };
        let ready = (served.shard.is_clean() && served.shard.is_settled() && !open)
            || mutation::is_on(Mutation::N1);
        if let Some(Drain::Stopped { since, refused }) = served.drain
            && ready
        {
            // Still refusing: only the claim of a later epoch may admit again.
            let refused = refused + served.shard.set_admitting(mutation::is_on(Mutation::N3));
            served.drain = Some(Drain::Stopped { since, refused });
            let last_seq: ShardSeq = served.shard.next_seq().prev();
            let stopped_us = now.us_since(since);
            let drained = Drained { shard, end_block, last_seq, refused, stopped_us };
            out.push(Action::Drained(drained));
        }
    }
}

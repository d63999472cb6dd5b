//! When derived rows are written, and what the blocks say about it.

use crate::clock::{MonoUs, Now};
use crate::id::ShardId;
use crate::limits;
use crate::seq::{BlockSeq, ShardSeq};
use crate::shard::Flush;

use super::{Action, Engine, Served};

impl Engine {
    /// The rows and the checkpoint of a shard's flush were written, or could not be.
    pub fn flushed(&mut self, now: Now, shard: ShardId, written: bool, out: &mut Vec<Action>) {
        let Some(served) = self.shards.get_mut(&shard) else { return };
        if written {
            served.shard.flushed();
            served.forget_clean_blocks();
        } else {
            served.shard.flush_failed();
        }
        self.advance_drain(now, shard, written, out);
    }

    /// Captures the flushes that are due.
    pub(super) fn start_flushes(&mut self, now: Now, out: &mut Vec<Action>) {
        let early = self.flush_interval_us.saturating_sub(limits::FLUSH_AWAITED_MS * 1000);
        let due = |served: &Served| {
            let awaited = served.shard.is_flush_awaited();
            let at =
                if awaited { served.flush_at.0.saturating_sub(early) } else { served.flush_at.0 };
            at <= now.mono.0 && served.captured.is_none() && served.drain.is_none()
        };
        let due: Vec<_> = self.shards.iter().filter(|(_, s)| due(s)).map(|(id, _)| *id).collect();
        for shard in due {
            self.capture(now, shard, false, out);
        }
    }

    pub(super) fn capture(
        &mut self,
        now: Now,
        shard: ShardId,
        everything: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(served) = self.shards.get_mut(&shard) else { return };
        served.flush_at = MonoUs(now.mono.0 + self.flush_interval_us);
        let mut effects = Vec::new();
        served.captured = served.shard.capture(now, everything, &mut effects);
        let written_up_to = served.captured.as_ref().map(|flush| flush.checkpoint);
        served.empties_up_to(written_up_to.unwrap_or(served.shard.next_seq().prev()));
        if served.captured.is_some() {
            self.captured.insert(shard);
        }
        self.work.extend(effects.into_iter().map(|effect| (shard, effect)));
        self.perform(now, out);
        self.hand_out_flush(shard, out);
    }

    /// Hands out the captured flushes whose positions are released.
    pub(super) fn hand_out_flushes(&mut self, out: &mut Vec<Action>) {
        let captured: Vec<_> = self.captured.iter().copied().collect();
        for shard in captured {
            self.hand_out_flush(shard, out);
        }
    }

    fn hand_out_flush(&mut self, shard: ShardId, out: &mut Vec<Action>) {
        let next = self.lane.next_block();
        let Some(served) = self.shards.get_mut(&shard) else { return };
        let ready = |flush: &mut Flush| served.shard.released() >= flush.after;
        if let Some(flush) = served.captured.take_if(ready) {
            self.captured.remove(&shard);
            let block = served.block_of(flush.checkpoint.next(), next);
            out.push(Action::Materialize { shard, flush, block });
        }
    }

    /// Blocks below this one hold nothing that only the log has.
    pub(super) fn materialized_below(&self) -> BlockSeq {
        let next = self.lane.next_block();
        let dirty = self
            .shards
            .values()
            .filter_map(|served| served.shard.dirty_from().map(|from| served.block_of(from, next)));
        let releasing = self.releasing.values().copied();
        dirty.chain(releasing).min().unwrap_or(next).min(next)
    }
}

impl Served {
    /// The block that holds `seq`, or, for a position that was not appended, the next one.
    pub(super) fn block_of(&self, seq: ShardSeq, next: BlockSeq) -> BlockSeq {
        if seq >= self.shard.next_seq() {
            return next;
        }
        let index = self.blocks.partition_point(|(first, _)| *first <= seq);
        index.checked_sub(1).and_then(|i| self.blocks.get(i)).map_or(self.first_block, |b| b.1)
    }

    fn forget_clean_blocks(&mut self) {
        let dirty_from = self.shard.dirty_from().unwrap_or(self.shard.next_seq());
        while self.blocks.get(1).is_some_and(|(first, _)| *first <= dirty_from) {
            self.blocks.pop_front();
        }
    }
}

//! A flush as the steps that a store is asked for.

use iris_core::id::ShardId;
use iris_core::seq::{BlockSeq, Epoch};
use iris_core::shard::{Erasure, Flush};

use crate::store::{Key, Stored, Value};

/// Rows on their way to the store, in the order that makes a crash harmless.
#[derive(Debug)]
pub(crate) struct FlushJob {
    pub(super) shard: ShardId,
    /// What is written next, and what after that.
    pub(super) steps: Vec<Vec<Stored>>,
    pub(super) step: usize,
    pub(super) tries: u32,
    /// Messages whose bodies leave the rows before the last step, and how many have.
    pub(super) erasures: Vec<Erasure>,
    pub(super) erased: usize,
}

impl FlushJob {
    pub(super) fn new(shard: ShardId, epoch: Epoch, flush: Flush, block: BlockSeq) -> Self {
        let mut first = Vec::new();
        for run in flush.inbox {
            let from = run.items.first().expect("a run is never empty").seq;
            let key = Key::Run(run.account, from);
            first.push(Stored::new(key, run.timestamp.get(), Value::Run(run.items.into())));
        }
        for row in flush.outbox {
            let key = Key::Item(shard, row.to, row.item.seq);
            first.push(Stored::new(key, row.timestamp.get(), Value::Item(row.item.into())));
        }
        for row in flush.index {
            let key = Key::Index(row.account, row.conversation, row.clock, row.place);
            first.push(Stored::new(key, row.timestamp.get(), Value::Index));
        }
        for row in flush.marks {
            let key = Key::Mark(row.account, row.with);
            first.push(Stored::new(key, 0, Value::Mark(row.mark)));
        }
        let mut second = Vec::new();
        for row in flush.accounts {
            let key = Key::Account(row.account);
            second.push(Stored::new(key, row.timestamp.get(), Value::Account(row.state.into())));
        }
        for row in flush.peers {
            let stamp = row.timestamp.get();
            second.push(Stored::new(Key::Peer(shard, row.peer), stamp, Value::Peer(row)));
            if row.forget_items {
                let key = Key::Forgotten(shard, row.peer);
                second.push(Stored::new(key, stamp, Value::Forgotten(row.out_confirmed)));
            }
        }
        let (pos, clock) = (flush.checkpoint, flush.clock);
        let value = Value::Checkpoint { epoch, pos, block, clock };
        let third = vec![Stored::new(Key::Checkpoint(shard), flush.timestamp.get(), value)];
        let steps = [first, second, third].into_iter().filter(|rows| !rows.is_empty()).collect();
        Self { shard, steps, step: 0, tries: 0, erasures: flush.erasures, erased: 0 }
    }
}

//! A flush as the steps that a store is asked for.

use iris_core::account::{InboxContent, InboxItem};
use iris_core::id::ShardId;
use iris_core::seq::{BlockSeq, Epoch};
use iris_core::shard::{Erasure, Flush, LogErasure};

use crate::store::{Key, Stored, Value};

/// A message whose body leaves rows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Erasing {
    Inbox(Erasure),
    Log(LogErasure),
}

/// Rows on their way to the store, in the order that makes a crash harmless.
#[derive(Debug)]
pub(crate) struct FlushJob {
    pub(super) shard: ShardId,
    /// What is written next, and what after that.
    pub(super) steps: Vec<Vec<Stored>>,
    pub(super) step: usize,
    pub(super) tries: u32,
    /// Messages whose bodies leave the rows before the last step, and how many have.
    pub(super) erasures: Vec<Erasing>,
    pub(super) erased: usize,
}

impl FlushJob {
    pub(super) fn new(shard: ShardId, epoch: Epoch, flush: Flush, block: BlockSeq) -> Self {
        let mut first = Vec::new();
        for row in flush.logs {
            let place = row.message.place().expect("a log holds what has a place").seq;
            let (key, stamp) = (Key::Log(row.group, place), row.timestamp.get());
            first.push(Stored::new(key, stamp, Value::Log(row.message)));
        }
        for run in flush.inbox {
            let from = run.items.first().expect("a run is never empty").seq;
            let key = Key::Run(run.account, from);
            let items: Vec<_> = run.items.into_iter().map(without_what_is_apart).collect();
            first.push(Stored::new(key, run.timestamp.get(), Value::Run(items.into())));
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
        for mut row in flush.accounts {
            let stamp = row.timestamp.get();
            let groups = std::mem::take(&mut row.state.groups);
            if row.memberships {
                let key = Key::Memberships(row.account);
                second.push(Stored::new(key, stamp, Value::Memberships(groups.into())));
            }
            let key = Key::Account(row.account);
            second.push(Stored::new(key, stamp, Value::Account(row.state.into())));
        }
        for row in flush.groups {
            let stamp = row.timestamp.get();
            for (account, member) in row.members {
                let key = Key::Member(row.group, account);
                second.push(Stored::new(key, stamp, Value::Member(member)));
            }
            second.push(Stored::new(Key::Group(row.group), stamp, Value::Group(row.state.into())));
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
        let erasures = flush.erasures.into_iter().map(Erasing::Inbox);
        let erasures = erasures.chain(flush.log_erasures.into_iter().map(Erasing::Log)).collect();
        Self { shard, steps, step: 0, tries: 0, erasures, erased: 0 }
    }
}

/// As a row has it: a body that is kept apart is in its group's log.
fn without_what_is_apart(mut item: InboxItem) -> InboxItem {
    if let InboxContent::Message(message) = &item.content
        && message.is_kept_apart()
    {
        item.content = InboxContent::Message(message.without_body().into());
    }
    item
}

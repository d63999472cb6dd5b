//! The store of the world: what was acknowledged as written, and the writes and reads under way.

use std::collections::BTreeMap;

use super::World;
use crate::account::{Account, InboxItem};
use crate::clock::Hlc;
use crate::entry::Entry;
use crate::id::{AccountId, ShardId};
use crate::seq::{BlockSeq, InboxSeq, OutboxSeq, ShardSeq};
use crate::shard::{Conn, Flush, Input, MarksPage, OutboxItem};

/// What the store holds: only what was acknowledged as written.
#[derive(Default)]
pub(super) struct Disk {
    /// The entries of earlier sessions, up to their seals, then of this one by block.
    pub(super) sealed: Vec<Entry>,
    pub(super) blocks: BTreeMap<BlockSeq, Vec<Entry>>,
    pub(super) accounts: BTreeMap<AccountId, Account>,
    pub(super) inbox: BTreeMap<(AccountId, InboxSeq), InboxItem>,
    pub(super) peers: BTreeMap<(ShardId, ShardId), Numbers>,
    pub(super) outbox: BTreeMap<(ShardId, ShardId, OutboxSeq), OutboxItem>,
    pub(super) checkpoints: BTreeMap<ShardId, (ShardSeq, Hlc)>,
}

/// Next and confirmed number to a peer, next number from it, and the position that they reflect.
type Numbers = (OutboxSeq, OutboxSeq, OutboxSeq, ShardSeq);

/// A read that the engine asked for.
pub(super) enum Load {
    Account(AccountId),
    Inbox(AccountId, InboxSeq, InboxSeq),
    Receipts(AccountId, InboxSeq, InboxSeq),
    Marks(AccountId, Conn),
}

impl Disk {
    fn places(&self, account: AccountId, after: InboxSeq, upto: InboxSeq) -> Vec<InboxItem> {
        let range = (account, after.next())..=(account, upto);
        self.inbox.range(range).take(40).map(|(_, item)| item.clone()).collect()
    }
}

impl World {
    pub(super) fn write(&mut self, index: usize) {
        if let Some(formed) = self.writes.remove(index) {
            self.written += 1;
            self.disk.blocks.insert(formed.seq, formed.entries);
            self.engine.written(formed.seq);
        }
    }

    pub(super) fn read_fence(&mut self) {
        let (begun, cover) = (self.now.mono, self.engine.fence_cover());
        let mut out = Vec::new();
        self.engine.fence_read(self.now, begun, cover, &mut out);
        self.take(out);
    }

    pub(super) fn load_one(&mut self) {
        let Some((shard, load)) = self.loads.pop_front() else { return };
        let input = match load {
            Load::Account(account) => {
                Input::Loaded { account, state: self.disk.accounts.get(&account).cloned() }
            }
            Load::Inbox(account, asked, upto) => {
                let items = self.disk.places(account, asked, upto);
                Input::InboxLoaded { account, asked, items: Some(items) }
            }
            Load::Receipts(account, after, upto) => {
                let items = self.disk.places(account, after, upto);
                Input::ReceiptsRead { account, after, items: Some(items) }
            }
            Load::Marks(account, conn) => {
                Input::MarksLoaded { account, conn, page: Some(MarksPage::default()) }
            }
        };
        self.feed(shard, input);
    }

    /// The store does not answer a read.
    pub(super) fn fail_load(&mut self) {
        let Some((shard, load)) = self.loads.pop_front() else { return };
        let input = match load {
            Load::Account(account) => Input::LoadFailed { account },
            Load::Inbox(account, asked, _) => Input::InboxLoaded { account, asked, items: None },
            Load::Receipts(account, after, _) => {
                Input::ReceiptsRead { account, after, items: None }
            }
            Load::Marks(account, conn) => Input::MarksLoaded { account, conn, page: None },
        };
        self.feed(shard, input);
    }

    pub(super) fn flush_one(&mut self, written: bool) {
        let Some((shard, flush)) = self.flushes.pop_front() else { return };
        if written {
            self.write_rows(shard, flush);
        }
        let mut out = Vec::new();
        self.engine.flushed(self.now, shard, written, &mut out);
        self.take(out);
    }

    fn write_rows(&mut self, shard: ShardId, flush: Flush) {
        for run in flush.inbox {
            for item in run.items {
                self.disk.inbox.insert((run.account, item.seq), item);
            }
        }
        for row in flush.outbox {
            self.disk.outbox.insert((shard, row.to, row.item.seq), row.item);
        }
        for row in flush.accounts {
            let before = self.disk.accounts.insert(row.account, row.state.clone());
            assert!(before.is_none_or(|b| b.pos <= row.state.pos), "a row went back");
        }
        for row in flush.peers {
            let numbers = (row.out_next, row.out_confirmed, row.in_next, row.pos);
            self.disk.peers.insert((shard, row.peer), numbers);
            if row.forget_items {
                self.disk.outbox.retain(|(s, p, seq), _| {
                    (*s, *p) != (shard, row.peer) || *seq > row.out_confirmed
                });
            }
        }
        self.disk.checkpoints.insert(shard, (flush.checkpoint, flush.clock));
    }
}

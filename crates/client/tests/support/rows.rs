//! The derived rows of all shards, in memory.

use std::collections::BTreeMap;

use iris_core::account::{Account, InboxItem};
use iris_core::clock::{Hlc, MonoUs};
use iris_core::id::{AccountId, ShardId};
use iris_core::seq::{InboxSeq, OutboxSeq, ShardSeq};
use iris_core::shard::{Flush, OutboxItem, Peer, Recovered, Retention, Shard, ShardKey};

type PeerNumbers = (OutboxSeq, OutboxSeq, OutboxSeq, ShardSeq);

#[derive(Default)]
pub struct Rows {
    pub accounts: BTreeMap<AccountId, Account>,
    inbox: BTreeMap<(AccountId, InboxSeq), InboxItem>,
    peers: BTreeMap<(ShardId, ShardId), PeerNumbers>,
    outbox: BTreeMap<(ShardId, ShardId, OutboxSeq), OutboxItem>,
    checkpoints: BTreeMap<ShardId, (ShardSeq, Hlc)>,
}

impl Rows {
    pub fn write(&mut self, shard: ShardId, flush: Flush) {
        for run in flush.inbox {
            for item in run.items {
                self.inbox.insert((run.account, item.seq), item);
            }
        }
        for row in flush.outbox {
            self.outbox.insert((shard, row.to, row.item.seq), row.item);
        }
        for row in flush.accounts {
            self.accounts.insert(row.account, row.state);
        }
        for row in flush.peers {
            let numbers = (row.out_next, row.out_confirmed, row.in_next, row.pos);
            self.peers.insert((shard, row.peer), numbers);
            if row.forget_items {
                self.outbox.retain(|(s, p, seq), _| {
                    (*s, *p) != (shard, row.peer) || *seq > row.out_confirmed
                });
            }
        }
        self.checkpoints.insert(shard, (flush.checkpoint, flush.clock));
    }

    pub fn inbox(&self, account: AccountId, after: InboxSeq, upto: InboxSeq) -> Vec<InboxItem> {
        let range = (account, after.next())..=(account, upto);
        self.inbox.range(range).take(256).map(|(_, item)| item.clone()).collect()
    }

    /// The places up to `upto` are past their retention.
    pub fn expire(&mut self, account: AccountId, upto: InboxSeq) {
        self.inbox.retain(|(a, seq), _| *a != account || *seq > upto);
    }

    /// A shard as its rows have it: nothing is only in the log.
    pub fn recover(&self, key: ShardKey, history: bool, now: MonoUs) -> Shard {
        let (checkpoint, clock) = self.checkpoints.get(&key.id).copied().unwrap_or_default();
        let own = self.peers.iter().filter(|((shard, _), _)| *shard == key.id);
        let peers = own.map(|((_, peer), (out_next, out_confirmed, in_next, pos))| {
            let items = self.outbox.range((key.id, *peer, OutboxSeq(0))..);
            let items = items.take_while(|((s, p, _), _)| (*s, *p) == (key.id, *peer));
            let items = items.map(|(_, item)| item.clone()).collect();
            (*peer, Peer::recovered((*out_next, *out_confirmed, *in_next), *pos, items))
        });
        let peers = peers.collect();
        let recovered = Recovered { checkpoint, clock, peers, ..Recovered::default() };
        Shard::recover(key, Retention { history }, now, recovered).unwrap()
    }
}

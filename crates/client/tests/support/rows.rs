//! The derived rows of all shards, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use iris_core::account::{Account, InboxContent, InboxItem};
use iris_core::clock::{Hlc, MonoUs};
use iris_core::entry::Entry;
use iris_core::group::Sizes;
use iris_core::group::{Group, RosterPage};
use iris_core::id::{AccountId, GroupId, ShardId};
use iris_core::mark::Mark;
use iris_core::message::{Address, Message};
use iris_core::rate::Rates;
use iris_core::seq::{ConvSeq, InboxSeq, OutboxSeq, ShardSeq};
use iris_core::shard::{
    Erasure, Fetch, Flush, HistoryPage, HistoryPoint, LogFetch, MarksPage, OutboxItem, Peer,
    Policy, Recovered, Shard, ShardKey,
};

type PeerNumbers = (OutboxSeq, OutboxSeq, OutboxSeq, ShardSeq);

#[derive(Default)]
pub struct Rows {
    pub accounts: BTreeMap<AccountId, Account>,
    inbox: BTreeMap<(AccountId, InboxSeq), InboxItem>,
    peers: BTreeMap<(ShardId, ShardId), PeerNumbers>,
    outbox: BTreeMap<(ShardId, ShardId, OutboxSeq), OutboxItem>,
    index: BTreeSet<(AccountId, Address, HistoryPoint)>,
    marks: BTreeMap<(AccountId, AccountId), Mark>,
    checkpoints: BTreeMap<ShardId, (ShardSeq, Hlc)>,
    groups: BTreeMap<GroupId, Group>,
    logs: BTreeMap<(GroupId, ConvSeq), Arc<Message>>,
}

impl Rows {
    pub fn write(&mut self, shard: ShardId, flush: Flush) {
        for run in flush.inbox {
            for item in run.items {
                self.inbox.insert((run.account, item.seq), item);
            }
        }
        for row in flush.index {
            let point = HistoryPoint { clock: row.clock, place: row.place };
            self.index.insert((row.account, row.conversation, point));
        }
        for row in flush.logs {
            let place = row.message.place().unwrap().seq;
            self.logs.insert((row.group, place), row.message);
        }
        for erasure in flush.log_erasures {
            if let Some(row) = self.logs.get_mut(&(erasure.group, erasure.place))
                && (row.sender, row.msg_id) == (erasure.author, erasure.msg_id)
            {
                *row = Arc::new(row.without_body());
            }
        }
        for row in flush.groups {
            let known = self.groups.remove(&row.group);
            let mut members = known.map(|group| group.members).unwrap_or_default();
            for (who, member) in row.members {
                match member {
                    Some(member) => drop(members.insert(who, member)),
                    None => drop(members.remove(&who)),
                }
            }
            self.groups.insert(row.group, Group { members, ..row.state });
        }
        for row in flush.marks {
            let known = self.marks.entry((row.account, row.with)).or_default();
            *known = known.merge(row.mark);
        }
        for erasure in flush.erasures {
            self.erase(&erasure);
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

    fn erase(&mut self, erasure: &Erasure) {
        for ((account, _), item) in &mut self.inbox {
            if *account == erasure.account
                && let InboxContent::Message(message) = &item.content
                && (message.sender, message.msg_id) == (erasure.author, erasure.msg_id)
            {
                item.content = InboxContent::Hole;
            }
        }
    }

    pub fn group(&self, group: GroupId) -> Option<Group> {
        self.groups.get(&group).cloned()
    }

    /// A roster in pages of two.
    pub fn roster(&self, group: GroupId, after: Option<AccountId>) -> Option<RosterPage> {
        let group = self.groups.get(&group)?;
        let members = group.members.iter().filter(|(who, _)| after.is_none_or(|a| **who > a));
        let mut members: Vec<_> = members.map(|(who, member)| (*who, *member)).collect();
        let more = members.len() > 2;
        members.truncate(2);
        Some(RosterPage {
            head: group.head,
            version: group.version,
            reach: group.reach,
            settings: group.settings.clone(),
            next: members.last().map(|(who, _)| *who).filter(|_| more),
            members,
        })
    }

    /// A page of a group's log.
    pub fn log(&self, fetch: LogFetch) -> Vec<Arc<Message>> {
        let rows = self.logs.range((fetch.group, fetch.after.next())..);
        let upto = fetch.upto.unwrap_or(ConvSeq(u64::MAX));
        let rows = rows.take_while(|((group, place), _)| *group == fetch.group && *place <= upto);
        let limit = usize::try_from(fetch.limit).unwrap();
        rows.take(limit).map(|(_, message)| Arc::clone(message)).collect()
    }

    /// The marks of an account above a version, in pages of two.
    pub fn marks(&self, account: AccountId, above: u64, after: Option<AccountId>) -> MarksPage {
        let of_account = self.marks.iter().filter(|((of, with), mark)| {
            *of == account && mark.version > above && after.is_none_or(|after| *with > after)
        });
        let mut marks: Vec<_> = of_account.map(|((_, with), mark)| (*with, *mark)).collect();
        let more = marks.len() > 2;
        marks.truncate(2);
        let next = marks.last().map(|(with, _)| *with).filter(|_| more);
        MarksPage { marks, next }
    }

    /// A page of a conversation.
    pub fn history(&self, account: AccountId, fetch: Fetch) -> HistoryPage {
        let first = HistoryPoint { clock: Hlc(0), place: InboxSeq(0) };
        let range = self.index.range((account, fetch.conversation, first)..);
        let range = range.take_while(|(of, with, _)| (*of, *with) == (account, fetch.conversation));
        let before = |point: &HistoryPoint| fetch.before.is_none_or(|before| *point < before);
        let points: Vec<_> = range.map(|(_, _, point)| *point).filter(before).collect();
        let limit = usize::try_from(fetch.limit).unwrap();
        let page: Vec<_> = points.iter().rev().take(limit).collect();
        let items = page.iter().filter_map(|point| self.inbox.get(&(account, point.place)));
        let next = page.last().map(|point| **point).filter(|_| points.len() > page.len());
        HistoryPage { items: items.cloned().collect(), next }
    }

    /// The places up to `upto` are past their retention.
    pub fn expire(&mut self, account: AccountId, upto: InboxSeq) {
        self.inbox.retain(|(a, seq), _| *a != account || *seq > upto);
    }

    /// A shard as its rows and what only the log has make it.
    pub fn recover(&self, key: ShardKey, history: bool, now: MonoUs, tail: Vec<Entry>) -> Shard {
        let (checkpoint, clock) = self.checkpoints.get(&key.id).copied().unwrap_or_default();
        let own = self.peers.iter().filter(|((shard, _), _)| *shard == key.id);
        let peers = own.map(|((_, peer), (out_next, out_confirmed, in_next, pos))| {
            let items = self.outbox.range((key.id, *peer, OutboxSeq(0))..);
            let items = items.take_while(|((s, p, _), _)| (*s, *p) == (key.id, *peer));
            let items = items.map(|(_, item)| item.clone()).collect();
            (*peer, Peer::recovered((*out_next, *out_confirmed, *in_next), *pos, items))
        });
        let peers = peers.collect();
        let of_tail = Recovered::accounts_of_tail(&tail).into_iter();
        let accounts = of_tail.map(|id| (id, self.accounts.get(&id).cloned())).collect();
        let of_tail = Recovered::groups_of_tail(&tail).into_iter();
        let groups = of_tail.map(|id| (id, self.groups.get(&id).cloned())).collect();
        let recovered = Recovered { checkpoint, clock, peers, tail, accounts, groups };
        Shard::recover(
            key,
            Policy { history, rates: Rates::default(), groups: Sizes::default() },
            now,
            recovered,
        )
        .unwrap()
    }
}

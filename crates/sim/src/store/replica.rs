//! One replica, and what two of them say together.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use iris_core::clock::Hlc;
use iris_core::id::{AccountId, GroupId, LaneId, SessionId, ShardId};
use iris_core::message::Address;
use iris_core::seq::{BlockSeq, ConvSeq, InboxSeq, OutboxSeq};

use super::rows::{Cell, Key, Stored, Value};
use crate::random::Random;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Replica {
    pub(super) down_until: u64,
    pub(super) slow_until: u64,
    pub(super) lossy_until: u64,
    rows: BTreeMap<Key, Cell>,
}

/// What may be read.
#[derive(Debug, Clone)]
pub(crate) enum Query {
    Lanes(SessionId),
    Fence(SessionId),
    /// The newest blocks of a lane, at most so many.
    Tail(LaneId, usize),
    /// The blocks from one up to another, exclusive.
    Blocks(LaneId, BlockSeq, BlockSeq),
    Checkpoint(ShardId),
    /// An account, and its memberships.
    Account(AccountId),
    /// A group, and its members.
    Group(GroupId),
    /// A group's log behind a place.
    Log(GroupId, ConvSeq),
    /// Some messages of groups' logs.
    Bodies(BTreeSet<(GroupId, ConvSeq)>),
    /// Every run that may hold a place up to this one.
    Inbox(AccountId, InboxSeq),
    /// All that a shard knows of others.
    Peers(ShardId),
    /// The items of its outboxes, and what of them is deleted.
    Outbox(ShardId),
    /// Where the messages of a conversation lie.
    Index(AccountId, Address),
    /// An account's marks.
    Marks(AccountId),
}

impl Replica {
    pub(super) fn is_down(&self, now: u64) -> bool {
        self.down_until > now
    }

    pub(super) fn is_lossy(&self, now: u64) -> bool {
        self.lossy_until > now
    }

    /// How long a statement takes to get here and to be done.
    pub(super) fn latency(&self, now: u64, way_us: u64, random: &mut Random) -> u64 {
        let us = 100 + way_us;
        if self.slow_until > now { us + random.around(400_000) } else { us }
    }

    /// The newer of two cells stays; of two with one timestamp the one that is there.
    pub(super) fn put(&mut self, row: &Stored) {
        match self.rows.get_mut(&row.key) {
            Some(cell) => cell.take(&row.cell),
            None => {
                self.rows.insert(row.key.clone(), row.cell.clone());
            }
        }
    }

    pub(super) fn answer(&self, query: &Query) -> Vec<Stored> {
        let (from, to) = query.range();
        let range = self.rows.range((from, to));
        let stored = |(key, cell): (&Key, &Cell)| Stored { key: key.clone(), cell: cell.clone() };
        let mut rows: Vec<_> = match query {
            Query::Tail(_, blocks) => range.rev().take(*blocks).map(stored).collect(),
            _ => range.map(stored).collect(),
        };
        let mut add = |from: Key, to: Key| rows.extend(self.rows.range(from..=to).map(stored));
        match query {
            Query::Outbox(shard) => add(
                Key::Forgotten(*shard, ShardId::new(0)),
                Key::Forgotten(*shard, ShardId::new(u16::MAX)),
            ),
            Query::Account(account) => add(Key::Memberships(*account), Key::Memberships(*account)),
            Query::Group(group) => {
                let (least, most) = all_accounts();
                add(Key::Member(*group, least), Key::Member(*group, most));
            }
            Query::Bodies(places) => {
                for (group, place) in places {
                    add(Key::Log(*group, *place), Key::Log(*group, *place));
                }
                rows.dedup();
            }
            _ => {}
        }
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }
}

impl Query {
    fn range(&self) -> (Bound<Key>, Bound<Key>) {
        let one = |key: Key| (Bound::Included(key.clone()), Bound::Included(key));
        let (first, last) = (ShardId::new(0), ShardId::new(u16::MAX));
        match self {
            Self::Lanes(session) => one(Key::Lanes(*session)),
            Self::Fence(session) => one(Key::Fence(*session)),
            Self::Tail(lane, _) => (
                Bound::Included(Key::Block(*lane, BlockSeq(0))),
                Bound::Included(Key::Block(*lane, BlockSeq(u64::MAX))),
            ),
            Self::Blocks(lane, from, end) => (
                Bound::Included(Key::Block(*lane, *from)),
                Bound::Excluded(Key::Block(*lane, *end.max(from))),
            ),
            Self::Checkpoint(shard) => one(Key::Checkpoint(*shard)),
            Self::Account(account) => one(Key::Account(*account)),
            Self::Group(group) => one(Key::Group(*group)),
            Self::Log(group, after) => (
                Bound::Excluded(Key::Log(*group, *after)),
                Bound::Included(Key::Log(*group, ConvSeq(u64::MAX))),
            ),
            // One by one.
            Self::Bodies(places) => {
                let first = places.first().expect("a place is wanted");
                one(Key::Log(first.0, first.1))
            }
            Self::Inbox(account, upto) => (
                Bound::Included(Key::Run(*account, InboxSeq(0))),
                Bound::Included(Key::Run(*account, *upto)),
            ),
            Self::Peers(shard) => (
                Bound::Included(Key::Peer(*shard, first)),
                Bound::Included(Key::Peer(*shard, last)),
            ),
            Self::Outbox(shard) => (
                Bound::Included(Key::Item(*shard, first, OutboxSeq(0))),
                Bound::Included(Key::Item(*shard, last, OutboxSeq(u64::MAX))),
            ),
            Self::Index(account, conversation) => (
                Bound::Included(Key::Index(*account, *conversation, Hlc(0), InboxSeq(0))),
                Bound::Included(Key::Index(
                    *account,
                    *conversation,
                    Hlc(u64::MAX),
                    InboxSeq(u64::MAX),
                )),
            ),
            Self::Marks(account) => {
                let (least, most) = all_accounts();
                (
                    Bound::Included(Key::Mark(*account, least)),
                    Bound::Included(Key::Mark(*account, most)),
                )
            }
        }
    }
}

fn all_accounts() -> (AccountId, AccountId) {
    let least = AccountId::from_bytes(&[0; 16]).expect("16 bytes");
    (least, AccountId::from_bytes(&[255; 16]).expect("16 bytes"))
}

/// What two replicas say: for each row the newer cell, without what is deleted, and only as much as was
/// asked for.
pub(super) fn merge(one: Vec<Stored>, other: Vec<Stored>, query: &Query) -> Vec<Stored> {
    let mut rows: BTreeMap<Key, Cell> = BTreeMap::new();
    for row in one.into_iter().chain(other) {
        match rows.get_mut(&row.key) {
            Some(cell) => cell.take(&row.cell),
            None => {
                rows.insert(row.key, row.cell);
            }
        }
    }
    let mut merged: Vec<_> = rows.into_iter().map(|(key, cell)| Stored { key, cell }).collect();
    if let Query::Tail(_, blocks) = query {
        merged.drain(..merged.len().saturating_sub(*blocks));
    }
    merged
}

/// The items that are not deleted.
pub(crate) fn kept_items(rows: Vec<Stored>) -> Vec<(ShardId, Stored)> {
    let forgotten: BTreeMap<ShardId, (OutboxSeq, i64)> = rows
        .iter()
        .filter_map(|row| match (&row.key, &row.cell.value) {
            (Key::Forgotten(_, peer), Value::Forgotten(upto)) => {
                Some((*peer, (*upto, row.cell.stamp)))
            }
            _ => None,
        })
        .collect();
    let items = rows.into_iter().filter_map(|row| match row.key {
        Key::Item(_, peer, seq) => {
            let gone = forgotten.get(&peer);
            let gone = gone.is_some_and(|(upto, stamp)| seq <= *upto && row.cell.stamp <= *stamp);
            (!gone).then_some((peer, row))
        }
        _ => None,
    });
    items.collect()
}

//! Rows, as a replica has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_core::account::{Account, InboxItem};
use iris_core::block::{BlockHeader, ChainHash, TailBlock};
use iris_core::clock::Hlc;
use iris_core::entry::Entry;
use iris_core::group::{Group, Member, Membership};
use iris_core::id::{AccountId, GroupId, LaneId, SessionId, ShardId};
use iris_core::mark::Mark;
use iris_core::message::{Address, Message};
use iris_core::seq::{BlockSeq, ConvSeq, Epoch, InboxSeq, OutboxSeq, ShardSeq};
use iris_core::shard::{OutboxItem, PeerRow};

/// Which row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Lanes(SessionId),
    Fence(SessionId),
    Block(LaneId, BlockSeq),
    Checkpoint(ShardId),
    Account(AccountId),
    /// The groups of an account: a column of its own, written when they change.
    Memberships(AccountId),
    Group(GroupId),
    Member(GroupId, AccountId),
    /// A message of a group's log.
    Log(GroupId, ConvSeq),
    /// Places of an inbox, from this one on.
    Run(AccountId, InboxSeq),
    Peer(ShardId, ShardId),
    /// Items of an outbox up to the value are deleted.
    Forgotten(ShardId, ShardId),
    Item(ShardId, ShardId, OutboxSeq),
    /// Where the message of a conversation with this clock lies.
    Index(AccountId, Address, Hlc, InboxSeq),
    /// How far a conversation was received and read.
    Mark(AccountId, AccountId),
}

/// What is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Lanes(u8),
    Fence(SessionId),
    Block(Arc<Block>),
    Checkpoint {
        epoch: Epoch,
        pos: ShardSeq,
        block: BlockSeq,
        clock: Hlc,
    },
    /// Without its memberships.
    Account(Arc<Account>),
    Memberships(Arc<BTreeMap<GroupId, Membership>>),
    /// Without its members.
    Group(Arc<Group>),
    /// Nothing for one who is not in it any more.
    Member(Option<Member>),
    Log(Arc<Message>),
    Run(Arc<Vec<InboxItem>>),
    Peer(PeerRow),
    Forgotten(OutboxSeq),
    Item(Arc<OutboxItem>),
    /// The key says it all.
    Index,
    /// Each part of it has a timestamp of its own, which is its value.
    Mark(Mark),
}

/// A block of a lane. Its entries are kept as they are: formats are tested where they are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) prev: ChainHash,
    pub(crate) hash: ChainHash,
    pub(crate) header: BlockHeader,
    pub(crate) entries: Vec<Entry>,
}

impl Block {
    pub(crate) fn new(prev: ChainHash, header: BlockHeader, entries: Vec<Entry>) -> Self {
        let mut bytes = Vec::with_capacity(16 + 24 * entries.len());
        bytes.extend(header.released.0.to_be_bytes());
        bytes.extend(header.materialized.0.to_be_bytes());
        for entry in &entries {
            bytes.extend(u32::from(entry.shard).to_be_bytes());
            bytes.extend(entry.epoch.0.to_be_bytes());
            bytes.extend(entry.seq.0.to_be_bytes());
            bytes.extend(entry.clock.0.to_be_bytes());
        }
        Self { prev, hash: prev.after(&bytes), header, entries }
    }

    /// As a recoverer sees it.
    pub(crate) fn in_tail(&self, seq: BlockSeq) -> TailBlock {
        TailBlock { seq, prev: self.prev, hash: self.hash, header: self.header }
    }
}

/// A value and its write timestamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) stamp: i64,
    pub(crate) value: Value,
}

impl Cell {
    /// Another write of the same row: the newer of the two stays; of two with one timestamp, the first.
    pub(super) fn take(&mut self, other: &Self) {
        match (&mut self.value, &other.value) {
            (Value::Mark(mark), Value::Mark(other)) => *mark = mark.merge(*other),
            _ if self.stamp >= other.stamp => {}
            _ => *self = other.clone(),
        }
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) key: Key,
    pub(crate) cell: Cell,
}

impl Stored {
    pub(crate) fn new(key: Key, stamp: i64, value: Value) -> Self {
        Self { key, cell: Cell { stamp, value } }
    }
}

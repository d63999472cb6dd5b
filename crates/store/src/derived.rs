//! Derived rows: what the log says, materialised. Each is written with the logical timestamp of what it
//! reflects, so that a late write of a deposed owner always loses.

use std::sync::Arc;

use async_trait::async_trait;
use iris_core::account::{Account, InboxItem};
use iris_core::clock::Hlc;
use iris_core::group::{Group, RosterPage};
use iris_core::id::{AccountId, GroupId, ShardId};
use iris_core::message::Message;
use iris_core::seq::{BlockSeq, Epoch, InboxSeq, ShardSeq};
use iris_core::shard::{Fetch, Flush, HistoryPage, LogFetch, MarksPage, OutboxItem};
use iris_proto::stored_rows::PeerNumbers;

use crate::{ShardRef, StoreError, Table};

/// Everything of a shard up to here is in derived rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The ownership that wrote it.
    pub epoch: Epoch,
    /// The last position that it covers; never before that ownership's first.
    pub pos: ShardSeq,
    /// Where in that ownership's lane a replay of what follows begins.
    pub block: BlockSeq,
    /// The shard's clock.
    pub clock: Hlc,
}

/// A row that an erasure met and that cannot be understood, or not all of it. It stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DamagedRow {
    /// In which table.
    pub table: Table,
    /// Which, in words.
    pub row: String,
    /// What is wrong.
    pub why: String,
}

/// Derived rows of the shards' accounts and outboxes.
#[async_trait]
pub trait DerivedStore: Send + Sync + 'static {
    /// An account; nothing for one that does not exist.
    async fn account(&self, account: AccountId) -> Result<Option<Account>, StoreError>;

    /// The places `after+1 ..= upto` of an inbox, ascending, until together they weigh `bytes_max`; at
    /// least one if there is one. Places that are gone are missing; one whose body is kept in its
    /// group's log, and gone from there, is a hole.
    async fn inbox(
        &self,
        account: AccountId,
        after: InboxSeq,
        upto: InboxSeq,
        bytes_max: usize,
    ) -> Result<Vec<InboxItem>, StoreError>;

    /// A page of a conversation: the newest messages before a point. What was erased, or has expired,
    /// is missing.
    async fn history(&self, account: AccountId, fetch: Fetch) -> Result<HistoryPage, StoreError>;

    /// The marks of an account with versions above `above`, behind the conversation `after`: a part of
    /// them, of bounded size.
    async fn marks(
        &self,
        account: AccountId,
        above: u64,
        after: Option<AccountId>,
    ) -> Result<MarksPage, StoreError>;

    /// A group with everybody who is in it; nothing for one that does not exist.
    async fn group(&self, group: GroupId) -> Result<Option<Group>, StoreError>;

    /// Who is in a group, in the order of their ids, behind `after`: 1,000 at a time. Nothing for a
    /// group that does not exist.
    async fn roster(
        &self,
        group: GroupId,
        after: Option<AccountId>,
    ) -> Result<Option<RosterPage>, StoreError>;

    /// A part of a group's log, ascending, of places up to the head of the group's row: what is above
    /// may be written in any order. A message that was erased, or has expired, has no body or is missing.
    async fn group_log(&self, fetch: LogFetch) -> Result<Vec<Arc<Message>>, StoreError>;

    /// What a shard knows of the others.
    async fn peers(&self, shard: ShardId) -> Result<Vec<(ShardId, PeerNumbers)>, StoreError>;

    /// The stored items of a shard's outboxes to `peers`, as it knows them, without what they confirmed;
    /// ascending by destination and number.
    async fn outbox(
        &self,
        shard: ShardId,
        peers: &[(ShardId, PeerNumbers)],
    ) -> Result<Vec<(ShardId, OutboxItem)>, StoreError>;

    /// The newest checkpoint of a shard.
    async fn checkpoint(&self, shard: ShardId) -> Result<Option<Checkpoint>, StoreError>;

    /// Writes the rows of a flush in the order that makes a crash at any point harmless: groups' logs,
    /// inbox runs with their index, and outbox items, then what is erased of them, then accounts with
    /// their marks, groups (members before what says that they are there), and peers, then the
    /// checkpoint, each step only when the one before is durable. Idempotent: an error is answered by
    /// writing the same flush again.
    ///
    /// Answers the rows that its erasures met and that cannot be understood: they would fail it again
    /// and again. A message that is known to lie in one of their places is hidden behind a hole, one
    /// that nobody can see stays, and so does whatever else is in them.
    async fn materialize(
        &self,
        shard: ShardRef,
        flush: &Flush,
        checkpoint: Checkpoint,
    ) -> Result<Vec<DamagedRow>, StoreError>;
}

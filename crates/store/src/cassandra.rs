//! The store on Apache Cassandra 5.
//!
//! Control rows are compare-and-swap only and, where they may change, read serially; everything else
//! is plain quorum writes and reads; no table is both. See `docs/schema.md`. Decides nothing: what is
//! written, when, and what a failure means for a message is the caller's.

mod client;
mod config;
mod credentials;
mod derived;
mod errors;
mod groups;
mod history;
mod levels;
mod materialize;
mod report;
mod schema;
mod table;
mod tail;
mod tls;
mod value;

pub use config::{AckPolicy, CassandraConfig, Timeouts};
pub use schema::{
    MigrateOptions, MigrationEvent, Replication, SCHEMA_VERSION, migrate, schema_version,
};

use std::sync::Arc;

use async_trait::async_trait;
use iris_core::account::{Account, InboxItem};
use iris_core::group::{Group, RosterPage};
use iris_core::id::{AccountId, GroupId, LaneId, SessionId, ShardId};
use iris_core::message::Message;
use iris_core::seq::{BlockSeq, Epoch, InboxSeq};
use iris_core::shard::{Fetch, Flush, HistoryPage, LogFetch, MarksPage, OutboxItem};
use iris_core::takeover::EpochRow;
use iris_proto::stored_rows::PeerNumbers;

use crate::{
    Cas, Checkpoint, ControlStore, DamagedRow, DerivedStore, DirectoryStore, HandleClaim,
    HandleKey, HandleRecord, HealthStore, LogRow, LogStore, ShardRef, StoreError, StoreReport,
    Suspect,
};
use client::Client;
use derived::Slots;
use table::Tables;

/// A connected store.
#[derive(Debug)]
pub struct CassandraStore {
    client: Client,
    /// So many statements are much to move.
    tables: Box<Tables>,
    slots: Slots,
    datacenter: String,
    policy: AckPolicy,
}

impl CassandraStore {
    /// Connects and prepares every statement. Refuses, with [`StoreError::Schema`], a keyspace that is
    /// older than this program or whose migrations are not the ones that it knows; a newer one is
    /// fine, as migrations only ever add.
    pub async fn connect(config: &CassandraConfig) -> Result<Self, StoreError> {
        let client = Client::connect(config).await?;
        schema::check(&client).await?;
        let tables = Box::new(Box::pin(Tables::prepare(&client, config)).await?);
        Ok(Self {
            client,
            tables,
            slots: Slots::default(),
            datacenter: config.datacenter.clone(),
            policy: config.ack_policy,
        })
    }

    /// While a Cassandra node joins, leaves or is replaced, replicas may disagree on who holds what:
    /// tails are then read at every replica, so that a takeover misses nothing or waits.
    pub fn set_replicas_move(&self, moving: bool) {
        self.client.set_replicas_move(moving);
    }

    /// How many requests it sent so far, for whoever wants to know what something costs.
    pub fn requests(&self) -> u64 {
        self.client.requests()
    }
}

#[async_trait]
impl ControlStore for CassandraStore {
    async fn epoch_head(&self, shard: ShardRef) -> Result<Option<EpochRow>, StoreError> {
        self.tables.shard_epoch.head(&self.client, shard).await
    }

    async fn head_to_follow(&self, shard: ShardRef) -> Result<Option<EpochRow>, StoreError> {
        self.tables.shard_epoch.head_to_follow(&self.client, shard).await
    }

    async fn epochs_from(&self, shard: ShardRef, from: Epoch) -> Result<Vec<EpochRow>, StoreError> {
        self.tables.shard_epoch.from(&self.client, shard, from).await
    }

    async fn epochs_between(
        &self,
        shard: ShardRef,
        from: Epoch,
        below: Epoch,
    ) -> Result<Vec<EpochRow>, StoreError> {
        self.tables.shard_epoch.between(&self.client, shard, from, below).await
    }

    async fn claim(&self, shard: ShardRef, row: EpochRow) -> Result<Cas, StoreError> {
        self.tables.shard_epoch.claim(&self.client, shard, row).await
    }

    async fn release(
        &self,
        shard: ShardRef,
        epoch: Epoch,
        released_block: BlockSeq,
    ) -> Result<Cas, StoreError> {
        self.tables.shard_epoch.release(&self.client, shard, epoch, released_block).await
    }

    async fn seal(&self, lane: LaneId, end: BlockSeq) -> Result<BlockSeq, StoreError> {
        self.tables.session_seal.decide(&self.client, lane, end).await
    }

    async fn sealed(&self, lane: LaneId) -> Result<Option<BlockSeq>, StoreError> {
        self.tables.session_seal.read(&self.client, lane).await
    }
}

#[async_trait]
impl LogStore for CassandraStore {
    async fn open_session(&self, session: SessionId, lanes: u8) -> Result<(), StoreError> {
        self.tables.session_lane.open(&self.client, session, lanes).await
    }

    async fn lanes(&self, session: SessionId) -> Result<Option<u8>, StoreError> {
        self.tables.session_lane.lanes(&self.client, session).await
    }

    async fn open_chunk(&self, lane: LaneId, chunk: u64) -> Result<(), StoreError> {
        self.tables.session_lane.raise(&self.client, lane, chunk).await
    }

    async fn append(&self, lane: LaneId, row: &LogRow) -> Result<(), StoreError> {
        self.tables.session_log.append(&self.client, lane, row).await
    }

    async fn tail(&self, lane: LaneId, limit: usize) -> Result<Vec<LogRow>, StoreError> {
        tail::newest(&self.client, &self.tables, lane, limit).await
    }

    async fn read(
        &self,
        lane: LaneId,
        from: BlockSeq,
        end: BlockSeq,
        limit: usize,
    ) -> Result<Vec<LogRow>, StoreError> {
        tail::range(&self.client, &self.tables, lane, (from, end), limit).await
    }

    async fn fence(&self, session: SessionId, by: SessionId) -> Result<(), StoreError> {
        self.tables.session_fence.raise(&self.client, session, by).await
    }

    async fn fenced(&self, session: SessionId) -> Result<Option<SessionId>, StoreError> {
        self.tables.session_fence.read(&self.client, session).await
    }

    async fn suspect(&self, shard: ShardId, suspect: &Suspect) -> Result<(), StoreError> {
        self.tables.shard_suspect.write(&self.client, shard, suspect).await
    }

    async fn suspects(&self, shard: ShardId) -> Result<Vec<Suspect>, StoreError> {
        self.tables.shard_suspect.read(&self.client, shard).await
    }
}

#[async_trait]
impl DerivedStore for CassandraStore {
    async fn account(&self, account: AccountId) -> Result<Option<Account>, StoreError> {
        self.tables.account_state.read(&self.client, account).await
    }

    async fn inbox(
        &self,
        account: AccountId,
        after: InboxSeq,
        upto: InboxSeq,
        bytes_max: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        groups::inbox(self, account, (after, upto), bytes_max).await
    }

    async fn history(&self, account: AccountId, fetch: Fetch) -> Result<HistoryPage, StoreError> {
        history::page(self, account, fetch).await
    }

    async fn marks(
        &self,
        account: AccountId,
        above: u64,
        after: Option<AccountId>,
    ) -> Result<MarksPage, StoreError> {
        self.tables.conversation_mark.read(&self.client, account, above, after).await
    }

    async fn group(&self, group: GroupId) -> Result<Option<Group>, StoreError> {
        groups::whole(self, group).await
    }

    async fn roster(
        &self,
        group: GroupId,
        after: Option<AccountId>,
    ) -> Result<Option<RosterPage>, StoreError> {
        groups::roster(self, group, after).await
    }

    async fn group_log(&self, fetch: LogFetch) -> Result<Vec<Arc<Message>>, StoreError> {
        groups::log(self, fetch).await
    }

    async fn peers(&self, shard: ShardId) -> Result<Vec<(ShardId, PeerNumbers)>, StoreError> {
        self.tables.shard_peer.read(&self.client, shard).await
    }

    async fn outbox(
        &self,
        shard: ShardId,
        peers: &[(ShardId, PeerNumbers)],
    ) -> Result<Vec<(ShardId, OutboxItem)>, StoreError> {
        self.tables.outbox.read(&self.client, shard, peers).await
    }

    async fn checkpoint(&self, shard: ShardId) -> Result<Option<Checkpoint>, StoreError> {
        self.tables.shard_checkpoint.read(&self.client, shard).await
    }

    async fn materialize(
        &self,
        shard: ShardRef,
        flush: &Flush,
        checkpoint: Checkpoint,
    ) -> Result<Vec<DamagedRow>, StoreError> {
        materialize::write(self, shard.shard, flush, checkpoint).await
    }
}

#[async_trait]
impl DirectoryStore for CassandraStore {
    async fn claim_handle(
        &self,
        key: &HandleKey,
        record: &HandleRecord,
    ) -> Result<HandleClaim, StoreError> {
        self.tables.handle.claim(&self.client, key, record).await
    }

    async fn handle(&self, key: &HandleKey) -> Result<Option<HandleRecord>, StoreError> {
        self.tables.handle.read(&self.client, key).await
    }
}

#[async_trait]
impl HealthStore for CassandraStore {
    async fn report(&self) -> Result<StoreReport, StoreError> {
        report::of(&self.client, &self.datacenter, self.policy).await
    }
}

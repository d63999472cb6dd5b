//! The session log and its fences: plain quorum writes and reads, never compared, never deleted.

use async_trait::async_trait;
use bytes::Bytes;
use iris_core::block::ChainHash;
use iris_core::clock::WallMs;
use iris_core::id::{LaneId, SessionId, ShardId};
use iris_core::seq::BlockSeq;

use crate::StoreError;

/// A block as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Its number in the lane.
    pub seq: BlockSeq,
    /// The hash before it.
    pub prev: ChainHash,
    /// Its bytes (`iris_proto::stored_blocks`).
    pub block: Bytes,
}

/// What a session was deciding for a shard when it panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Which session.
    pub session: SessionId,
    /// Of which version of the program.
    pub version: String,
    /// What, in the words of `iris_core::shard::Deciding`.
    pub input: String,
    /// Of no meaning from then on.
    pub until: WallMs,
}

/// The log of each lane. Rows are immutable: whoever writes a row again writes the same bytes.
#[async_trait]
pub trait LogStore: Send + Sync + 'static {
    /// Records how many lanes a session has; before its first claim.
    async fn open_session(&self, session: SessionId, lanes: u8) -> Result<(), StoreError>;

    /// How many lanes a session has; nothing for one that never opened.
    async fn lanes(&self, session: SessionId) -> Result<Option<u8>, StoreError>;

    /// Records that the lane begins a chunk ([`iris_core::limits::LOG_CHUNK_BLOCKS`] blocks); before the
    /// first block in it is written, so that a recoverer finds the tail.
    async fn open_chunk(&self, lane: LaneId, chunk: u64) -> Result<(), StoreError>;

    /// Writes a block at the log's consistency. Idempotent.
    async fn append(&self, lane: LaneId, row: &LogRow) -> Result<(), StoreError>;

    /// Up to `limit` of the newest blocks of a lane, ascending.
    async fn tail(&self, lane: LaneId, limit: usize) -> Result<Vec<LogRow>, StoreError>;

    /// The blocks `from..end`, ascending, at most `limit`: what is missing is missing.
    async fn read(
        &self,
        lane: LaneId,
        from: BlockSeq,
        end: BlockSeq,
        limit: usize,
    ) -> Result<Vec<LogRow>, StoreError>;

    /// Fences a session: when this returned, no fence read that begins later misses it.
    async fn fence(&self, session: SessionId, by: SessionId) -> Result<(), StoreError>;

    /// Who fenced a session, if anybody did.
    async fn fenced(&self, session: SessionId) -> Result<Option<SessionId>, StoreError>;

    /// Writes down over what a session panicked: one for a shard and a session.
    async fn suspect(&self, shard: ShardId, suspect: &Suspect) -> Result<(), StoreError>;

    /// What sessions wrote down of a shard. Those whose time has come may be there or not.
    async fn suspects(&self, shard: ShardId) -> Result<Vec<Suspect>, StoreError>;
}

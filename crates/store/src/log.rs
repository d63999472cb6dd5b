//! The session log and its fences: plain quorum writes and reads, never compared, never deleted.

use async_trait::async_trait;
use bytes::Bytes;
use iris_core::block::ChainHash;
use iris_core::id::{LaneId, SessionId};
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
}

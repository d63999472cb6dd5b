//! Taking over from a dead session: fence it, read where its lanes end, write back, seal. Every step
//! may be repeated, by anybody, at any time.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use iris_core::block::{ChainHash, TailBlock};
use iris_core::entry::Entry;
use iris_core::id::{LaneId, LaneNo, SessionId, ShardId};
use iris_core::seq::BlockSeq;
use iris_core::takeover::{TailError, sealed_prefix};
use iris_proto::{FormatError, stored_blocks};
use iris_store::{LogRow, SharedStore, StoreError};

/// Blocks read at first to find a lane's end; more when its anchor is further back.
const TAIL_BLOCKS: usize = 64;
/// Blocks of a lane read at once for a replay.
const READ_BLOCKS: usize = 512;

/// Why a session could not be taken over, or its log not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeoverError {
    /// The store did not answer: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log contradicts itself: someone must look.
    #[error("lane {lane}: {source}")]
    Tail {
        /// Which lane.
        lane: LaneId,
        /// What is wrong.
        source: TailError,
    },
    /// A block cannot be understood: someone must look.
    #[error("lane {lane}, block {block}: {source}")]
    Format {
        /// Which lane.
        lane: LaneId,
        /// Which block.
        block: BlockSeq,
        /// What is wrong.
        source: FormatError,
    },
    /// A block that was released is not there: someone must look.
    #[error("lane {lane}: block {block} is missing below the lane's end {end}")]
    Hole {
        /// Which lane.
        lane: LaneId,
        /// Which block.
        block: BlockSeq,
        /// Where the lane ends.
        end: BlockSeq,
    },
    /// A session that never opened cannot have claimed anything.
    #[error("session {0} is unknown")]
    Unknown(SessionId),
}

impl TakeoverError {
    /// Whether trying again can help.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Tail { .. } | Self::Format { .. } | Self::Hole { .. } | Self::Unknown(_) => false,
        }
    }
}

/// Fences a session and seals all of its lanes. `promised` is a bound that is known to be released in
/// one of its lanes.
pub(super) async fn take_over(
    store: &SharedStore,
    dead: SessionId,
    me: SessionId,
    promised: &BTreeMap<LaneNo, BlockSeq>,
) -> Result<(), TakeoverError> {
    store.fence(dead, me).await?;
    let lanes = store.lanes(dead).await?.ok_or(TakeoverError::Unknown(dead))?;
    let seal = |lane| {
        let lane = LaneId { session: dead, lane: LaneNo(lane) };
        seal(store, lane, promised.get(&lane.lane).copied().unwrap_or_default())
    };
    futures::future::try_join_all((0..lanes).map(seal)).await?;
    Ok(())
}

/// Decides where a fenced lane ends. The tail is read after the fence was written, never before.
async fn seal(
    store: &SharedStore,
    lane: LaneId,
    promised: BlockSeq,
) -> Result<BlockSeq, TakeoverError> {
    if let Some(end) = store.sealed(lane).await? {
        return Ok(end);
    }
    let rows = tail_to_anchor(store, lane).await?;
    let blocks = rows.iter().map(|row| tail_block(lane, row)).collect::<Result<Vec<_>, _>>()?;
    let prefix =
        sealed_prefix(&blocks, promised).map_err(|source| TakeoverError::Tail { lane, source })?;
    for row in &rows {
        if row.seq >= prefix.write_back_from && row.seq < prefix.end {
            store.append(lane, row).await?;
        }
    }
    let end = store.seal(lane, prefix.end).await?;
    tracing::info!(%lane, %end, found = %prefix.end, "sealed");
    Ok(end)
}

/// The newest blocks of a lane, down to the largest bound that their headers call released.
async fn tail_to_anchor(store: &SharedStore, lane: LaneId) -> Result<Vec<LogRow>, TakeoverError> {
    let mut limit = TAIL_BLOCKS;
    loop {
        let rows = store.tail(lane, limit).await?;
        let mut anchor = BlockSeq(0);
        for row in &rows {
            anchor = anchor.max(tail_block(lane, row)?.header.released);
        }
        let lowest = rows.first().map_or(BlockSeq(0), |row| row.seq);
        if rows.len() < limit || lowest <= anchor {
            return Ok(rows);
        }
        limit *= 4;
    }
}

fn tail_block(lane: LaneId, row: &LogRow) -> Result<TailBlock, TakeoverError> {
    let header = stored_blocks::decode_header(&row.block)
        .map_err(|source| TakeoverError::Format { lane, block: row.seq, source })?;
    Ok(TailBlock { seq: row.seq, prev: row.prev, hash: row.prev.after(&row.block), header })
}

/// The entries of a lane that may not be in derived rows, by shard.
#[derive(Debug, Default)]
pub(super) struct LaneTail {
    /// Blocks below hold nothing that only the log has.
    materialized: BlockSeq,
    entries: BTreeMap<ShardId, Vec<(BlockSeq, Entry)>>,
}

impl LaneTail {
    /// Reads a sealed lane from where its derived rows end.
    pub(super) async fn read(
        store: &SharedStore,
        lane: LaneId,
        end: BlockSeq,
    ) -> Result<Arc<Self>, TakeoverError> {
        let newest = store.read(lane, end.prev(), end, 1).await?;
        let mut tail = Self::default();
        if let Some(row) = newest.last() {
            tail.materialized = tail_block(lane, row)?.header.materialized;
        }
        let blocks = read_blocks(store, lane, tail.materialized, end).await?;
        for (seq, block) in blocks {
            let (_, entries) = stored_blocks::decode(block)
                .map_err(|source| TakeoverError::Format { lane, block: seq, source })?;
            for entry in entries {
                tail.entries.entry(entry.shard).or_default().push((seq, entry));
            }
        }
        Ok(Arc::new(tail))
    }

    /// The entries of a shard in the blocks from `from` on, in order.
    pub(super) fn of_shard(&self, shard: ShardId, from: BlockSeq) -> Vec<Entry> {
        let entries = self.entries.get(&shard).into_iter().flatten();
        entries.filter(|(block, _)| *block >= from).map(|(_, entry)| entry.clone()).collect()
    }
}

/// Reads `from..end` of a lane, every block of it, and checks that the blocks chain.
async fn read_blocks(
    store: &SharedStore,
    lane: LaneId,
    from: BlockSeq,
    end: BlockSeq,
) -> Result<Vec<(BlockSeq, Bytes)>, TakeoverError> {
    let mut blocks = Vec::new();
    let (mut next, mut hash): (BlockSeq, Option<ChainHash>) = (from, None);
    while next < end {
        let rows = store.read(lane, next, end, READ_BLOCKS).await?;
        if rows.is_empty() {
            return Err(TakeoverError::Hole { lane, block: next, end });
        }
        for row in rows {
            let chained = hash.is_none_or(|hash| hash == row.prev);
            if row.seq != next || !chained {
                return Err(TakeoverError::Hole { lane, block: next, end });
            }
            hash = Some(row.prev.after(&row.block));
            next = next.next();
            blocks.push((row.seq, row.block));
        }
    }
    Ok(blocks)
}

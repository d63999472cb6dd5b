//! Taking over from a dead session, as [`Takeover`] wants it: its asks are performed here, and the
//! entries of the lanes that it sealed are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use iris_core::block::{ChainHash, TailBlock};
use iris_core::entry::Entry;
use iris_core::id::{LaneId, LaneNo, SessionId, ShardId};
use iris_core::seq::{BlockSeq, Epoch, ShardSeq};
use iris_core::takeover::{self, Answer, Ask, Takeover};
use iris_proto::stored_blocks::Unusable;
use iris_proto::{FormatError, stored_blocks};
use iris_store::{LogRow, SharedStore, StoreError};

/// Blocks of a lane read at once for a replay.
const READ_BLOCKS: usize = 512;

/// Why a session could not be taken over, or its log not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeoverError {
    /// The store did not answer: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log contradicts itself: someone must look.
    #[error("session {session}: {source}")]
    Log {
        /// Which session.
        session: SessionId,
        /// What is wrong.
        source: takeover::TakeoverError,
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
    /// An entry of a shard cannot be understood: that shard stops, and someone must look.
    #[error(
        "{lane}, block {block}: the entry at position {seq} of shard {shard} cannot be understood: \
         {source}"
    )]
    Entry {
        /// Which lane, of which session.
        lane: LaneId,
        /// Which block.
        block: BlockSeq,
        /// Whose entry.
        shard: ShardId,
        /// Its position.
        seq: ShardSeq,
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
}

impl TakeoverError {
    /// Whether trying again can help.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Log { .. } | Self::Format { .. } | Self::Entry { .. } | Self::Hole { .. } => {
                false
            }
        }
    }
}

/// Fences a session and seals all of its lanes. `promised` is a bound that is known to be released in
/// one of its lanes.
pub(super) async fn take_over(
    store: &SharedStore,
    dead: SessionId,
    me: SessionId,
    promised: BTreeMap<LaneNo, BlockSeq>,
) -> Result<(), TakeoverError> {
    let mut takeover = Takeover::begin(promised);
    let mut read: BTreeMap<(LaneNo, BlockSeq), LogRow> = BTreeMap::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        for ask in takeover.wanted() {
            let row = match ask {
                Ask::WriteBack { lane, block } => read.remove(&(lane, block)),
                _ => None,
            };
            under_way.push(perform(store, dead, me, ask, row));
        }
        let Some(done) = under_way.next().await else { break };
        let (answer, rows) = done?;
        if let Answer::Tail(lane, _) = answer {
            read.extend(rows.into_iter().map(|row| ((lane, row.seq), row)));
        }
        takeover.answer(answer).map_err(|source| TakeoverError::Log { session: dead, source })?;
    }
    for (lane, end) in takeover.ended().unwrap_or_default() {
        tracing::info!(lane = %LaneId { session: dead, lane }, %end, "sealed");
    }
    Ok(())
}

/// Performs one ask; a tail comes with the rows that it was read from.
async fn perform(
    store: &SharedStore,
    dead: SessionId,
    me: SessionId,
    ask: Ask,
    row: Option<LogRow>,
) -> Result<(Answer, Vec<LogRow>), TakeoverError> {
    let of = |lane| LaneId { session: dead, lane };
    let mut rows = Vec::new();
    let answer = match ask {
        Ask::Fence => {
            store.fence(dead, me).await?;
            Answer::Fenced
        }
        Ask::Lanes => Answer::Lanes(store.lanes(dead).await?),
        Ask::Sealed(lane) => Answer::Sealed(lane, store.sealed(of(lane)).await?),
        Ask::Tail { lane, blocks } => {
            rows = store.tail(of(lane), blocks).await?;
            let tail = rows.iter().map(|row| tail_block(of(lane), row));
            Answer::Tail(lane, tail.collect::<Result<_, _>>()?)
        }
        Ask::WriteBack { lane, block } => {
            let row = row.expect("only what was read is written back");
            store.append(of(lane), &row).await?;
            Answer::WrittenBack(lane, block)
        }
        Ask::Seal { lane, end } => Answer::Sealed(lane, Some(store.seal(of(lane), end).await?)),
    };
    Ok((answer, rows))
}

fn tail_block(lane: LaneId, row: &LogRow) -> Result<TailBlock, TakeoverError> {
    let header = stored_blocks::decode_header(&row.block)
        .map_err(|source| TakeoverError::Format { lane, block: row.seq, source })?;
    Ok(TailBlock { seq: row.seq, prev: row.prev, hash: row.prev.after(&row.block), header })
}

/// An entry as it was read, and the block that it is in.
type Read = (BlockSeq, Result<Entry, Unusable>);

/// The entries of a lane that may not be in derived rows, by shard.
#[derive(Debug)]
pub(super) struct LaneTail {
    lane: LaneId,
    /// Blocks below hold nothing that only the log has.
    materialized: BlockSeq,
    entries: BTreeMap<ShardId, Vec<Read>>,
}

impl LaneTail {
    /// Reads a sealed lane from where its derived rows end.
    pub(super) async fn read(
        store: &SharedStore,
        lane: LaneId,
        end: BlockSeq,
    ) -> Result<Arc<Self>, TakeoverError> {
        let newest = store.read(lane, end.prev(), end, 1).await?;
        let (materialized, entries) = (BlockSeq(0), BTreeMap::new());
        let mut tail = Self { lane, materialized, entries };
        if let Some(row) = newest.last() {
            tail.materialized = tail_block(lane, row)?.header.materialized;
        }
        let blocks = read_blocks(store, lane, tail.materialized, end).await?;
        for (seq, block) in blocks {
            let entries = stored_blocks::decode_each(block)
                .map_err(|source| TakeoverError::Format { lane, block: seq, source })?;
            for entry in entries {
                let shard = entry.as_ref().map_or_else(|unusable| unusable.shard, |e| e.shard);
                tail.entries.entry(shard).or_default().push((seq, entry));
            }
        }
        Ok(Arc::new(tail))
    }

    /// Whether nobody wrote lately to a shard that was owned here from a block on: what was written is in
    /// rows, and there was time to write.
    pub(super) fn is_quiet(&self, shard: ShardId, first_block: BlockSeq) -> bool {
        first_block < self.materialized && !self.entries.contains_key(&shard)
    }

    /// The entries of a shard in the blocks from `from` on that are `wanted` by their ownership and
    /// position, in order. One of them that cannot be understood is an error: without it, what follows
    /// would say something else.
    pub(super) fn of_shard(
        &self,
        shard: ShardId,
        from: BlockSeq,
        wanted: impl Fn(Epoch, ShardSeq) -> bool,
    ) -> Result<Vec<Entry>, TakeoverError> {
        let entries = self.entries.get(&shard).into_iter().flatten();
        let entries = entries.filter(|(block, _)| *block >= from);
        let entry = |(block, entry): &Read| match entry {
            Ok(entry) => wanted(entry.epoch, entry.seq).then(|| Ok(entry.clone())),
            Err(Unusable { epoch, seq, source, .. }) => wanted(*epoch, *seq).then(|| {
                let (lane, block, seq, source) = (self.lane, *block, *seq, source.clone());
                Err(TakeoverError::Entry { lane, block, shard, seq, source })
            }),
        };
        entries.filter_map(entry).collect()
    }

    /// Where the entry of a shard is, if it is in this part of the log.
    pub(super) fn whereabouts(
        &self,
        shard: ShardId,
        at: (Epoch, ShardSeq),
    ) -> Option<(LaneId, BlockSeq)> {
        let mut entries = self.entries.get(&shard)?.iter();
        entries.find_map(|(block, entry)| {
            let is_it = entry.as_ref().is_ok_and(|entry| (entry.epoch, entry.seq) == at);
            is_it.then_some((self.lane, *block))
        })
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

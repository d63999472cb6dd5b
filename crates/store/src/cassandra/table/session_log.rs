//! `session_log`: the blocks of a lane, in chunks of a bounded number of rows.
//!
//! Rows are immutable: whoever writes one again writes the same bytes, so which of two writes is the
//! newer one means nothing. Their timestamps are the coordinator's: the files of a time window must
//! hold what was written in it, and a block that a recoverer writes back is new then. Never deleted;
//! a row expires whole.

use std::ops::ControlFlow;

use bytes::Bytes;
use iris_core::block::ChainHash;
use iris_core::id::LaneId;
use iris_core::limits::LOG_CHUNK_BLOCKS;
use iris_core::seq::BlockSeq;

use crate::cassandra::client::{Client, Kind, Statement};
use crate::cassandra::value::{bigint, int, lane, number, present};
use crate::{LogRow, StoreError};

/// Rows of one page: of blocks of at most 64 KiB, below what one message should be.
const PAGE: i32 = 64;

type Columns = (i64, Option<Bytes>, Option<Bytes>);

#[derive(Debug)]
pub(in crate::cassandra) struct SessionLog {
    append: Statement,
    newest: Statement,
    range: Statement,
    ttl_s: i32,
}

impl SessionLog {
    pub(super) async fn prepare(client: &Client, ttl_s: i32) -> Result<Self, StoreError> {
        let select = "SELECT seq, prev_hash, block FROM {keyspace}.session_log \
                      WHERE session = ? AND lane = ? AND chunk = ?";
        Ok(Self {
            append: client
                .prepare(
                    Kind::Append,
                    "INSERT INTO {keyspace}.session_log \
                     (session, lane, chunk, seq, prev_hash, block) VALUES (?, ?, ?, ?, ?, ?) \
                     USING TTL ?",
                )
                .await?,
            newest: client
                .prepare(Kind::TailRead, &format!("{select} ORDER BY seq DESC LIMIT ?"))
                .await?,
            range: client
                .prepare(
                    Kind::TailRead,
                    &format!("{select} AND seq >= ? AND seq < ? ORDER BY seq ASC LIMIT ?"),
                )
                .await?,
            ttl_s,
        })
    }

    pub(in crate::cassandra) async fn append(
        &self,
        client: &Client,
        of: LaneId,
        row: &LogRow,
    ) -> Result<(), StoreError> {
        let (session, lane) = key(of);
        let chunk = int("chunk", row.seq.0 / LOG_CHUNK_BLOCKS)?;
        let seq = bigint("block", row.seq.0)?;
        let values = (session, lane, chunk, seq, row.prev.0.as_slice(), &row.block, self.ttl_s);
        client.write(&self.append, values).await
    }

    /// Up to `limit` of the newest blocks of a chunk, newest first.
    pub(in crate::cassandra) async fn newest(
        &self,
        client: &Client,
        of: LaneId,
        chunk: u64,
        limit: usize,
    ) -> Result<Vec<LogRow>, StoreError> {
        let (session, lane) = key(of);
        let values = (session, lane, int("chunk", chunk)?, limited(limit));
        collect(client, &self.newest, values).await
    }

    /// Up to `limit` of the blocks `from..end` of a chunk, ascending.
    pub(in crate::cassandra) async fn range(
        &self,
        client: &Client,
        of: LaneId,
        chunk: u64,
        (from, end): (BlockSeq, BlockSeq),
        limit: usize,
    ) -> Result<Vec<LogRow>, StoreError> {
        let (session, lane) = key(of);
        // Beyond what can be stored there is nothing.
        let end = i64::try_from(end.0).unwrap_or(i64::MAX);
        let from = bigint("block", from.0)?;
        let values = (session, lane, int("chunk", chunk)?, from, end, limited(limit));
        collect(client, &self.range, values).await
    }
}

async fn collect(
    client: &Client,
    statement: &Statement,
    values: impl scylla::serialize::row::SerializeRow,
) -> Result<Vec<LogRow>, StoreError> {
    let mut found = Vec::new();
    let take = |columns: Columns| {
        found.push(row(columns)?);
        Ok(ControlFlow::Continue(()))
    };
    client.pages(statement, PAGE, values, take).await?;
    Ok(found)
}

fn key(of: LaneId) -> (uuid::Uuid, i32) {
    (of.session.uuid(), lane(of.lane))
}

fn limited(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

fn row((seq, prev, block): Columns) -> Result<LogRow, StoreError> {
    let prev = ChainHash::from_bytes(&present("prev_hash", prev)?);
    Ok(LogRow {
        seq: BlockSeq(number("seq", seq)?),
        prev: present("hash of 32 bytes", prev)?,
        block: present("block", block)?,
    })
}

//! Reading a lane across its chunks.

use iris_core::id::LaneId;
use iris_core::limits::LOG_CHUNK_BLOCKS;
use iris_core::seq::BlockSeq;

use super::client::Client;
use super::table::Tables;
use crate::{LogRow, StoreError};

/// Up to `limit` of the newest blocks, ascending, from the newest chunk down.
pub(super) async fn newest(
    client: &Client,
    tables: &Tables,
    lane: LaneId,
    limit: usize,
) -> Result<Vec<LogRow>, StoreError> {
    let Some(newest) = tables.session_lane.newest(client, lane).await? else {
        return Ok(Vec::new());
    };
    let mut rows: Vec<LogRow> = Vec::new();
    for chunk in (0..=newest).rev() {
        if rows.len() >= limit {
            break;
        }
        let wanted = limit - rows.len();
        let found = tables.session_log.newest(client, lane, chunk, wanted).await?;
        // A chunk may have been opened and not written to; below it, an empty one has expired.
        if found.is_empty() && chunk < newest {
            break;
        }
        rows.extend(found);
    }
    rows.reverse();
    Ok(rows)
}

/// Up to `limit` of the blocks `from..end`, ascending.
pub(super) async fn range(
    client: &Client,
    tables: &Tables,
    lane: LaneId,
    (from, end): (BlockSeq, BlockSeq),
    limit: usize,
) -> Result<Vec<LogRow>, StoreError> {
    if end <= from {
        return Ok(Vec::new());
    }
    let chunk_of = |block: BlockSeq| block.0 / LOG_CHUNK_BLOCKS;
    let mut last = chunk_of(end.prev());
    if last > chunk_of(from) {
        // A caller may ask for everything: chunks that were never opened are not looked into.
        let newest = tables.session_lane.newest(client, lane).await?;
        last = last.min(newest.unwrap_or_default());
    }
    let mut rows: Vec<LogRow> = Vec::new();
    for chunk in chunk_of(from)..=last {
        if rows.len() >= limit {
            break;
        }
        let wanted = limit - rows.len();
        rows.extend(tables.session_log.range(client, lane, chunk, (from, end), wanted).await?);
    }
    Ok(rows)
}

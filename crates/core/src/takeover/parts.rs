//! Which parts of which lanes a claimed shard is replayed from.

use crate::id::LaneNo;
use crate::id::SessionId;
use crate::seq::{BlockSeq, Epoch};

use super::EpochRow;

/// Blocks of a lane with entries of a shard that no derived row is known to reflect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPart {
    /// Only entries of this ownership count.
    pub epoch: Epoch,
    /// Whose lane.
    pub session: SessionId,
    /// Which of the session's.
    pub lane: LaneNo,
    /// The first block.
    pub from: BlockSeq,
    /// The first block after it.
    pub end: BlockSeq,
}

/// Whether these are all ownerships from `from` on, or from the first one, to the one before `claimed`.
/// They are numbered without gaps; without one of them its entries would be missing.
pub fn are_all(rows: &[EpochRow], from: Epoch, claimed: Epoch) -> bool {
    rows.iter().map(|row| row.epoch.0).eq(from.0.max(1)..claimed.0)
}

/// The parts of the log behind a checkpoint, in order: of each ownership from the checkpoint's to the
/// one before `claimed`, up to its release or seal, which come with the rows.
pub fn log_parts(
    checkpoint: Option<(Epoch, BlockSeq)>,
    rows: &[(EpochRow, BlockSeq)],
    claimed: Epoch,
) -> Vec<LogPart> {
    let part = |(row, end): &(EpochRow, BlockSeq)| {
        let from = match checkpoint {
            Some((epoch, block)) if epoch == row.epoch => block,
            Some(_) | None => row.first_block,
        };
        LogPart { epoch: row.epoch, session: row.session, lane: row.lane, from, end: *end }
    };
    let ahead = |(row, _): &&(EpochRow, BlockSeq)| {
        row.epoch < claimed && checkpoint.is_none_or(|(epoch, _)| row.epoch >= epoch)
    };
    rows.iter().filter(ahead).map(part).filter(|part| part.from < part.end).collect()
}

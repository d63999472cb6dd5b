//! Taking over from a dead session: where its lanes end, and who may claim its shards.
//!
//! The order of the reads and writes is decided here, by [`Takeover`]; the shell performs them.

mod parts;
mod sealing;
#[cfg(test)]
mod tests;

use crate::block::TailBlock;
use crate::id::{LaneNo, SessionId};
use crate::mutation::{self, Mutation};
use crate::seq::{BlockSeq, Epoch};

pub use parts::{LogPart, are_all, log_parts};
pub use sealing::{Answer, Ask, Takeover, TakeoverError};

/// One ownership of a shard, as its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochRow {
    /// Which ownership.
    pub epoch: Epoch,
    /// Whose.
    pub session: SessionId,
    /// The lane of that session that holds the shard's entries.
    pub lane: LaneNo,
    /// Entries of this ownership are in no block below.
    pub first_block: BlockSeq,
    /// Set once by the owner: no entry is in this block or above.
    pub released_block: Option<BlockSeq>,
}

/// Where a lane ends, by what a recoverer read after its fence was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// The lane's first block that does not exist.
    pub end: BlockSeq,
    /// From here on the blocks may be on a minority: they are written back before the seal.
    pub write_back_from: BlockSeq,
}

/// A tail that must not be sealed: it contradicts what was promised. Someone must look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TailError {
    /// The tail ends below a block that is known to have been released.
    #[error("the tail ends at block {end}, below block {promised}, which was released")]
    EndsBelowPromise {
        /// Where the tail ends.
        end: BlockSeq,
        /// What was promised.
        promised: BlockSeq,
    },
    /// Two neighbours do not chain, below a block that was released.
    #[error("block {seq} does not follow from the block before it")]
    Broken {
        /// The upper neighbour.
        seq: BlockSeq,
    },
}

/// The longest contiguous, chained prefix of a lane.
///
/// `tail` holds what was read, ascending, at least everything from the anchor (the largest `released`
/// in a header) on. `promised` is the largest bound known from elsewhere: a `released_block` of one of
/// the lane's shards, a checkpoint.
pub fn sealed_prefix(tail: &[TailBlock], promised: BlockSeq) -> Result<Prefix, TailError> {
    let anchor = tail.iter().map(|block| block.header.released).max().unwrap_or_default();
    let mut end = anchor;
    let mut below = tail.iter().find(|block| block.seq.next() == anchor).map(|block| block.hash);
    for block in tail.iter().filter(|block| block.seq >= anchor) {
        if block.seq != end {
            break;
        }
        if below.is_some_and(|hash| hash != block.prev) {
            break;
        }
        below = Some(block.hash);
        end = end.next();
    }
    let promised = promised.max(anchor);
    if end < promised {
        return Err(TailError::EndsBelowPromise { end, promised });
    }
    check_released(tail, anchor)?;
    Ok(Prefix { end, write_back_from: anchor })
}

/// Below the anchor every block was released, so neighbours that were both read must chain.
fn check_released(tail: &[TailBlock], anchor: BlockSeq) -> Result<(), TailError> {
    for pair in tail.windows(2) {
        let [lower, upper] = pair else { continue };
        let neighbours = lower.seq.next() == upper.seq && upper.seq < anchor;
        if neighbours && lower.hash != upper.prev {
            return Err(TailError::Broken { seq: upper.seq });
        }
    }
    Ok(())
}

/// How the newest ownership of a shard was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As a quorum has it: a later one may be decided, or the release of this one.
    Plain,
    /// As it is, and what was undecided is decided.
    Serial,
}

/// Whether a shard may be claimed, by the row of its newest epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimable {
    /// Claim this epoch. The entries of the epoch before end at `ends_at` of its lane.
    Yes {
        /// The epoch to claim.
        epoch: Epoch,
        /// Where the ownership before ends, if there was one.
        ends_at: Option<BlockSeq>,
    },
    /// It may not, as far as a plain reading knows: that is good for a claim, which is refused where it
    /// is out of date, and says nothing else.
    Unclear,
    /// The claimer's own session has it already: serve or release it.
    Mine(Epoch),
    /// Another session has it, and is neither released nor sealed.
    Held(EpochRow),
}

/// The rule of claims: an epoch is followed only by one whose claimer saw it released, or saw its
/// session sealed. Both never change once they are so; the claim itself is a compare-and-swap.
pub fn claimable(
    me: SessionId,
    (head, reading): (Option<&EpochRow>, Reading),
    seal: Option<BlockSeq>,
) -> Claimable {
    let Some(row) = head else {
        return Claimable::Yes { epoch: Epoch(1), ends_at: None };
    };
    let ends_at = match (row.released_block, seal) {
        (Some(released), Some(sealed)) => Some(released.min(sealed)),
        (Some(end), None) | (None, Some(end)) => Some(end),
        (None, None) => None,
    };
    match ends_at {
        Some(end) => Claimable::Yes { epoch: row.epoch.next(), ends_at: Some(end) },
        None if reading == Reading::Plain && !mutation::is_on(Mutation::N9) => Claimable::Unclear,
        None if row.session == me => Claimable::Mine(row.epoch),
        None if mutation::is_on(Mutation::N2) => {
            Claimable::Yes { epoch: row.epoch.next(), ends_at: None }
        }
        None => Claimable::Held(*row),
    }
}

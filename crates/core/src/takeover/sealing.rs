//! Fencing a dead session and sealing its lanes: every step may be repeated, by anybody, at any time.

use std::collections::BTreeMap;

use crate::block::TailBlock;
use crate::id::LaneNo;
use crate::mutation::{self, Mutation};
use crate::seq::BlockSeq;

use super::{TailError, sealed_prefix};

/// Blocks read at first to find a lane's end; more when its anchor is further back.
const TAIL_BLOCKS: usize = 64;
/// How many times more are read then.
const TAIL_GROWTH: usize = 4;

/// What a takeover wants of the store. What it wants at the same time is independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// Write the session's fence.
    Fence,
    /// Read how many lanes the session has.
    Lanes,
    /// Read, serially, where a lane was sealed.
    Sealed(LaneNo),
    /// Read the newest blocks of a lane.
    Tail {
        /// Which lane.
        lane: LaneNo,
        /// At most so many.
        blocks: usize,
    },
    /// Write a block of a tail again, byte for byte as it was read.
    WriteBack {
        /// Which lane.
        lane: LaneNo,
        /// Which block.
        block: BlockSeq,
    },
    /// Seal a lane, unless it is sealed already.
    Seal {
        /// Which lane.
        lane: LaneNo,
        /// Where.
        end: BlockSeq,
    },
}

/// What the store answered. A failure is not an answer: the same is asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Fence`].
    Fenced,
    /// To [`Ask::Lanes`]; nothing for a session that never opened.
    Lanes(Option<u8>),
    /// To [`Ask::Sealed`] and [`Ask::Seal`]: where the lane ends, if that is decided.
    Sealed(LaneNo, Option<BlockSeq>),
    /// To [`Ask::Tail`]: ascending.
    Tail(LaneNo, Vec<TailBlock>),
    /// To [`Ask::WriteBack`].
    WrittenBack(LaneNo, BlockSeq),
}

/// Why a session cannot be taken over: someone must look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TakeoverError {
    /// A lane contradicts what was promised.
    #[error("lane {lane}: {source}")]
    Tail {
        /// Which.
        lane: LaneNo,
        /// What is wrong.
        source: TailError,
    },
    /// A session that never opened cannot have claimed anything.
    #[error("the session is unknown")]
    Unknown,
}

/// The takeover of one dead session.
///
/// Fences, then reads each lane's tail, writes back what may be on a minority, and seals. Ask
/// [`Takeover::wanted`] after each answer; it ends when nothing is wanted and nothing is under way.
#[derive(Debug)]
pub struct Takeover {
    /// Where each lane is known to have been released, by what else the caller knows.
    promised: BTreeMap<LaneNo, BlockSeq>,
    wanted: Vec<Ask>,
    lanes: BTreeMap<LaneNo, Sealing>,
}

/// A lane on its way to its seal.
#[derive(Debug)]
struct Sealing {
    asked_blocks: usize,
    end: BlockSeq,
    to_write_back: usize,
    sealed: Option<BlockSeq>,
}

impl Takeover {
    /// Of a session whose lanes are known to have been released up to `promised`.
    pub fn begin(promised: BTreeMap<LaneNo, BlockSeq>) -> Self {
        let mut wanted = vec![Ask::Fence];
        if mutation::is_on(Mutation::M2) {
            wanted.push(Ask::Lanes);
        }
        Self { promised, wanted, lanes: BTreeMap::new() }
    }

    /// What is wanted of the store now, once.
    pub fn wanted(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.wanted)
    }

    /// Where the lanes ended, once all of them are sealed.
    pub fn ended(&self) -> Option<BTreeMap<LaneNo, BlockSeq>> {
        let sealed = |(lane, sealing): (&LaneNo, &Sealing)| Some((*lane, sealing.sealed?));
        let ends: Option<BTreeMap<_, _>> = self.lanes.iter().map(sealed).collect();
        ends.filter(|ends| !ends.is_empty())
    }

    /// Takes an answer of the store.
    pub fn answer(&mut self, answer: Answer) -> Result<(), TakeoverError> {
        match answer {
            // Only now: what is read of the lanes later holds all that was ever released.
            Answer::Fenced if mutation::is_on(Mutation::M2) => {}
            Answer::Fenced => self.wanted.push(Ask::Lanes),
            Answer::Lanes(None) => return Err(TakeoverError::Unknown),
            Answer::Lanes(Some(lanes)) => {
                self.wanted.extend((0..lanes).map(|lane| Ask::Sealed(LaneNo(lane))));
                self.lanes = (0..lanes).map(|lane| (LaneNo(lane), Sealing::new())).collect();
            }
            Answer::Sealed(lane, Some(end)) => {
                if let Some(sealing) = self.lanes.get_mut(&lane) {
                    sealing.sealed = Some(end);
                }
            }
            Answer::Sealed(lane, None) => {
                self.wanted.push(Ask::Tail { lane, blocks: TAIL_BLOCKS });
            }
            Answer::Tail(lane, tail) => self.read(lane, &tail)?,
            Answer::WrittenBack(lane, _) => self.written_back(lane),
        }
        Ok(())
    }

    fn read(&mut self, lane: LaneNo, tail: &[TailBlock]) -> Result<(), TakeoverError> {
        let Some(sealing) = self.lanes.get_mut(&lane) else { return Ok(()) };
        if !reaches_anchor(tail, sealing.asked_blocks) {
            sealing.asked_blocks *= TAIL_GROWTH;
            self.wanted.push(Ask::Tail { lane, blocks: sealing.asked_blocks });
            return Ok(());
        }
        let promised = self.promised.get(&lane).copied().unwrap_or_default();
        let prefix =
            sealed_prefix(tail, promised).map_err(|source| TakeoverError::Tail { lane, source })?;
        sealing.end = prefix.end;
        let unsure = tail.iter().map(|block| block.seq).filter(|seq| {
            *seq >= prefix.write_back_from && *seq < prefix.end && !mutation::is_on(Mutation::M3)
        });
        let before = self.wanted.len();
        self.wanted.extend(unsure.map(|block| Ask::WriteBack { lane, block }));
        sealing.to_write_back = self.wanted.len() - before;
        if sealing.to_write_back == 0 {
            self.wanted.push(Ask::Seal { lane, end: prefix.end });
        }
        Ok(())
    }

    fn written_back(&mut self, lane: LaneNo) {
        let Some(sealing) = self.lanes.get_mut(&lane) else { return };
        sealing.to_write_back = sealing.to_write_back.saturating_sub(1);
        if sealing.to_write_back == 0 && sealing.sealed.is_none() {
            self.wanted.push(Ask::Seal { lane, end: sealing.end });
        }
    }
}

impl Sealing {
    fn new() -> Self {
        Self { asked_blocks: TAIL_BLOCKS, end: BlockSeq(0), to_write_back: 0, sealed: None }
    }
}

/// Whether a tail reaches down to the largest bound that its headers call released; one with fewer
/// blocks than asked for is the whole lane.
fn reaches_anchor(tail: &[TailBlock], asked: usize) -> bool {
    let anchor = tail.iter().map(|block| block.header.released).max().unwrap_or_default();
    let lowest = tail.first().map_or(BlockSeq(0), |block| block.seq);
    tail.len() < asked || lowest <= anchor
}

//! What there is at a moment: three sessions with a lane each, and the epoch rows of two shards.
//!
//! Never decides: the steps are in `step`.

use crate::list::List;

/// How many sessions there are.
pub const SESSIONS: usize = 3;
/// How many shards there are.
pub const SHARDS: usize = 2;

/// The widest bound of blocks in a lane.
pub const LANE_BLOCKS_MAX: usize = 3;
/// The widest bound of epochs of a shard, and of the entries in it.
pub const ROWS_MAX: usize = 4;

/// The entries of a shard, in order.
pub type Entries = List<EntryId, 4>;

/// A session: an index.
pub type SessionNo = u8;
/// A shard: an index.
pub type ShardNo = u8;
/// A block of a lane: its number; also the first block that is not meant.
pub type BlockSeq = u8;
/// An epoch of a shard, from 1.
pub type Epoch = u8;

/// Everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// The sessions, with their logs.
    pub sessions: [Session; SESSIONS],
    /// The shards' epoch rows.
    pub shards: [Shard; SHARDS],
}

/// A session, its log, its fence and its seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Session {
    /// A dead session takes no step; what it sent may still arrive.
    pub is_dead: bool,
    /// Whether a write of its fence succeeded, so that every later read sees it.
    pub is_fenced: bool,
    /// Where its lane was decided to end.
    pub seal: Option<BlockSeq>,
    /// The blocks that it formed and began to write.
    pub blocks: List<Block, LANE_BLOCKS_MAX>,
    /// Blocks below were durable when a fence read began that saw none.
    pub checked: BlockSeq,
    /// Blocks below are released once they are durable. The same, but with M1.
    pub covered: BlockSeq,
    /// Which blocks are released: a bit each, as a defect may leave gaps.
    pub released: u8,
    /// What it does with each shard.
    pub holds: [Hold; SHARDS],
    /// Its claims whose outcome nobody knows yet: the store may perform them at any time, or never.
    pub claims: [Option<Claim>; SHARDS],
    /// What it does about a session that is taken for dead.
    pub takeover: Takeover,
}

/// A block: at most one entry of each shard.
///
/// A block that is not durable may be on any minority of the replicas, or arrive there later, so a
/// read may or may not see it; a durable one is seen by every read that begins later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Block {
    /// For each shard, the epoch under which its entry was appended.
    pub entries: [Option<Epoch>; SHARDS],
    /// Whether a quorum is known to have it.
    pub is_durable: bool,
}

/// What a session does with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Hold {
    /// Nothing.
    #[default]
    Nothing,
    /// It admits entries.
    Serving(Epoch),
    /// It admits nothing; everything below `end` was released when it stopped. Without N3 the
    /// release is sent in the same step: waiting here, or giving up, would only take steps away.
    Drained {
        /// The ownership.
        epoch: Epoch,
        /// The block that the release will name.
        end: BlockSeq,
    },
    /// The release was sent: the store may perform it at any time, or never.
    Releasing {
        /// The ownership.
        epoch: Epoch,
        /// The block that the release names.
        end: BlockSeq,
    },
}

/// A claim that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The epoch that it makes.
    pub epoch: Epoch,
    /// The claimer's next block when it was sent.
    pub first_block: BlockSeq,
}

/// How far a takeover has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Takeover {
    /// There is none.
    #[default]
    Nothing,
    /// The tail of `of` was read after its fence was written: it ends at `end`.
    Read {
        /// The dead session.
        of: SessionNo,
        /// The longest prefix that was seen.
        end: BlockSeq,
    },
    /// The prefix is written back and the seal was sent: the store may perform it at any time.
    Sealing {
        /// The dead session.
        of: SessionNo,
        /// Where the seal says that the lane ends.
        end: BlockSeq,
    },
}

/// A shard: its epoch rows, the first of epoch 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Shard {
    /// The rows.
    pub rows: List<Row, ROWS_MAX>,
}

/// An ownership of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Row {
    /// Whose.
    pub session: SessionNo,
    /// No entry of this ownership is in a block below.
    pub first_block: BlockSeq,
    /// Set by a release: no entry of this ownership is in this block or above.
    pub released_block: Option<BlockSeq>,
    /// The entries that its owner recovered, in order, once it has: what it served from then on.
    pub recovered: Option<Entries>,
}

/// An entry of a shard: the session and the block that hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    /// Whose log.
    pub session: SessionNo,
    /// Which block of it.
    pub block: BlockSeq,
}

impl State {
    /// The first session owns both shards; the others wait.
    pub fn initial() -> Self {
        let mut sessions: [Session; SESSIONS] = Default::default();
        sessions[0].holds = [Hold::Serving(1); SHARDS];
        let row = Row {
            session: 0,
            first_block: 0,
            released_block: None,
            recovered: Some(Entries::default()),
        };
        Self { sessions, shards: [Shard { rows: [row].into_iter().collect() }; SHARDS] }
    }

    /// A session.
    pub fn session(&self, session: SessionNo) -> &Session {
        &self.sessions[usize::from(session)]
    }

    /// A session, to change it.
    pub fn session_mut(&mut self, session: SessionNo) -> &mut Session {
        &mut self.sessions[usize::from(session)]
    }

    /// The same but for names: the two sessions that wait, and the two shards, are alike.
    ///
    /// Every property says the same of both.
    pub fn representative(&self) -> Self {
        let others = self.swap_waiting();
        let (shards, both) = (self.swap_shards(), others.swap_shards());
        [others, shards, both].into_iter().fold(*self, Ord::min)
    }

    fn swap_waiting(&self) -> Self {
        let swap = |session: SessionNo| match session {
            1 => 2,
            2 => 1,
            first => first,
        };
        let mut next = *self;
        next.sessions.swap(1, 2);
        for session in &mut next.sessions {
            match &mut session.takeover {
                Takeover::Nothing => {}
                Takeover::Read { of, .. } | Takeover::Sealing { of, .. } => {
                    *of = swap(*of);
                }
            }
        }
        for row in next.shards.iter_mut().flat_map(|shard| shard.rows.iter_mut()) {
            row.session = swap(row.session);
            for entry in row.recovered.iter_mut().flat_map(|entries| entries.iter_mut()) {
                entry.session = swap(entry.session);
            }
        }
        next
    }

    fn swap_shards(&self) -> Self {
        let mut next = *self;
        next.shards.swap(0, 1);
        for session in &mut next.sessions {
            session.holds.swap(0, 1);
            session.claims.swap(0, 1);
            session.blocks.iter_mut().for_each(|block| block.entries.swap(0, 1));
        }
        next
    }

    /// A shard.
    pub fn shard(&self, shard: ShardNo) -> &Shard {
        &self.shards[usize::from(shard)]
    }
}

impl Session {
    /// The number of the block that it forms next.
    pub fn next_block(&self) -> BlockSeq {
        number(self.blocks.len())
    }

    /// Blocks below are durable, without a gap.
    pub fn durable(&self) -> BlockSeq {
        number(self.blocks.iter().take_while(|block| block.is_durable).count())
    }

    /// Blocks below are released, without a gap.
    pub fn released_below(&self) -> BlockSeq {
        number(self.released.trailing_ones() as usize)
    }

    /// The block after the last released one; the same, unless blocks are released out of order.
    pub fn released_upto(&self) -> BlockSeq {
        number((u8::BITS - self.released.leading_zeros()) as usize)
    }

    /// Whether a block is released.
    pub fn has_released(&self, block: BlockSeq) -> bool {
        self.released & (1 << block) != 0
    }

    /// The blocks that hold entries of a shard's epoch, ascending.
    pub fn blocks_of(&self, shard: ShardNo, epoch: Epoch) -> impl Iterator<Item = BlockSeq> {
        let of = move |block: &Block| block.entries[usize::from(shard)] == Some(epoch);
        (0..).zip(self.blocks.iter()).filter(move |(_, block)| of(block)).map(|(seq, _)| seq)
    }
}

impl Shard {
    /// The newest epoch.
    pub fn head(&self) -> Epoch {
        number(self.rows.len())
    }

    /// The row of the newest epoch.
    pub fn head_row(&self) -> &Row {
        self.rows.last().expect("a shard starts with an owner")
    }

    /// The epochs with their rows, ascending.
    pub fn epochs(&self) -> impl Iterator<Item = (Epoch, &Row)> {
        (1..).zip(self.rows.iter())
    }
}

/// A small count as a number.
pub(crate) fn number(count: usize) -> u8 {
    u8::try_from(count).expect("a model is small")
}

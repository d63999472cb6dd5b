//! A lane's pipeline: entries gather in an open block, blocks are written, become durable in any
//! order, and are released in order once a fence read covered them.
//!
//! The lane never decides about entries; it keeps the commit rule of the shard log.

mod pacer;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use crate::block::BlockHeader;
use crate::clock::MonoUs;
use crate::entry::Entry;
use crate::id::ShardId;
use crate::limits;
use crate::mutation::{self, Mutation};
use crate::seq::{BlockSeq, ShardSeq};

pub use pacer::Pacer;

/// One lane of a session. See the module.
#[derive(Debug)]
pub struct Lane {
    open: Open,
    /// The number of the open block.
    next: BlockSeq,
    /// Formed and not released, in order; the front is `released`.
    pending: VecDeque<Pending>,
    /// Blocks below are released.
    released: BlockSeq,
    /// Blocks below are durable, without a gap.
    durable: BlockSeq,
    unreleased_entries: usize,
    unreleased_bytes: usize,
    /// A block takes no more entries.
    block_entries_max: usize,
    pacer: Pacer,
}

#[derive(Debug, Default)]
struct Open {
    entries: Vec<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Pending {
    /// For each shard in the block, the position after its last entry in it.
    ends: BTreeMap<ShardId, ShardSeq>,
    entries: usize,
    bytes: usize,
    durable: bool,
    formed_at: MonoUs,
}

/// A block whose content is frozen: the shell encodes it once and writes exactly these bytes until
/// the write succeeds.
#[derive(Debug)]
pub struct Formed {
    /// Its number.
    pub seq: BlockSeq,
    /// Its header.
    pub header: BlockHeader,
    /// Its entries.
    pub entries: Vec<Entry>,
}

/// What a release lets go: for one shard, every position below `upto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// The shard.
    pub shard: ShardId,
    /// The first position that is not released.
    pub upto: ShardSeq,
}

impl Lane {
    /// An empty lane of a session that has `lanes` of them.
    pub fn new(lanes: u8) -> Self {
        Self::with_blocks_of(lanes, limits::BLOCK_ENTRIES_MAX)
    }

    /// A lane whose blocks hold at most so many entries: with few, many blocks are on their way at once.
    pub fn with_blocks_of(lanes: u8, block_entries_max: usize) -> Self {
        Self {
            open: Open::default(),
            next: BlockSeq(0),
            pending: VecDeque::new(),
            released: BlockSeq(0),
            durable: BlockSeq(0),
            unreleased_entries: 0,
            unreleased_bytes: 0,
            block_entries_max: block_entries_max.clamp(1, limits::BLOCK_ENTRIES_MAX),
            pacer: Pacer::new(lanes),
        }
    }

    /// Puts an entry into the open block; answers the block that will hold it.
    pub fn append(&mut self, entry: Entry) -> BlockSeq {
        self.open.bytes += entry.weight();
        self.open.entries.push(entry);
        self.next
    }

    /// Whether the open block has an entry of `shard`.
    pub fn holds_open(&self, shard: ShardId) -> bool {
        self.open.entries.iter().any(|entry| entry.shard == shard)
    }

    /// Whether the lane has so much on its way that new sends must be refused.
    pub fn is_full(&self) -> bool {
        self.unreleased_entries + self.open.entries.len() >= limits::LANE_UNRELEASED_ENTRIES_MAX
            || self.unreleased_bytes + self.open.bytes >= limits::LANE_UNRELEASED_BYTES_MAX
    }

    /// The number that the next formed block gets.
    pub fn next_block(&self) -> BlockSeq {
        self.next
    }

    /// Blocks below are released.
    pub fn released(&self) -> BlockSeq {
        self.released
    }

    /// Whether everything appended is released.
    pub fn is_settled(&self) -> bool {
        self.open.entries.is_empty() && self.pending.is_empty()
    }

    /// Since when the oldest unreleased block waits.
    pub fn oldest_pending(&self) -> Option<MonoUs> {
        self.pending.front().map(|block| block.formed_at)
    }

    /// When [`Lane::form`] will have a block to give, if nothing else happens; nothing when it waits
    /// for a write to end or for an entry.
    pub fn form_at(&self) -> Option<MonoUs> {
        if self.open.entries.is_empty() || self.in_flight() >= limits::BLOCKS_IN_FLIGHT_MAX {
            return None;
        }
        if self.is_open_full() {
            return Some(MonoUs(0));
        }
        if self.in_flight() > 0 { None } else { Some(self.pacer.due()) }
    }

    /// Freezes the open block when it is due: full, or no write is under way and the pace allows it.
    pub fn form(&mut self, now: MonoUs, materialized: BlockSeq) -> Option<Formed> {
        self.form_at().filter(|due| *due <= now)?;
        Some(self.freeze(now, materialized))
    }

    /// Freezes the open block whatever the pace, even an empty one: a lane that shows that it lives.
    pub fn form_now(&mut self, now: MonoUs, materialized: BlockSeq) -> Formed {
        self.freeze(now, materialized)
    }

    fn freeze(&mut self, now: MonoUs, materialized: BlockSeq) -> Formed {
        let open = std::mem::take(&mut self.open);
        let (entries, rest, bytes) = cut(open, self.block_entries_max);
        let mut ends = BTreeMap::new();
        for entry in &entries {
            ends.insert(entry.shard, entry.seq.next());
        }
        self.pacer.formed(now, entries.len());
        self.unreleased_entries += entries.len();
        self.unreleased_bytes += bytes;
        self.pending.push_back(Pending {
            ends,
            entries: entries.len(),
            bytes,
            durable: false,
            formed_at: now,
        });
        self.open = rest;
        let seq = self.next;
        self.next = seq.next();
        Formed { seq, header: BlockHeader { released: self.released, materialized }, entries }
    }

    /// The write of block `seq` succeeded.
    ///
    /// # Panics
    /// When that block is not on its way: the shell reported it twice or made it up.
    pub fn written(&mut self, seq: BlockSeq) {
        if seq < self.released && releases_early() {
            return;
        }
        let index = self.released.until(seq);
        let index = usize::try_from(index).expect("fits memory");
        let block = self.pending.get_mut(index).expect("only formed blocks are written");
        assert!(!block.durable, "a block becomes durable once");
        block.durable = true;
        let ahead = usize::try_from(self.released.until(self.durable)).expect("fits memory");
        let more = self.pending.iter().skip(ahead).take_while(|block| block.durable).count();
        self.durable = BlockSeq(self.durable.0 + u64::try_from(more).expect("fits"));
    }

    /// What a fence read that starts now covers: the blocks below are durable without a gap.
    pub fn cover(&self) -> BlockSeq {
        if mutation::is_on(Mutation::M1) {
            return self.next;
        }
        if mutation::is_on(Mutation::M6) {
            let last = self.pending.iter().rposition(|block| block.durable);
            let count = last.map_or(0, |index| u64::try_from(index + 1).expect("fits"));
            return BlockSeq(self.released.0 + count);
        }
        self.durable
    }

    /// Whether a fence read would release something.
    pub fn wants_fence_read(&self) -> bool {
        self.cover() > self.released
    }

    /// A fence read that began when [`Lane::cover`] was `cover` saw no fence.
    pub fn release(&mut self, now: MonoUs, cover: BlockSeq) -> Vec<Release> {
        assert!(cover <= self.durable || releases_early(), "a cover was durable when it was taken");
        let mut ends = BTreeMap::new();
        while self.released < cover {
            let block = self.pending.pop_front().expect("released trails the formed blocks");
            self.unreleased_entries -= block.entries;
            self.unreleased_bytes -= block.bytes;
            self.pacer.committed(now.us_since(block.formed_at));
            ends.extend(block.ends);
            self.released = self.released.next();
        }
        self.durable = self.durable.max(self.released);
        ends.into_iter().map(|(shard, upto)| Release { shard, upto }).collect()
    }

    fn in_flight(&self) -> usize {
        self.pending.iter().filter(|block| !block.durable).count()
    }

    fn is_open_full(&self) -> bool {
        self.open.entries.len() >= self.block_entries_max
            || self.open.bytes >= limits::BLOCK_BYTES_MAX
    }
}

/// Whether a defect is on with which blocks are released that are not durable.
fn releases_early() -> bool {
    mutation::is_on(Mutation::M1) || mutation::is_on(Mutation::M6)
}

/// Takes one block's worth off the front; an entry that alone is above the bytes is a block.
fn cut(open: Open, entries_max: usize) -> (Vec<Entry>, Open, usize) {
    let mut bytes = 0;
    let mut count = 0;
    for entry in &open.entries {
        let weight = entry.weight();
        if count > 0 && (count == entries_max || bytes + weight > limits::BLOCK_BYTES_MAX) {
            break;
        }
        bytes += weight;
        count += 1;
    }
    let mut entries = open.entries;
    let rest = entries.split_off(count);
    (entries, Open { bytes: open.bytes - bytes, entries: rest }, bytes)
}

//! Blocks: the group commits of a lane, linked by a hash chain.

use std::fmt;

use crate::seq::BlockSeq;

/// The hash of a block and, through it, of every block of the lane before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// What the first block of a lane has before it.
    pub const START: Self = Self([0; 32]);

    /// The hash after a block of these bytes (BLAKE3 over the hash before and the bytes).
    #[must_use]
    pub fn after(self, block: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(block);
        Self(*hasher.finalize().as_bytes())
    }

    /// From 32 stored bytes; nothing for another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainHash({})", data_encoding::HEXLOWER.encode(&self.0[..6]))
    }
}

/// What a block says besides its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockHeader {
    /// Every block below was released when this one was formed.
    pub released: BlockSeq,
    /// Every entry in blocks below is in derived rows.
    pub materialized: BlockSeq,
}

/// A block as a recoverer reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailBlock {
    /// Its number in the lane.
    pub seq: BlockSeq,
    /// The hash before it, as it says.
    pub prev: ChainHash,
    /// The hash after it, computed from its bytes.
    pub hash: ChainHash,
    /// Its header.
    pub header: BlockHeader,
}

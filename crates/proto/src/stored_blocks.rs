//! Log blocks, as stored: encoded once, hashed into the lane's chain, decoded by whoever replays.

use bytes::Bytes;
use iris_core::block::BlockHeader;
use iris_core::entry::Entry;
use iris_core::id::ShardId;
use iris_core::seq::{BlockSeq, Epoch, ShardSeq};
use prost::Message as _;

use crate::stored_entries::{entry_from_stored, entry_to_stored, shard};
use crate::{FormatError, stored};

/// The version that this program writes, and the newest that it reads.
pub const BLOCK_VERSION: u32 = 1;

/// The bytes of a block. They are written until the write succeeds, and never formed again.
pub fn encode(header: BlockHeader, entries: &[Entry]) -> Bytes {
    let block = stored::Block {
        version: BLOCK_VERSION,
        released: header.released.0,
        materialized: header.materialized.0,
        entries: entries.iter().map(entry_to_stored).collect(),
    };
    block.encode_to_vec().into()
}

/// A block's header, without its entries.
pub fn decode_header(bytes: &Bytes) -> Result<BlockHeader, FormatError> {
    Ok(decode_block(bytes.clone())?.0)
}

/// A block.
pub fn decode(bytes: Bytes) -> Result<(BlockHeader, Vec<Entry>), FormatError> {
    let (header, entries) = decode_block(bytes)?;
    let entries = entries.into_iter().map(entry_from_stored).collect::<Result<_, _>>()?;
    Ok((header, entries))
}

/// An entry that cannot be understood: of which shard it is, and where, can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// For which shard.
    pub shard: ShardId,
    /// Under which ownership.
    pub epoch: Epoch,
    /// At which position.
    pub seq: ShardSeq,
    /// What is wrong.
    pub source: FormatError,
}

/// The entries of a block, each for itself: what is wrong with one is its own shard's affair.
pub fn decode_each(bytes: Bytes) -> Result<Vec<Result<Entry, Unusable>>, FormatError> {
    let (_, entries) = decode_block(bytes)?;
    let each = |entry: stored::Entry| {
        let (shard, epoch, seq) = (shard(entry.shard)?, Epoch(entry.epoch), ShardSeq(entry.seq));
        let unusable = |source| Unusable { shard, epoch, seq, source };
        Ok(entry_from_stored(entry).map_err(unusable))
    };
    entries.into_iter().map(each).collect()
}

fn decode_block(bytes: Bytes) -> Result<(BlockHeader, Vec<stored::Entry>), FormatError> {
    let block = stored::Block::decode(bytes)?;
    if block.version == 0 || block.version > BLOCK_VERSION {
        return Err(FormatError::TooNew(block.version));
    }
    let header = BlockHeader {
        released: BlockSeq(block.released),
        materialized: BlockSeq(block.materialized),
    };
    Ok((header, block.entries))
}

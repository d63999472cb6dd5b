//! Control rows: who owns which shard, and where dead sessions end. Compare-and-swap only; no plain write
//! ever touches these tables. They are read serially, but for what is decided and does not change.

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use iris_core::id::{LaneId, ShardId};
use iris_core::seq::{BlockSeq, Epoch, HomeGen};
use iris_core::takeover::EpochRow;

use crate::StoreError;

/// A shard in one of its home regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardRef {
    /// The shard.
    pub shard: ShardId,
    /// Its home region, counted.
    pub home_gen: HomeGen,
}

/// The outcome of a compare-and-swap that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cas {
    /// It was applied.
    Applied,
    /// Its condition did not hold, and nothing changed.
    Refused,
}

/// Heads that are read at the same time by [`ControlStore::heads`].
const HEADS_AT_ONCE: usize = 32;

/// Epochs and seals. Every method that writes is a compare-and-swap: [`StoreError::Unknown`] means that
/// the caller must read before it believes anything, and must not repeat it blindly.
#[async_trait]
pub trait ControlStore: Send + Sync + 'static {
    /// The newest ownership of a shard, serially; nothing for a shard that nobody ever had.
    async fn epoch_head(&self, shard: ShardRef) -> Result<Option<EpochRow>, StoreError>;

    /// The newest ownership that a quorum shows: it is decided, and a later one may be, or its release
    /// ([`Reading::Plain`](iris_core::takeover::Reading)). It costs no round of Paxos.
    async fn head_to_follow(&self, shard: ShardRef) -> Result<Option<EpochRow>, StoreError> {
        self.epoch_head(shard).await
    }

    /// The newest ownership of each shard, serially, in the order asked for; one that cannot be read
    /// fails the whole answer. A bounded number of reads are under way at once.
    async fn heads(
        &self,
        shards: &[ShardRef],
    ) -> Result<Vec<(ShardRef, Option<EpochRow>)>, StoreError> {
        let reads = shards.iter().copied().map(|shard| self.epoch_head(shard));
        let heads: Vec<_> =
            futures::stream::iter(reads).buffered(HEADS_AT_ONCE).try_collect().await?;
        Ok(shards.iter().copied().zip(heads).collect())
    }

    /// The ownerships from `from` on, ascending, serially.
    async fn epochs_from(&self, shard: ShardRef, from: Epoch) -> Result<Vec<EpochRow>, StoreError>;

    /// The ownerships from `from` on and before `below`, ascending. Whoever asks has seen or claimed the
    /// one at `below`: those before it never change, so this need not be a serial read.
    async fn epochs_between(
        &self,
        shard: ShardRef,
        from: Epoch,
        below: Epoch,
    ) -> Result<Vec<EpochRow>, StoreError> {
        let mut epochs = self.epochs_from(shard, from).await?;
        epochs.retain(|row| row.epoch < below);
        Ok(epochs)
    }

    /// Adds the ownership `row`, if the newest one is `row.epoch - 1` (none for epoch 1).
    async fn claim(&self, shard: ShardRef, row: EpochRow) -> Result<Cas, StoreError>;

    /// Ends the ownership `epoch`: no entry of it is in `released_block` or above. Applied if it is the
    /// newest one and was not released before.
    async fn release(
        &self,
        shard: ShardRef,
        epoch: Epoch,
        released_block: BlockSeq,
    ) -> Result<Cas, StoreError>;

    /// Decides that a lane ends at `end`, unless it was decided before; answers what is decided.
    async fn seal(&self, lane: LaneId, end: BlockSeq) -> Result<BlockSeq, StoreError>;

    /// Where a lane ends, if that is decided; serially.
    async fn sealed(&self, lane: LaneId) -> Result<Option<BlockSeq>, StoreError>;
}

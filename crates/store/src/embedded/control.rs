//! Ownerships and seals.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use iris_core::id::{LaneId, LaneNo, SessionId};
use iris_core::seq::{BlockSeq, Epoch};
use iris_core::takeover::EpochRow;

use super::EmbeddedStore;
use super::codec::{Packed, Parts, Tag};
use super::disk::Disk;
use crate::{Cas, ControlStore, ShardRef, StoreError};

#[async_trait]
impl ControlStore for EmbeddedStore {
    async fn epoch_head(&self, shard: ShardRef) -> Result<Option<EpochRow>, StoreError> {
        self.settled(move |disk| head(disk, shard)).await
    }

    async fn head_to_follow(&self, shard: ShardRef) -> Result<Option<EpochRow>, StoreError> {
        let Some(sky) = self.sky.as_ref().filter(|sky| sky.reads_old()) else {
            return self.epoch_head(shard).await;
        };
        let counts = Arc::clone(sky.counts());
        self.read(move |disk| {
            let newest = head(disk, shard)?;
            counts.old_reads.fetch_add(u64::from(newest.is_some()), Ordering::Relaxed);
            match newest {
                Some(row) if row.released_block.is_some() => {
                    Ok(Some(EpochRow { released_block: None, ..row }))
                }
                Some(_) => disk
                    .newest(&prefix(shard))
                    .nth(1)
                    .transpose()?
                    .map_or(Ok(None), |(key, value)| decode(&key, &value).map(Some)),
                None => Ok(None),
            }
        })
        .await
    }

    async fn epochs_from(&self, shard: ShardRef, from: Epoch) -> Result<Vec<EpochRow>, StoreError> {
        self.settled(move |disk| epochs(disk, shard, from)).await
    }

    async fn epochs_between(
        &self,
        shard: ShardRef,
        from: Epoch,
        below: Epoch,
    ) -> Result<Vec<EpochRow>, StoreError> {
        let old = self.sky.as_ref().filter(|sky| sky.reads_old());
        let counts = old.map(|sky| Arc::clone(sky.counts()));
        self.read(move |disk| {
            let mut rows = epochs(disk, shard, from)?;
            rows.retain(|row| row.epoch < below);
            if let Some(counts) = counts {
                let missed = rows.pop();
                counts.old_reads.fetch_add(u64::from(missed.is_some()), Ordering::Relaxed);
            }
            Ok(rows)
        })
        .await
    }

    async fn claim(&self, shard: ShardRef, row: EpochRow) -> Result<Cas, StoreError> {
        self.write(move |disk| {
            let _lock = disk.lock(&prefix(shard));
            let before = head(disk, shard)?.map_or(Epoch(0), |head| head.epoch);
            if row.epoch != before.next() {
                return Ok(Cas::Refused);
            }
            let fresh = EpochRow { released_block: None, ..row };
            disk.put(&key(shard, row.epoch), encode(&fresh))?;
            Ok(Cas::Applied)
        })
        .await
    }

    async fn release(
        &self,
        shard: ShardRef,
        epoch: Epoch,
        released_block: BlockSeq,
    ) -> Result<Cas, StoreError> {
        self.write(move |disk| {
            let _lock = disk.lock(&prefix(shard));
            let open = |head: &EpochRow| head.epoch == epoch && head.released_block.is_none();
            let Some(head) = head(disk, shard)?.filter(open) else {
                return Ok(Cas::Refused);
            };
            let released = EpochRow { released_block: Some(released_block), ..head };
            disk.put(&key(shard, epoch), encode(&released))?;
            Ok(Cas::Applied)
        })
        .await
    }

    async fn seal(&self, lane: LaneId, end: BlockSeq) -> Result<BlockSeq, StoreError> {
        self.write(move |disk| {
            let key = seal_key(lane);
            let _lock = disk.lock(&key);
            if let Some(decided) = disk.get(&key)? {
                return Parts::of(&decided).u64().map(BlockSeq);
            }
            disk.put(&key, Packed::value().u64(end.0))?;
            Ok(end)
        })
        .await
    }

    async fn sealed(&self, lane: LaneId) -> Result<Option<BlockSeq>, StoreError> {
        self.settled(move |disk| {
            let decided = disk.get(&seal_key(lane))?;
            decided.map(|decided| Parts::of(&decided).u64().map(BlockSeq)).transpose()
        })
        .await
    }
}

fn head(disk: &Disk, shard: ShardRef) -> Result<Option<EpochRow>, StoreError> {
    let newest = disk.newest(&prefix(shard)).next().transpose()?;
    newest.map(|(key, value)| decode(&key, &value)).transpose()
}

fn epochs(disk: &Disk, shard: ShardRef, from: Epoch) -> Result<Vec<EpochRow>, StoreError> {
    let rows = disk.range(&key(shard, from), &key(shard, Epoch(u32::MAX)));
    rows.map(|row| row.and_then(|(key, value)| decode(&key, &value))).collect()
}

fn prefix(shard: ShardRef) -> Packed {
    Packed::key(Tag::Epoch).u16(shard.shard.get()).u8(shard.home_gen.0)
}

fn key(shard: ShardRef, epoch: Epoch) -> Packed {
    prefix(shard).u32(epoch.0)
}

fn seal_key(lane: LaneId) -> Packed {
    Packed::key(Tag::Seal).raw(&lane.session.to_bytes()).u8(lane.lane.0)
}

fn encode(row: &EpochRow) -> Packed {
    let packed = Packed::value()
        .raw(&row.session.to_bytes())
        .u8(row.lane.0)
        .u64(row.first_block.0)
        .u8(u8::from(row.released_block.is_some()));
    packed.u64(row.released_block.unwrap_or_default().0)
}

fn decode(key: &[u8], value: &[u8]) -> Result<EpochRow, StoreError> {
    let mut place = Parts::of(key);
    let _tag_shard_home_gen = place.array::<4>()?;
    let mut parts = Parts::of(value);
    let row = EpochRow {
        epoch: Epoch(place.u32()?),
        session: SessionId::from_uuid(uuid::Uuid::from_bytes(parts.array()?)),
        lane: LaneNo(parts.u8()?),
        first_block: BlockSeq(parts.u64()?),
        released_block: None,
    };
    let released = parts.u8()? == 1;
    let block = BlockSeq(parts.u64()?);
    Ok(EpochRow { released_block: released.then_some(block), ..row })
}

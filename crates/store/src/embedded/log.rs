//! The session log and its fences.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use iris_core::block::ChainHash;
use iris_core::clock::WallMs;
use iris_core::id::{LaneId, SessionId, ShardId};
use iris_core::seq::BlockSeq;

use super::EmbeddedStore;
use super::codec::{Packed, Parts, Tag};
use crate::{LogRow, LogStore, StoreError, Suspect};

#[async_trait]
impl LogStore for EmbeddedStore {
    async fn open_session(&self, session: SessionId, lanes: u8) -> Result<(), StoreError> {
        let key = Packed::key(Tag::Lanes).raw(&session.to_bytes());
        self.write(move |disk| disk.put(&key, Packed::value().u8(lanes))).await
    }

    async fn lanes(&self, session: SessionId) -> Result<Option<u8>, StoreError> {
        let key = Packed::key(Tag::Lanes).raw(&session.to_bytes());
        self.settled(move |disk| disk.get(&key)?.map(|lanes| Parts::of(&lanes).u8()).transpose())
            .await
    }

    /// Blocks are found by their keys, whatever their chunk.
    async fn open_chunk(&self, _lane: LaneId, _chunk: u64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn append(&self, lane: LaneId, row: &LogRow) -> Result<(), StoreError> {
        let value = Packed::value().raw(&row.prev.0).raw(&row.block);
        let (key, fence) = (key(lane, row.seq), fence_key(lane.session));
        let counts = self.counts();
        self.write(move |disk| {
            if let Some(counts) = counts
                && disk.get(&fence)?.is_some()
                // Whoever takes over writes back what is there.
                && disk.get(&key)?.is_none()
            {
                counts.late_blocks.fetch_add(1, Ordering::Relaxed);
            }
            disk.put(&key, value)
        })
        .await
    }

    async fn tail(&self, lane: LaneId, limit: usize) -> Result<Vec<LogRow>, StoreError> {
        self.settled(move |disk| {
            let rows = disk.newest(&prefix(lane)).take(limit);
            let mut rows: Vec<_> = rows
                .map(|row| row.and_then(|(key, value)| decode(&key, &value)))
                .collect::<Result<_, _>>()?;
            rows.reverse();
            Ok(rows)
        })
        .await
    }

    async fn read(
        &self,
        lane: LaneId,
        from: BlockSeq,
        end: BlockSeq,
        limit: usize,
    ) -> Result<Vec<LogRow>, StoreError> {
        if end <= from {
            return Ok(Vec::new());
        }
        self.settled(move |disk| {
            let rows = disk.range(&key(lane, from), &key(lane, end.prev())).take(limit);
            rows.map(|row| row.and_then(|(key, value)| decode(&key, &value))).collect()
        })
        .await
    }

    async fn fence(&self, session: SessionId, by: SessionId) -> Result<(), StoreError> {
        let key = fence_key(session);
        let value = Packed::value().raw(&by.to_bytes());
        self.write(move |disk| disk.put(&key, value)).await
    }

    async fn fenced(&self, session: SessionId) -> Result<Option<SessionId>, StoreError> {
        let key = fence_key(session);
        self.settled(move |disk| {
            let by = disk.get(&key)?.map(|by| Parts::of(&by).array());
            let by = by.transpose()?;
            Ok(by.map(session_of))
        })
        .await
    }

    async fn suspect(&self, shard: ShardId, suspect: &Suspect) -> Result<(), StoreError> {
        let Suspect { session, version, input, until } = suspect;
        let key = Packed::key(Tag::Suspect).u16(shard.get()).raw(&session.to_bytes());
        let length = u16::try_from(version.len()).unwrap_or(u16::MAX);
        let version = version.as_bytes().get(..usize::from(length)).unwrap_or_default();
        let value = Packed::value().u64(until.0).u16(length).raw(version).raw(input.as_bytes());
        self.write(move |disk| disk.put(&key, value)).await
    }

    async fn suspects(&self, shard: ShardId) -> Result<Vec<Suspect>, StoreError> {
        self.settled(move |disk| {
            let rows = disk.all(&Packed::key(Tag::Suspect).u16(shard.get()));
            rows.map(|row| row.and_then(|(key, value)| decode_suspect(&key, &value))).collect()
        })
        .await
    }
}

fn session_of(bytes: [u8; 16]) -> SessionId {
    SessionId::from_uuid(uuid::Uuid::from_bytes(bytes))
}

fn decode_suspect(key: &[u8], value: &[u8]) -> Result<Suspect, StoreError> {
    let mut place = Parts::of(key);
    let _tag_shard = place.array::<3>()?;
    let session = session_of(place.array()?);
    let mut parts = Parts::of(value);
    let (until, length) = (WallMs(parts.u64()?), usize::from(parts.u16()?));
    let words = parts.rest();
    let short = || StoreError::Corrupt("a stored value is too short".to_owned());
    let (version, input) = words.split_at_checked(length).ok_or_else(short)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Suspect { session, version: text(version), input: text(input), until })
}

fn fence_key(session: SessionId) -> Packed {
    Packed::key(Tag::Fence).raw(&session.to_bytes())
}

fn prefix(lane: LaneId) -> Packed {
    Packed::key(Tag::Block).raw(&lane.session.to_bytes()).u8(lane.lane.0)
}

fn key(lane: LaneId, seq: BlockSeq) -> Packed {
    prefix(lane).u64(seq.0)
}

fn decode(key: &[u8], value: &[u8]) -> Result<LogRow, StoreError> {
    let mut place = Parts::of(key);
    let _tag_session_lane = place.array::<18>()?;
    let mut parts = Parts::of(value);
    Ok(LogRow { seq: BlockSeq(place.u64()?), prev: ChainHash(parts.array()?), block: parts.rest() })
}

//! Derived rows: each with its logical timestamp in front, and the newest wins, as in Cassandra.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use iris_core::account::{Account, InboxItem};
use iris_core::clock::{Hlc, LogicalTimestamp};
use iris_core::group::{Group, RosterPage};
use iris_core::id::{AccountId, GroupId, ShardId};
use iris_core::message::Message;
use iris_core::seq::{BlockSeq, Epoch, InboxSeq, OutboxSeq, ShardSeq};
use iris_core::shard::{Fetch, Flush, HistoryPage, LogFetch, MarksPage, OutboxItem};
use iris_proto::stored_rows::{self, PeerNumbers};
use iris_proto::{FormatError, stored_groups, stored_relations};

use super::EmbeddedStore;
use super::codec::{Packed, Parts, Tag};
use super::disk::{Batch, Disk};
use crate::{Checkpoint, DamagedRow, DerivedStore, ShardRef, StoreError, apart};

mod flush;
mod groups;
mod people;
#[cfg(test)]
mod tests;

#[async_trait]
impl DerivedStore for EmbeddedStore {
    async fn account(&self, account: AccountId) -> Result<Option<Account>, StoreError> {
        self.read(move |disk| {
            let Some((_, state)) = stored(disk, &account_key(account))? else { return Ok(None) };
            let mut state = stored_rows::decode_account(state).map_err(corrupt)?;
            if let Some((_, relations)) = stored(disk, &relations_key(account))? {
                state.relations = stored_relations::decode_relations(relations).map_err(corrupt)?;
            }
            if let Some((_, groups)) = stored(disk, &memberships_key(account))? {
                state.groups = stored_groups::decode_memberships(groups).map_err(corrupt)?;
            }
            Ok(Some(state))
        })
        .await
    }

    async fn inbox(
        &self,
        account: AccountId,
        after: InboxSeq,
        upto: InboxSeq,
        bytes_max: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        if upto <= after {
            return Ok(Vec::new());
        }
        self.read(move |disk| {
            let mut page = apart::Page::new(bytes_max);
            for row in disk.range(&place_key(account, after.next()), &place_key(account, upto)) {
                let (_, place) = stamped(&row?.1)?;
                let mut run = stored_rows::decode_inbox_run(place).map_err(corrupt)?;
                let Some(item) = run.pop() else { continue };
                if !page.takes(groups::joined(disk, item)?) {
                    break;
                }
            }
            Ok(page.into_items())
        })
        .await
    }

    async fn history(&self, account: AccountId, fetch: Fetch) -> Result<HistoryPage, StoreError> {
        self.read(move |disk| people::history(disk, account, fetch)).await
    }

    async fn marks(
        &self,
        account: AccountId,
        above: u64,
        after: Option<AccountId>,
    ) -> Result<MarksPage, StoreError> {
        self.read(move |disk| people::marks(disk, account, above, after)).await
    }

    async fn group(&self, group: GroupId) -> Result<Option<Group>, StoreError> {
        self.read(move |disk| groups::whole(disk, group)).await
    }

    async fn roster(
        &self,
        group: GroupId,
        after: Option<AccountId>,
    ) -> Result<Option<RosterPage>, StoreError> {
        self.read(move |disk| groups::roster(disk, group, after)).await
    }

    async fn group_log(&self, fetch: LogFetch) -> Result<Vec<Arc<Message>>, StoreError> {
        self.read(move |disk| groups::log(disk, fetch)).await
    }

    async fn peers(&self, shard: ShardId) -> Result<Vec<(ShardId, PeerNumbers)>, StoreError> {
        self.read(move |disk| peers(disk, shard)).await
    }

    async fn outbox(
        &self,
        shard: ShardId,
        peers: &[(ShardId, PeerNumbers)],
    ) -> Result<Vec<(ShardId, OutboxItem)>, StoreError> {
        let peers = peers.to_vec();
        self.read(move |disk| {
            let mut items = Vec::new();
            for (to, numbers) in peers {
                let from = item_key(shard, to, numbers.out_confirmed.next());
                for row in disk.range(&from, &item_key(shard, to, OutboxSeq(u64::MAX))) {
                    let (key, value) = row?;
                    let seq = item_seq(&key)?;
                    let (_, item) = stamped(&value)?;
                    let item = stored_rows::decode_outbox_item(seq, item).map_err(corrupt)?;
                    items.push((to, item));
                }
            }
            Ok(items)
        })
        .await
    }

    async fn checkpoint(&self, shard: ShardId) -> Result<Option<Checkpoint>, StoreError> {
        let key = shard_key(Tag::Checkpoint, shard);
        let row = self.read(move |disk| stored(disk, &key)).await?;
        let Some((_, value)) = row else {
            return Ok(None);
        };
        let mut parts = Parts::of(&value);
        Ok(Some(Checkpoint {
            epoch: Epoch(parts.u32()?),
            pos: ShardSeq(parts.u64()?),
            block: BlockSeq(parts.u64()?),
            clock: Hlc(parts.u64()?),
        }))
    }

    async fn materialize(
        &self,
        shard: ShardRef,
        flush: &Flush,
        checkpoint: Checkpoint,
    ) -> Result<Vec<DamagedRow>, StoreError> {
        match self.sky.as_deref() {
            None => {
                let (shard, flush) = (shard.shard, flush.clone());
                self.write(move |disk| flush::whole(disk, shard, &flush, checkpoint)).await
            }
            Some(sky) => flush::in_parts(self, sky, shard.shard, flush, checkpoint).await,
        }
    }
}

fn forgotten(
    disk: &Disk,
    shard: ShardId,
    peer: ShardId,
) -> Result<Option<(LogicalTimestamp, OutboxSeq)>, StoreError> {
    let row = stored(disk, &pair_key(Tag::Forgotten, shard, peer))?;
    row.map(|(at, upto)| Ok((at, OutboxSeq(Parts::of(&upto).u64()?)))).transpose()
}

fn peers(disk: &Disk, shard: ShardId) -> Result<Vec<(ShardId, PeerNumbers)>, StoreError> {
    let mut peers = Vec::new();
    for row in disk.all(&shard_key(Tag::Peer, shard)) {
        let (key, value) = row?;
        let mut place = Parts::of(&key);
        let _tag_shard = place.array::<3>()?;
        let peer = ShardId::new(place.u16()?);
        peers.push((peer, stored_rows::decode_peer(stamped(&value)?.1).map_err(corrupt)?));
    }
    Ok(peers)
}

/// Puts a row into the batch, unless what is there is newer. Of two rows of one timestamp the larger
/// bytes win, so that every order of writing ends the same.
fn put(
    disk: &Disk,
    batch: &mut Batch,
    key: &Packed,
    value: &[u8],
    timestamp: LogicalTimestamp,
) -> Result<(), StoreError> {
    let newer = match stored(disk, key)? {
        Some((at, before)) => (timestamp, value) > (at, &before[..]),
        None => true,
    };
    if newer {
        let stamp = timestamp.get().to_be_bytes();
        batch.put(key, Packed::value().raw(&stamp).raw(value));
    }
    Ok(())
}

fn stored(disk: &Disk, key: &Packed) -> Result<Option<(LogicalTimestamp, Bytes)>, StoreError> {
    disk.get(key)?.map(|value| stamped(&value)).transpose()
}

fn stamped(value: &[u8]) -> Result<(LogicalTimestamp, Bytes), StoreError> {
    let mut parts = Parts::of(value);
    let timestamp = LogicalTimestamp::from_stored(i64::from_be_bytes(parts.array()?));
    Ok((timestamp, parts.rest()))
}

fn account_key(account: AccountId) -> Packed {
    Packed::key(Tag::Account).raw(&account.to_bytes())
}

fn relations_key(account: AccountId) -> Packed {
    Packed::key(Tag::Relations).raw(&account.to_bytes())
}

fn memberships_key(account: AccountId) -> Packed {
    Packed::key(Tag::Memberships).raw(&account.to_bytes())
}

fn place_key(account: AccountId, place: InboxSeq) -> Packed {
    Packed::key(Tag::Place).raw(&account.to_bytes()).u64(place.0)
}

fn shard_key(tag: Tag, shard: ShardId) -> Packed {
    Packed::key(tag).u16(shard.get())
}

fn pair_key(tag: Tag, shard: ShardId, peer: ShardId) -> Packed {
    shard_key(tag, shard).u16(peer.get())
}

fn item_key(shard: ShardId, peer: ShardId, seq: OutboxSeq) -> Packed {
    pair_key(Tag::Item, shard, peer).u64(seq.0)
}

fn item_seq(key: &[u8]) -> Result<OutboxSeq, StoreError> {
    let mut place = Parts::of(key);
    let _tag_shard_peer = place.array::<5>()?;
    place.u64().map(OutboxSeq)
}

fn corrupt(error: FormatError) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

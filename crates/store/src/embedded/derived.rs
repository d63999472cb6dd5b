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
use iris_core::shard::{
    Fetch, Flush, HistoryPage, LogFetch, MarksPage, OutboxItem, OutboxRow, PeerRow,
};
use iris_proto::stored_rows::{self, PeerNumbers};
use iris_proto::{FormatError, stored_groups, stored_relations};

use super::EmbeddedStore;
use super::codec::{Packed, Parts, Tag};
use super::disk::{Batch, Disk};
use crate::{Checkpoint, DamagedRow, DerivedStore, ShardRef, StoreError, apart};

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

    async fn outbox(&self, shard: ShardId) -> Result<Vec<(ShardId, OutboxItem)>, StoreError> {
        self.read(move |disk| {
            let mut items = Vec::new();
            for (to, numbers) in peers(disk, shard)? {
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
        let (shard, flush) = (shard.shard, flush.clone());
        self.write(move |disk| {
            let _lock = disk.lock(&shard_key(Tag::Checkpoint, shard));
            let mut batch = disk.batch();
            groups::write_logs(disk, &mut batch, &flush)?;
            write_places(disk, &mut batch, &flush)?;
            people::write(disk, &mut batch, &flush)?;
            for row in &flush.outbox {
                write_item(disk, &mut batch, shard, row)?;
            }
            disk.commit(batch)?;
            // A message that is erased may be one of those.
            let mut damaged = people::erase(disk, &flush.erasures)?;
            damaged.extend(groups::erase(disk, &flush.log_erasures)?);
            // Several erasures may have met one row.
            damaged.sort_unstable();
            damaged.dedup();
            let mut batch = disk.batch();
            write_accounts(disk, &mut batch, &flush)?;
            groups::write(disk, &mut batch, &flush.groups)?;
            for row in &flush.peers {
                write_peer(disk, &mut batch, shard, row)?;
            }
            let value = Packed::value()
                .u32(checkpoint.epoch.0)
                .u64(checkpoint.pos.0)
                .u64(checkpoint.block.0)
                .u64(checkpoint.clock.0);
            let key = shard_key(Tag::Checkpoint, shard);
            put(disk, &mut batch, &key, value.bytes(), flush.timestamp)?;
            disk.commit(batch)?;
            Ok(damaged)
        })
        .await
    }
}

fn write_places(disk: &Disk, batch: &mut Batch, flush: &Flush) -> Result<(), StoreError> {
    for run in &flush.inbox {
        for item in &run.items {
            let place = stored_rows::encode_inbox_run(&[apart::stripped(item)]);
            put(disk, batch, &place_key(run.account, item.seq), &place, run.timestamp)?;
        }
    }
    Ok(())
}

fn write_accounts(disk: &Disk, batch: &mut Batch, flush: &Flush) -> Result<(), StoreError> {
    for row in &flush.accounts {
        let state = stored_rows::encode_account(&row.state);
        put(disk, batch, &account_key(row.account), &state, row.timestamp)?;
        if row.relations {
            let relations = stored_relations::encode_relations(&row.state.relations);
            put(disk, batch, &relations_key(row.account), &relations, row.timestamp)?;
        }
        if row.memberships {
            let groups = stored_groups::encode_memberships(&row.state.groups);
            put(disk, batch, &memberships_key(row.account), &groups, row.timestamp)?;
        }
    }
    Ok(())
}

fn write_item(
    disk: &Disk,
    batch: &mut Batch,
    shard: ShardId,
    row: &OutboxRow,
) -> Result<(), StoreError> {
    // A late item does not come back from the dead.
    if let Some((at, upto)) = forgotten(disk, shard, row.to)?
        && row.item.seq <= upto
        && row.timestamp <= at
    {
        return Ok(());
    }
    let item = stored_rows::encode_outbox_item(&row.item);
    put(disk, batch, &item_key(shard, row.to, row.item.seq), &item, row.timestamp)
}

fn write_peer(
    disk: &Disk,
    batch: &mut Batch,
    shard: ShardId,
    row: &PeerRow,
) -> Result<(), StoreError> {
    let numbers = stored_rows::encode_peer(PeerNumbers {
        out_next: row.out_next,
        out_confirmed: row.out_confirmed,
        in_next: row.in_next,
        pos: row.pos,
    });
    put(disk, batch, &pair_key(Tag::Peer, shard, row.peer), &numbers, row.timestamp)?;
    if !row.forget_items {
        return Ok(());
    }
    let first = item_key(shard, row.peer, OutboxSeq(0));
    for stored in disk.range(&first, &item_key(shard, row.peer, row.out_confirmed)) {
        let (key, value) = stored?;
        if stamped(&value)?.0 <= row.timestamp {
            batch.remove(&key);
        }
    }
    let upto = Packed::value().u64(row.out_confirmed.0);
    let key = pair_key(Tag::Forgotten, shard, row.peer);
    put(disk, batch, &key, upto.bytes(), row.timestamp)
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

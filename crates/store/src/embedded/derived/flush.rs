//! A flush: on a disk at once or nearly so, in the model in the parts that Cassandra writes it in, each
//! of which happens or does not.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use iris_core::id::ShardId;
use iris_core::seq::OutboxSeq;
use iris_core::shard::{Flush, OutboxRow, PeerRow};
use iris_proto::stored_rows::{self, PeerNumbers};
use iris_proto::{stored_groups, stored_relations};

use super::super::EmbeddedStore;
use super::super::codec::{Packed, Tag};
use super::super::disk::{Batch, Disk};
use super::super::weather::Sky;
use super::{
    account_key, forgotten, groups, item_key, memberships_key, pair_key, people, place_key, put,
    relations_key, shard_key, stamped,
};
use crate::{Checkpoint, DamagedRow, StoreError, apart};

/// Writes all of it: first what others point to, then what points to it. Answers the rows that
/// erasures met and that cannot be understood.
pub(super) fn whole(
    disk: &Disk,
    shard: ShardId,
    flush: &Flush,
    checkpoint: Checkpoint,
) -> Result<Vec<DamagedRow>, StoreError> {
    let _lock = disk.lock(&shard_key(Tag::Checkpoint, shard));
    let damaged = write_first(disk, shard, flush)?;
    let mut batch = disk.batch();
    write_second(disk, &mut batch, shard, flush)?;
    write_checkpoint(disk, &mut batch, shard, (flush, checkpoint))?;
    disk.commit(batch)?;
    Ok(damaged)
}

/// Writes it as Cassandra does, with the same steps: parts under different keys side by side, and no
/// step before the one before it is there. When it fails, nobody knows which parts are.
pub(super) async fn in_parts(
    store: &EmbeddedStore,
    sky: &Sky,
    shard: ShardId,
    flush: &Flush,
    checkpoint: Checkpoint,
) -> Result<Vec<DamagedRow>, StoreError> {
    let torn = sky.count_unless_done();
    let done = steps(store, shard, flush, checkpoint).await.map_err(|error| match error {
        StoreError::Unavailable(text) => StoreError::Unknown(text),
        other => other,
    });
    if done.is_ok() {
        torn.done();
    }
    done
}

async fn steps(
    store: &EmbeddedStore,
    shard: ShardId,
    flush: &Flush,
    checkpoint: Checkpoint,
) -> Result<Vec<DamagedRow>, StoreError> {
    let write = |part: Flush| store.write(move |disk| write_part(disk, shard, &part));
    try_join_all(pointed_to(flush).into_iter().map(&write)).await?;
    let damaged = try_join_all(erasing(flush).into_iter().map(&write)).await?.concat();
    try_join_all(pointing(flush).into_iter().map(&write)).await?;
    let last = bare(flush);
    let checkpoint = store.write(move |disk| {
        let mut batch = disk.batch();
        write_checkpoint(disk, &mut batch, shard, (&last, checkpoint))?;
        disk.commit(batch)
    });
    // Items are deleted only once the row that counts them as confirmed is there.
    let forget = flush.peers.iter().filter(|row| row.forget_items);
    let forget = forget.map(|row| write(Flush { peers: vec![*row], ..bare(flush) }));
    tokio::try_join!(checkpoint, try_join_all(forget))?;
    Ok(damaged)
}

fn write_part(disk: &Disk, shard: ShardId, part: &Flush) -> Result<Vec<DamagedRow>, StoreError> {
    let _lock = disk.lock(&shard_key(Tag::Checkpoint, shard));
    let damaged = write_first(disk, shard, part)?;
    let mut batch = disk.batch();
    write_second(disk, &mut batch, shard, part)?;
    disk.commit(batch)?;
    Ok(damaged)
}

/// A flush of nothing.
fn bare(flush: &Flush) -> Flush {
    Flush::empty(flush.after, flush.checkpoint, flush.clock, flush.timestamp)
}

/// Rows with the same key, which are one write.
fn by<T: Clone, K: Ord>(rows: &[T], key: impl Fn(&T) -> K) -> impl Iterator<Item = Vec<T>> {
    let mut found: BTreeMap<K, Vec<T>> = BTreeMap::new();
    for row in rows {
        found.entry(key(row)).or_default().push(row.clone());
    }
    found.into_values()
}

/// What accounts, groups and peers will point to.
fn pointed_to(flush: &Flush) -> Vec<Flush> {
    let mut parts = Vec::new();
    parts.extend(by(&flush.logs, |row| row.group).map(|logs| Flush { logs, ..bare(flush) }));
    parts.extend(by(&flush.inbox, |row| row.account).map(|inbox| Flush { inbox, ..bare(flush) }));
    parts.extend(by(&flush.index, |row| row.account).map(|index| Flush { index, ..bare(flush) }));
    parts.extend(by(&flush.marks, |row| row.account).map(|marks| Flush { marks, ..bare(flush) }));
    parts.extend(by(&flush.outbox, |row| row.to).map(|outbox| Flush { outbox, ..bare(flush) }));
    parts
}

/// What leaves those rows.
fn erasing(flush: &Flush) -> Vec<Flush> {
    let (erasures, log_erasures) = (flush.erasures.clone(), flush.log_erasures.clone());
    let parts = [Flush { erasures, ..bare(flush) }, Flush { log_erasures, ..bare(flush) }];
    parts.into_iter().filter(|part| *part != bare(flush)).collect()
}

/// What the checkpoint will promise.
fn pointing(flush: &Flush) -> Vec<Flush> {
    let mut parts = Vec::new();
    let accounts = by(&flush.accounts, |row| row.account);
    parts.extend(accounts.map(|accounts| Flush { accounts, ..bare(flush) }));
    parts.extend(by(&flush.groups, |row| row.group).map(|groups| Flush { groups, ..bare(flush) }));
    parts.extend(flush.peers.iter().map(|row| {
        let row = PeerRow { forget_items: false, ..*row };
        Flush { peers: vec![row], ..bare(flush) }
    }));
    parts
}

fn write_first(disk: &Disk, shard: ShardId, flush: &Flush) -> Result<Vec<DamagedRow>, StoreError> {
    let mut batch = disk.batch();
    groups::write_logs(disk, &mut batch, flush)?;
    write_places(disk, &mut batch, flush)?;
    people::write(disk, &mut batch, flush)?;
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
    Ok(damaged)
}

fn write_second(
    disk: &Disk,
    batch: &mut Batch,
    shard: ShardId,
    flush: &Flush,
) -> Result<(), StoreError> {
    write_accounts(disk, batch, flush)?;
    groups::write(disk, batch, &flush.groups)?;
    for row in &flush.peers {
        write_peer(disk, batch, shard, row)?;
    }
    Ok(())
}

fn write_checkpoint(
    disk: &Disk,
    batch: &mut Batch,
    shard: ShardId,
    (flush, checkpoint): (&Flush, Checkpoint),
) -> Result<(), StoreError> {
    let value = Packed::value()
        .u32(checkpoint.epoch.0)
        .u64(checkpoint.pos.0)
        .u64(checkpoint.block.0)
        .u64(checkpoint.clock.0);
    let key = shard_key(Tag::Checkpoint, shard);
    put(disk, batch, &key, value.bytes(), flush.timestamp)
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

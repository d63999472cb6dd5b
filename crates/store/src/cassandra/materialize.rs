//! A flush, in the order that makes a crash at any point harmless.
//!
//! Never starts a step before the one before it is durable.

use std::collections::{BTreeMap, BTreeSet};

use iris_core::id::{AccountId, ShardId};
use iris_core::shard::{AccountRow, Flush, GroupRow, MarkRow};

use super::derived::{self, Together};
use super::{CassandraStore, history};
use crate::{Checkpoint, DamagedRow, StoreError};

/// Marks that are written with their account: of a few dozen bytes each, beside a row of some kilobytes.
const MARKS_TOGETHER: usize = 32;

/// Writes a flush. What of it was written when it fails, nobody knows: it is written again.
pub(super) async fn write(
    store: &CassandraStore,
    shard: ShardId,
    flush: &Flush,
    checkpoint: Checkpoint,
) -> Result<Vec<DamagedRow>, StoreError> {
    steps(store, shard, flush, checkpoint).await.map_err(|error| match error {
        StoreError::Unavailable(text) => StoreError::Unknown(text),
        other => other,
    })
}

async fn steps(
    store: &CassandraStore,
    shard: ShardId,
    flush: &Flush,
    checkpoint: Checkpoint,
) -> Result<Vec<DamagedRow>, StoreError> {
    let CassandraStore { client, tables, slots, .. } = store;
    let marks = Marks::of(flush);
    // What accounts, groups and peers will point to.
    tokio::try_join!(
        marks.write_others(store),
        tables.group_log.write(client, slots, &flush.logs),
        tables.inbox.write(client, slots, &flush.inbox),
        tables.conversation_index.write(client, slots, &flush.index),
        tables.outbox.write(client, slots, shard, &flush.outbox),
    )?;
    // A message that is erased may be one of those.
    let (mut damaged, logs) = tokio::try_join!(
        history::erase(store, &flush.erasures),
        tables.group_log.erase(client, slots, &flush.log_erasures),
    )?;
    // What the checkpoint will promise.
    tokio::try_join!(
        marks.write_with_accounts(store, &flush.accounts),
        write_groups(store, &flush.groups),
        tables.shard_peer.write(client, slots, shard, &flush.peers),
    )?;
    // Items are deleted only once the row that counts them as confirmed is durable.
    tokio::try_join!(
        tables.shard_checkpoint.write(client, slots, shard, checkpoint, flush.timestamp),
        tables.outbox.forget(client, slots, shard, &flush.peers),
    )?;
    // Several erasures may have met one row.
    damaged.extend(logs);
    damaged.sort_unstable();
    damaged.dedup();
    Ok(damaged)
}

/// The marks of a flush, by accounts. An account and its marks lie under one key: they are one write,
/// which happens or does not, and the account is never ahead of its marks.
struct Marks<'a> {
    with_accounts: BTreeMap<AccountId, Vec<&'a MarkRow>>,
    others: BTreeMap<AccountId, Vec<&'a MarkRow>>,
}

impl<'a> Marks<'a> {
    fn of(flush: &'a Flush) -> Self {
        let mut all: BTreeMap<AccountId, Vec<&MarkRow>> = BTreeMap::new();
        for mark in &flush.marks {
            all.entry(mark.account).or_default().push(mark);
        }
        let accounts: BTreeSet<_> = flush.accounts.iter().map(|row| row.account).collect();
        let fits = |account: &AccountId, marks: &Vec<_>| {
            marks.len() <= MARKS_TOGETHER && accounts.contains(account)
        };
        let (with_accounts, others) = all.into_iter().partition(|(who, marks)| fits(who, marks));
        Self { with_accounts, others }
    }

    /// Those of many at once, and of accounts that are not in the flush.
    async fn write_others(&self, store: &CassandraStore) -> Result<(), StoreError> {
        let CassandraStore { client, tables, slots, .. } = store;
        let mut writes = Vec::new();
        for marks in self.others.values().flat_map(|marks| marks.chunks(MARKS_TOGETHER)) {
            let mut together = Together::default();
            for mark in marks {
                tables.conversation_mark.add(mark, &mut together)?;
            }
            writes.push(together);
        }
        derived::write_all(client, slots, writes).await
    }

    async fn write_with_accounts(
        &self,
        store: &CassandraStore,
        accounts: &[AccountRow],
    ) -> Result<(), StoreError> {
        let CassandraStore { client, tables, slots, .. } = store;
        let mut writes = Vec::with_capacity(accounts.len());
        for row in accounts {
            let mut together = Together::default();
            tables.account_state.add(row, &mut together);
            for mark in self.with_accounts.get(&row.account).into_iter().flatten() {
                tables.conversation_mark.add(mark, &mut together)?;
            }
            writes.push(together);
        }
        derived::write_all(client, slots, writes).await
    }
}

/// Writes who is in groups, and then what says up to which position that is so: whoever replays the log
/// changes no group that is already there, and would miss members that were not.
async fn write_groups(store: &CassandraStore, groups: &[GroupRow]) -> Result<(), StoreError> {
    let CassandraStore { client, tables, slots, .. } = store;
    tables.group_member.write(client, slots, groups).await?;
    tables.group_state.write(client, slots, groups).await
}

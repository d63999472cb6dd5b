//! History: pages of a conversation by its index, and messages that leave their rows.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use iris_core::account::{InboxContent, InboxItem};
use iris_core::id::AccountId;
use iris_core::seq::InboxSeq;
use iris_core::shard::{Erasure, Fetch, HistoryPage, HistoryPoint};

use super::CassandraStore;
use crate::{DamagedRow, StoreError, apart};

/// Ranges of places that are read at once.
const READS_AT_ONCE: usize = 8;
/// Accounts in whose rows something is erased at once.
const ACCOUNTS_AT_ONCE: usize = 16;
/// Places so close to each other are read together.
const CLOSE: u64 = 32;

/// A page of a conversation: see [`crate::DerivedStore::history`].
pub(super) async fn page(
    store: &CassandraStore,
    account: AccountId,
    fetch: Fetch,
) -> Result<HistoryPage, StoreError> {
    let CassandraStore { client, tables, .. } = store;
    let of = (account, fetch.conversation);
    let index = &tables.conversation_index;
    let points = index.before(client, of, fetch.before, fetch.limit).await?;
    let full = u32::try_from(points.len()).is_ok_and(|found| found >= fetch.limit);
    let next = points.last().copied().filter(|_| full);
    let reads = ranges(&points)
        .into_iter()
        .map(|(after, upto)| tables.inbox.read(client, account, (after, upto), usize::MAX));
    let mut reads = futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE);
    let mut items = Vec::with_capacity(points.len());
    while let Some(read) = reads.try_next().await? {
        items.extend(read.into_iter().filter(|item| is_wanted(item, &points)));
    }
    let bodies = tables.group_log.bodies(client, apart::references(&items)).await?;
    apart::join_all(&mut items, &bodies);
    items.retain(|item| is_wanted(item, &points));
    Ok(HistoryPage { items, next })
}

/// Whether a place has what the index says.
fn is_wanted(item: &InboxItem, points: &[HistoryPoint]) -> bool {
    match &item.content {
        InboxContent::Message(message) => {
            points.contains(&HistoryPoint { clock: message.clock, place: item.seq })
        }
        InboxContent::Notice(_) | InboxContent::Hole => false,
    }
}

/// Places as ranges, each behind its first bound up to its last.
fn ranges(points: &[HistoryPoint]) -> Vec<(InboxSeq, InboxSeq)> {
    let mut places: Vec<_> = points.iter().map(|point| point.place).collect();
    places.sort_unstable();
    let mut ranges: Vec<(InboxSeq, InboxSeq)> = Vec::new();
    for place in places {
        match ranges.last_mut() {
            Some((_, upto)) if place.0 - upto.0 <= CLOSE => *upto = place,
            _ => ranges.push((place.prev(), place)),
        }
    }
    ranges
}

/// Takes the bodies of erased messages out of every row that has them. One that has no row is done.
/// Answers the rows that could not be understood.
pub(super) async fn erase(
    store: &CassandraStore,
    erasures: &[Erasure],
) -> Result<Vec<DamagedRow>, StoreError> {
    let mut accounts: BTreeMap<AccountId, Vec<Erasure>> = BTreeMap::new();
    for erasure in erasures {
        accounts.entry(erasure.account).or_default().push(*erasure);
    }
    let accounts = accounts.into_values().map(|erasures| erase_in_turn(store, erasures));
    futures::stream::iter(accounts).buffer_unordered(ACCOUNTS_AT_ONCE).try_concat().await
}

/// One after the other: two of one run would each write what the other one erased.
async fn erase_in_turn(
    store: &CassandraStore,
    erasures: Vec<Erasure>,
) -> Result<Vec<DamagedRow>, StoreError> {
    let CassandraStore { client, tables, slots, .. } = store;
    let mut damaged = Vec::new();
    for erasure in erasures {
        let of = (erasure.account, erasure.conversation);
        for place in tables.conversation_index.at(client, of, erasure.clock).await? {
            damaged.extend(tables.inbox.erase(client, slots, &erasure, place).await?);
        }
    }
    Ok(damaged)
}

#[cfg(test)]
mod tests {
    use iris_core::clock::Hlc;

    use super::*;

    #[test]
    fn places_close_to_each_other_are_read_together() {
        let cut = |places: &[u64]| {
            let point = |place: &u64| HistoryPoint { clock: Hlc(9), place: InboxSeq(*place) };
            let points: Vec<_> = places.iter().map(point).collect();
            ranges(&points).into_iter().map(|(a, b)| (a.0, b.0)).collect::<Vec<_>>()
        };
        assert_eq!(cut(&[]), []);
        assert_eq!(cut(&[7]), [(6, 7)]);
        assert_eq!(cut(&[40, 8, 7, 100, 101]), [(6, 40), (99, 101)]);
    }
}

//! What is written to take one message out of the rows of an inbox, and nothing else.
//!
//! A row that has it is written again with a hole in its place, and its other places as the newest rows
//! have them: whatever is erased there stays erased. Where a row that cannot be understood may have some
//! of those places, nobody knows what is the newest. Then a row of nothing but the hole is laid over the
//! message, and the others stay as they are: their neighbours lose nothing, and nothing that was erased
//! comes back. A message that only such a row may have stays in it: nobody can tell whose it is.

use std::collections::{BTreeMap, BTreeSet};

use iris_core::account::{InboxContent, InboxItem};
use iris_core::id::AccountId;
use iris_core::seq::InboxSeq;
use iris_core::shard::Erasure;
use iris_proto::stored_rows;

use crate::cassandra::value::number;
use crate::{DamagedRow, StoreError, Table};

use super::{BUCKET_PLACES, Columns, RUN_PLACES_MAX, Row, bucket_of, of_one_write, row_of};

/// A row, as an erasure meets it.
#[derive(Debug)]
pub(super) struct Found {
    /// Without items where nothing of it is understood.
    pub(super) row: Row,
    /// Why it, or one of its items, is not understood.
    pub(super) damage: Option<String>,
}

impl Found {
    pub(super) fn of(columns: Columns) -> Result<Self, StoreError> {
        let first = InboxSeq(number("first", columns.0)?);
        let (_, run, written, expiring, at) = columns.clone();
        let mut cells = run.into_iter().chain(of_one_write(expiring, at, written));
        // A reader takes an item that it does not understand for a hole. Written again it would be one.
        let unusable = |cell| stored_rows::check_inbox_run(cell).err();
        let damage = cells.find_map(unusable).map(|error| error.to_string());
        match row_of(columns) {
            Ok(row) => Ok(Self { row, damage }),
            Err(StoreError::Corrupt(why)) => {
                let row = Row { first, items: Vec::new(), written: 0 };
                Ok(Self { row, damage: Some(why) })
            }
            Err(error) => Err(error),
        }
    }

    /// Its first place and the last one that it may have.
    fn span(&self) -> (u64, u64) {
        let first = self.row.first.0;
        let last = self.row.items.iter().map(|item| item.seq.0).max();
        (first, last.unwrap_or(first + RUN_PLACES_MAX - 1))
    }

    /// Whether both may have the same place.
    fn meets(&self, other: &Self) -> bool {
        let ((first, last), (from, upto)) = (self.span(), other.span());
        first <= upto && from <= last
    }
}

/// The rows to write, each with its first place, at the timestamp of the erasure.
pub(super) fn written(
    found: &[Found],
    erasure: &Erasure,
    place: InboxSeq,
) -> Vec<(InboxSeq, Vec<InboxItem>)> {
    let mut newest: BTreeMap<InboxSeq, (i64, &InboxItem)> = BTreeMap::new();
    for Found { row, .. } in found {
        for item in &row.items {
            let known = newest.get(&item.seq).map(|(written, _)| *written);
            if known.is_none_or(|known| known < row.written) {
                newest.insert(item.seq, (row.written, item));
            }
        }
    }
    let is_it = |item: &InboxItem| {
        item.seq == place
            && matches!(&item.content, InboxContent::Message(message)
            if message.sender == erasure.author && message.msg_id == erasure.msg_id)
    };
    let has_it = |found: &&Found| found.row.items.iter().any(is_it);
    // Of a damaged row too: it meets itself.
    let is_unsure =
        |row: &&Found| found.iter().any(|other| other.damage.is_some() && other.meets(row));
    let (unsure, sure): (Vec<_>, Vec<_>) = found.iter().filter(has_it).partition(is_unsure);
    let rewritten = |found: &Found| {
        let item = |item: &InboxItem| {
            let newest = newest.get(&item.seq).map_or(item, |(_, newest)| newest);
            let content = if is_it(item) { InboxContent::Hole } else { newest.content.clone() };
            InboxItem { content, ..newest.clone() }
        };
        (found.row.first, found.row.items.iter().map(item).collect::<Vec<_>>())
    };
    let mut rows: Vec<_> = sure.into_iter().map(rewritten).collect();
    // A flush is written again until all of it is: the hole may be there.
    let is_hidden = newest.get(&place).is_some_and(|(written, item)| {
        matches!(item.content, InboxContent::Hole) && *written >= erasure.timestamp.get()
    });
    if rows.is_empty()
        && !is_hidden
        && !unsure.is_empty()
        && let (Some(first), Some((_, item))) = (free(found, place), newest.get(&place))
    {
        let hole = InboxItem { content: InboxContent::Hole, ..(*item).clone() };
        rows.push((first, vec![hole]));
    }
    rows
}

/// Under which first place a row of this place alone lies without taking the place of another one:
/// readers look for a place in the rows that begin at most 31 places below it.
fn free(found: &[Found], place: InboxSeq) -> Option<InboxSeq> {
    let begin = bucket_of(place) * BUCKET_PLACES;
    let from = place.0.saturating_sub(RUN_PLACES_MAX - 1).max(begin);
    let taken: BTreeSet<_> = found.iter().map(|found| found.row.first.0).collect();
    (from..=place.0).rev().find(|first| !taken.contains(first)).map(InboxSeq)
}

/// The rows that are not understood.
pub(super) fn damaged(found: &[Found], account: AccountId) -> Vec<DamagedRow> {
    let damaged = found.iter().filter_map(|found| {
        let why = found.damage.clone()?;
        let row = format!("places {} and on of account {account}", found.row.first);
        Some(DamagedRow { table: Table::Inbox, row, why })
    });
    damaged.collect()
}

#[cfg(test)]
mod tests;

//! History by conversation, messages that leave it, and marks.

use iris_core::account::{InboxContent, InboxItem};
use iris_core::clock::Hlc;
use iris_core::id::AccountId;
use iris_core::limits;
use iris_core::mark::Mark;
use iris_core::message::Address;
use iris_core::seq::InboxSeq;
use iris_core::shard::{Erasure, Fetch, Flush, HistoryPage, HistoryPoint, MarkRow, MarksPage};
use iris_proto::stored_rows;

use super::super::codec::{Packed, Parts, Tag};
use super::super::disk::{Batch, Disk};
use super::{corrupt, groups, place_key, put, stored};
use crate::{DamagedRow, StoreError, Table};

const FIRST: HistoryPoint = HistoryPoint { clock: Hlc(0), place: InboxSeq(0) };
const LAST: HistoryPoint = HistoryPoint { clock: Hlc(u64::MAX), place: InboxSeq(u64::MAX) };

pub(super) fn write(disk: &Disk, batch: &mut Batch, flush: &Flush) -> Result<(), StoreError> {
    for row in &flush.index {
        let point = HistoryPoint { clock: row.clock, place: row.place };
        let key = index_key(row.account, row.conversation, point);
        put(disk, batch, &key, &[], row.timestamp)?;
    }
    for row in &flush.marks {
        raise(disk, batch, *row)?;
    }
    Ok(())
}

/// Takes the bodies of erased messages out of their places. Answers those that cannot be understood:
/// nobody can tell whose they are, and they stay.
pub(super) fn erase(disk: &Disk, erasures: &[Erasure]) -> Result<Vec<DamagedRow>, StoreError> {
    let (mut batch, mut damaged) = (disk.batch(), Vec::new());
    for erasure in erasures {
        let point = |place| HistoryPoint { clock: erasure.clock, place };
        let key = |place| index_key(erasure.account, erasure.conversation, point(place));
        for row in disk.range(&key(InboxSeq(0)), &key(InboxSeq(u64::MAX))) {
            let place = point_of(&row?.0)?.place;
            let item = match whole_item_at(disk, erasure.account, place) {
                Ok(Some(item)) => item,
                Ok(None) => continue,
                Err(StoreError::Corrupt(why)) => {
                    let row = format!("place {place} of account {}", erasure.account);
                    damaged.push(DamagedRow { table: Table::Inbox, row, why });
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let InboxContent::Message(message) = &item.content
                && message.sender == erasure.author
                && message.msg_id == erasure.msg_id
            {
                let hole = InboxItem { content: InboxContent::Hole, ..item };
                let value = stored_rows::encode_inbox_run(std::slice::from_ref(&hole));
                let key = place_key(erasure.account, place);
                put(disk, &mut batch, &key, &value, erasure.timestamp)?;
            }
        }
    }
    disk.commit(batch)?;
    Ok(damaged)
}

pub(super) fn history(
    disk: &Disk,
    account: AccountId,
    fetch: Fetch,
) -> Result<HistoryPage, StoreError> {
    let limit = usize::try_from(fetch.limit).unwrap_or(usize::MAX);
    let (from, upto) = (FIRST, fetch.before.unwrap_or(LAST));
    let key = |point| index_key(account, fetch.conversation, point);
    let mut page = HistoryPage::default();
    let mut looked_at = 0;
    for row in disk.backwards(&key(from), &key(upto)) {
        let point = point_of(&row?.0)?;
        if point >= upto {
            continue;
        }
        looked_at += 1;
        if let Some(item) = item_at(disk, account, point.place)? {
            let item = groups::joined(disk, item)?;
            if matches!(item.content, InboxContent::Message(_)) {
                page.items.push(item);
            }
        }
        if looked_at == limit {
            page.next = Some(point);
            break;
        }
    }
    Ok(page)
}

fn item_at(
    disk: &Disk,
    account: AccountId,
    place: InboxSeq,
) -> Result<Option<InboxItem>, StoreError> {
    let Some((_, value)) = stored(disk, &place_key(account, place))? else { return Ok(None) };
    Ok(stored_rows::decode_inbox_run(value).map_err(corrupt)?.pop())
}

/// As [`item_at`], but an item that cannot be understood is none that reads as a hole.
fn whole_item_at(
    disk: &Disk,
    account: AccountId,
    place: InboxSeq,
) -> Result<Option<InboxItem>, StoreError> {
    if let Some((_, value)) = stored(disk, &place_key(account, place))? {
        stored_rows::check_inbox_run(value).map_err(corrupt)?;
    }
    item_at(disk, account, place)
}

/// Every part of a mark only grows.
fn raise(disk: &Disk, batch: &mut Batch, row: MarkRow) -> Result<(), StoreError> {
    let key = mark_key(row.account, row.with);
    let known = match disk.get(&key)? {
        Some(value) => mark_of(&value)?,
        None => Mark::default(),
    };
    let mark = known.merge(row.mark);
    let value = Packed::value().u64(mark.own_read.0).u64(mark.delivered.0);
    batch.put(&key, value.u64(mark.read.0).u64(mark.version));
    Ok(())
}

pub(super) fn marks(
    disk: &Disk,
    account: AccountId,
    above: u64,
    after: Option<AccountId>,
) -> Result<MarksPage, StoreError> {
    let of_account = Packed::key(Tag::Mark).raw(&account.to_bytes());
    let mut page = MarksPage::default();
    for row in disk.all(&of_account) {
        let (key, value) = row?;
        let mut parts = Parts::of(&key);
        let _tag_account = parts.array::<17>()?;
        let with = AccountId::from_bytes(&parts.rest());
        let with = with.map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let mark = mark_of(&value)?;
        if mark.version <= above || after.is_some_and(|after| with <= after) {
            continue;
        }
        page.marks.push((with, mark));
        if page.marks.len() == limits::MARKS_MAX {
            page.next = Some(with);
            break;
        }
    }
    Ok(page)
}

fn mark_of(value: &[u8]) -> Result<Mark, StoreError> {
    let mut parts = Parts::of(value);
    Ok(Mark {
        own_read: Hlc(parts.u64()?),
        delivered: Hlc(parts.u64()?),
        read: Hlc(parts.u64()?),
        version: parts.u64()?,
    })
}

fn mark_key(account: AccountId, with: AccountId) -> Packed {
    Packed::key(Tag::Mark).raw(&account.to_bytes()).raw(&with.to_bytes())
}

fn index_key(account: AccountId, conversation: Address, point: HistoryPoint) -> Packed {
    let (kind, id) = match conversation {
        Address::Account(account) => (1, account.to_bytes()),
        Address::Group(group) => (2, group.to_bytes()),
    };
    let key = Packed::key(Tag::Index).raw(&account.to_bytes()).u8(kind).raw(&id);
    key.u64(point.clock.0).u64(point.place.0)
}

fn point_of(key: &[u8]) -> Result<HistoryPoint, StoreError> {
    let mut parts = Parts::of(key);
    let _tag_account_conversation = parts.array::<34>()?;
    Ok(HistoryPoint { clock: Hlc(parts.u64()?), place: InboxSeq(parts.u64()?) })
}

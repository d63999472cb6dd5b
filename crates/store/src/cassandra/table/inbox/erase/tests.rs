//! What an erasure writes where rows overlap, and where some cannot be understood.

use std::sync::Arc;

use bytes::Bytes;
use iris_core::clock::{Hlc, LogicalTimestamp};
use iris_core::id::{DeviceNo, MsgId};
use iris_core::message::{Address, Bodies, Message};
use iris_core::seq::{ClientSeq, Epoch, HomeGen, ShardSeq};
use iris_proto::stored;
use prost::Message as _;

use super::*;

const PLACE: InboxSeq = InboxSeq(1040);

fn account() -> AccountId {
    AccountId::from_bytes(&[1; 16]).unwrap()
}

fn at(pos: u64) -> LogicalTimestamp {
    LogicalTimestamp::new(HomeGen(0), Epoch(1), ShardSeq(pos))
}

fn erasure() -> Erasure {
    Erasure {
        account: account(),
        conversation: Address::Account(account()),
        clock: Hlc(PLACE.0),
        author: account(),
        msg_id: MsgId([u8::try_from(PLACE.0 % 256).unwrap(); 16]),
        timestamp: at(100),
    }
}

fn item(place: u64) -> InboxItem {
    let content = InboxContent::Message(Arc::new(Message {
        sender: account(),
        sender_device: DeviceNo(1),
        client_seq: ClientSeq(place),
        msg_id: MsgId([u8::try_from(place % 256).unwrap(); 16]),
        to: Address::Account(account()),
        bodies: Bodies::Shared(Bytes::from_static(b"hello")),
        expires_at_ms: 0,
        clock: Hlc(place),
        about: None,
        group: None,
    }));
    InboxItem { seq: InboxSeq(place), clock: Hlc(place), content }
}

fn cell(places: impl IntoIterator<Item = u64>) -> Bytes {
    stored_rows::encode_inbox_run(&places.into_iter().map(item).collect::<Vec<_>>())
}

fn found(first: u64, run: Bytes, pos: u64) -> Found {
    let first = i64::try_from(first).unwrap();
    Found::of((first, Some(run), Some(at(pos).get()), None, None)).unwrap()
}

fn row(places: std::ops::RangeInclusive<u64>, pos: u64) -> Found {
    found(*places.start(), cell(places), pos)
}

/// Bytes that are no run.
fn damaged_row(first: u64, pos: u64) -> Found {
    found(first, Bytes::from_static(&[0xff; 9]), pos)
}

/// The rows that are written: the first place of each, and its places, holes as negative numbers.
fn shown(found: &[Found]) -> Vec<(u64, Vec<i64>)> {
    let place = |item: &InboxItem| match item.content {
        InboxContent::Hole => -i64::try_from(item.seq.0).unwrap(),
        _ => i64::try_from(item.seq.0).unwrap(),
    };
    let rows = written(found, &erasure(), PLACE).into_iter();
    rows.map(|(first, items)| (first.0, items.iter().map(place).collect())).collect()
}

fn damage(found: &[Found]) -> Vec<String> {
    damaged(found, account()).into_iter().map(|damaged| damaged.row).collect()
}

#[test]
fn every_row_that_has_the_message_is_written_with_a_hole() {
    let rows = [row(1038..=1041, 5), row(1039..=1040, 9), row(1041..=1042, 9)];
    let expected = [(1038, vec![1038, 1039, -1040, 1041]), (1039, vec![1039, -1040])];
    assert_eq!(shown(&rows), expected);
    assert!(damage(&rows).is_empty());
    assert!(shown(&[row(1041..=1045, 5)]).is_empty(), "it has no row");
}

#[test]
fn a_damaged_row_that_shares_no_place_changes_nothing() {
    let rows = [damaged_row(1000, 5), row(1038..=1041, 5), damaged_row(1042, 5)];
    assert_eq!(shown(&rows), [(1038, vec![1038, 1039, -1040, 1041])]);
    let words = |first| format!("places {first} and on of account {}", account());
    assert_eq!(damage(&rows), [words(1000), words(1042)]);
}

/// Whichever of the two is newer: neither row is touched, and the hole lies under a free first place.
#[test]
fn a_message_in_a_row_that_overlaps_a_damaged_one_is_hidden() {
    for pos in [3, 50] {
        let rows = [damaged_row(1030, pos), row(1039..=1041, 5), row(1040..=1040, 4)];
        assert_eq!(shown(&rows), [(1038, vec![-1040])], "damaged at {pos}");
        assert_eq!(damage(&rows).len(), 1);
    }
}

#[test]
fn what_is_hidden_is_not_hidden_again() {
    let mut rows = vec![damaged_row(1030, 3), row(1039..=1041, 5)];
    let written = written(&rows, &erasure(), PLACE);
    let (first, items) = &written[0];
    rows.push(found(first.0, stored_rows::encode_inbox_run(items), 100));
    assert!(shown(&rows).is_empty());
}

#[test]
fn what_only_a_damaged_row_may_have_stays_there() {
    assert!(shown(&[damaged_row(1030, 5)]).is_empty());
    assert!(shown(&[damaged_row(1030, 5), row(1041..=1042, 5)]).is_empty());
    // The place has a message of somebody else.
    let other = [InboxItem { seq: PLACE, ..item(7) }];
    let other = found(PLACE.0, stored_rows::encode_inbox_run(&other), 5);
    assert!(shown(&[damaged_row(1030, 5), other]).is_empty());
}

/// An item of a later version reads as a hole. Written again it would be one.
#[test]
fn a_row_with_an_item_that_is_not_understood_stays_as_it_is() {
    let run = cell(1039..=1041);
    let mut run = stored::InboxRun::decode(run).unwrap();
    let unknown = stored::inbox_item::Kind::Message(stored::Message::default());
    run.items[2].kind = Some(unknown);
    let rows = [found(1039, run.encode_to_vec().into(), 5)];
    assert_eq!(rows[0].row.items.len(), 3, "readers take it");
    assert_eq!(shown(&rows), [(1040, vec![-1040])]);
    assert_eq!(damage(&rows).len(), 1);
}

#[test]
fn a_partition_without_a_free_row_below_keeps_what_it_has() {
    let begin = BUCKET_PLACES;
    let rows: Vec<_> = (begin..=PLACE.0).map(|first| row(first..=PLACE.0, 5)).collect();
    assert_eq!(shown(&rows).len(), rows.len(), "all of them are written");
    let rows: Vec<_> = rows.into_iter().chain([damaged_row(PLACE.0 + 1, 5)]).collect();
    assert_eq!(shown(&rows).len(), rows.len() - 1, "it shares no place with them");
    let damage = |mut found: Found| {
        found.damage = Some("planted".to_owned());
        found
    };
    let rows: Vec<_> = rows.into_iter().map(damage).collect();
    assert!(shown(&rows).is_empty());
}

#![allow(clippy::unwrap_used, reason = "a test says where it failed")]

use bytes::Bytes;
use iris_core::clock::Hlc;
use iris_core::entry::Target;
use iris_core::group::{Heir, InGroup, Place, Reach};
use iris_core::id::{DeviceNo, GroupId, MsgId};
use iris_core::message::{Address, Bodies, Message};
use iris_core::seq::{ClientSeq, ConvSeq, Epoch, OutboxSeq, ShardSeq};
use iris_runtime::metrics::Metrics;

use super::*;

fn received(outcome: Received) -> Entry {
    let from = ShardId::new(3);
    Entry {
        shard: ShardId::new(1),
        epoch: Epoch(1),
        seq: ShardSeq(1),
        clock: Hlc(1),
        op: Op::Received { from, outbox_seq: OutboxSeq(1), outcome },
    }
}

fn account(byte: u8) -> AccountId {
    AccountId::from_bytes(&[byte; 16]).unwrap()
}

/// A flush that met rows that it did not understand says so, once for each of them.
#[test]
fn rows_that_an_erasure_did_not_understand_are_counted_by_their_tables() {
    let metrics = OwnerMetrics::new(&Metrics::new());
    let row = |table, row: &str| DamagedRow { table, row: row.to_owned(), why: String::new() };
    let (inbox, log) = (iris_store::Table::Inbox, iris_store::Table::GroupLog);
    let damaged = [row(inbox, "a"), row(inbox, "b"), row(log, "c")];
    rows_damaged(&metrics, ShardId::new(1), &damaged);
    let counted = |what: &str| metrics.damaged.with_label_values(&[what]).get();
    assert_eq!((counted("inbox"), counted("group_log")), (2, 1));
}

/// What a group took counts once, and each member's place of it for itself.
#[test]
fn messages_of_groups_are_counted_with_their_places() {
    let metrics = OwnerMetrics::new(&Metrics::new());
    let place = Some(Place { seq: ConvSeq(1), reach: Reach::Inline });
    let message = Arc::new(Message {
        sender: account(1),
        sender_device: DeviceNo(1),
        client_seq: ClientSeq(1),
        msg_id: MsgId([1; 16]),
        to: Address::Group(GroupId::from_bytes(&[5; 16]).unwrap()),
        bodies: Bodies::Shared(Bytes::new()),
        expires_at_ms: 0,
        clock: Hlc(1),
        about: None,
        group: Some(Box::new(InGroup { place, ..InGroup::default() })),
    });
    let targets: Vec<Target> = Vec::new();
    let places = vec![(account(1), InboxSeq(1)), (account(2), InboxSeq(9))];
    let shared = || Received::Shared {
        message: Arc::clone(&message),
        places: places.clone(),
        declined: None,
    };
    let ordered = Received::Ordered { message: Arc::clone(&message), targets, heir: Heir::Nobody };
    let entries = [ordered, shared(), shared(), Received::Dropped].map(received);
    count(&metrics, &entries);
    assert_eq!((metrics.group_messages.get(), metrics.group_places.get()), (1, 4));
    assert_eq!(metrics.received.get(), 0, "those of groups are not counted twice");
}

#[test]
fn only_rows_that_cannot_be_understood_are_damaged() {
    use super::super::groups::group_read;

    let metrics = OwnerMetrics::new(&Metrics::new());
    let (shard, account) = (ShardId::new(1), account(1));
    let group = GroupId::from_bytes(&[5; 16]).unwrap();
    let corrupt = || StoreError::Corrupt("a field".to_owned());
    let away = || StoreError::Unavailable("a timeout".to_owned());
    let counted = |what: &str| metrics.damaged.with_label_values(&[what]).get();
    let input = account_read(&metrics, shard, account, Err(away()));
    assert!(matches!(input, Input::LoadFailed { .. }));
    let input = group_read(&metrics, shard, group, Err(away()));
    assert!(matches!(input, Input::GroupLoadFailed { .. }));
    assert_eq!((counted("account"), counted("group")), (0, 0));
    let input = account_read(&metrics, shard, account, Err(corrupt()));
    assert!(matches!(input, Input::AccountDamaged { .. }));
    let input = group_read(&metrics, shard, group, Err(corrupt()));
    assert!(matches!(input, Input::GroupDamaged { .. }));
    assert_eq!((counted("account"), counted("group")), (1, 1));
}

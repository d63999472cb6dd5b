//! Bytes of the future: what this version does with what a later one may write while both serve, for each
//! format that is stored. [ADR 0020](../../../../docs/adr/0020-upgrades.md) has the rule that follows.
//!
//! - A *field* that is not known is passed over, and is gone once this version writes the value again.
//! - A *code* that is not known is kept.
//! - A *variant* that is not known is an error that names its place; of an inbox, a place without content.

use bytes::Bytes;
use iris_core::account::InboxContent;
use iris_core::relation::Audience;
use iris_core::seq::OutboxSeq;
use iris_proto::FormatError::{self, Missing, OutOfBounds};
use iris_proto::{stored_blocks, stored_groups, stored_relations, stored_rows};

use crate::wire::{renumbered, with_number, with_unknown};

const BLOCKS: [&str; 4] = ["block.v1.bin", "block.v2.bin", "block.v3.bin", "block.v4.bin"];
const ANY: OutboxSeq = OutboxSeq(77);

fn golden(name: &str) -> Bytes {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap().into()
}

fn block(bytes: Bytes) -> Bytes {
    let (header, entries) = stored_blocks::decode(bytes).unwrap();
    stored_blocks::encode(header, &entries)
}

fn account(bytes: Bytes) -> Bytes {
    stored_rows::encode_account(&stored_rows::decode_account(bytes).unwrap())
}

fn relations(bytes: Bytes) -> Bytes {
    stored_relations::encode_relations(&stored_relations::decode_relations(bytes).unwrap())
}

fn group(bytes: Bytes) -> Bytes {
    stored_groups::encode_group(&stored_groups::decode_group(bytes).unwrap())
}

fn memberships(bytes: Bytes) -> Bytes {
    stored_groups::encode_memberships(&stored_groups::decode_memberships(bytes).unwrap())
}

fn log_message(bytes: Bytes) -> Bytes {
    stored_groups::encode_log_message(&stored_groups::decode_log_message(bytes).unwrap())
}

fn outbox_item(bytes: Bytes) -> Bytes {
    stored_rows::encode_outbox_item(&stored_rows::decode_outbox_item(ANY, bytes).unwrap())
}

fn inbox_run(bytes: Bytes) -> Bytes {
    stored_rows::encode_inbox_run(&stored_rows::decode_inbox_run(bytes).unwrap())
}

fn peer(bytes: Bytes) -> Bytes {
    stored_rows::encode_peer(stored_rows::decode_peer(bytes).unwrap())
}

/// Reads and writes again.
type Rewrite = fn(Bytes) -> Bytes;

/// What is stored, and where in it a later version may say something more.
const FIELDS: [(&str, Rewrite, &[&[u32]]); 18] = [
    (
        "block.v1.bin",
        block,
        &[
            &[],
            &[4],
            &[4, 10],
            &[4, 11],
            &[4, 12],
            &[4, 13],
            &[4, 14],
            &[4, 14, 1],
            &[4, 14, 1, 5],
            &[4, 14, 1, 7],
            &[4, 15],
            &[4, 16],
            &[4, 16, 3],
            &[4, 16, 4],
            &[4, 16, 4, 1],
            &[4, 16, 5],
            &[4, 16, 6],
            &[4, 17],
            &[4, 17, 1],
            &[4, 17, 2],
            &[4, 17, 3],
        ],
    ),
    (
        "block.v2.bin",
        block,
        &[
            &[4, 14, 1, 10],
            &[4, 16, 7],
            &[4, 16, 7, 1],
            &[4, 17, 4],
            &[4, 18],
            &[4, 18, 2],
            &[4, 19],
        ],
    ),
    (
        "block.v3.bin",
        block,
        &[
            &[4, 14, 1, 11],
            &[4, 14, 1, 11, 1],
            &[4, 14, 1, 11, 1, 1, 2],
            &[4, 14, 1, 11, 1, 2],
            &[4, 14, 1, 11, 1, 5],
            &[4, 16, 8],
            &[4, 16, 8, 2],
            &[4, 16, 9],
            &[4, 16, 9, 2],
        ],
    ),
    ("block.v4.bin", block, &[&[4, 16, 8]]),
    ("account.v1.bin", account, &[&[], &[5], &[5, 8]]),
    ("account.v2.bin", account, &[&[]]),
    ("relations.v2.bin", relations, &[&[]]),
    ("group.v3.bin", group, &[&[], &[5]]),
    ("memberships.v3.bin", memberships, &[&[], &[1]]),
    ("memberships.v4.bin", memberships, &[&[1]]),
    ("group_log.v3.bin", log_message, &[&[], &[5], &[11]]),
    ("for_members.v3.bin", outbox_item, &[&[], &[6], &[6, 1]]),
    ("declined.v3.bin", outbox_item, &[&[7]]),
    ("outbox_message.v5.bin", outbox_item, &[&[], &[1]]),
    ("outbox_notice.v5.bin", outbox_item, &[&[2]]),
    ("outbox_receipt.v5.bin", outbox_item, &[&[5]]),
    ("inbox_run.v5.bin", inbox_run, &[&[], &[1], &[1, 3], &[1, 4]]),
    ("peer.v5.bin", peer, &[&[]]),
];

/// So a field that must not be lost while both versions serve is written one version after it is read.
#[test]
fn a_field_of_a_later_version_is_passed_over_and_dropped_by_the_next_write() {
    for (name, rewrite, places) in FIELDS {
        let written = golden(name);
        assert_eq!(rewrite(written.clone()), written, "{name}");
        for place in places {
            let later = with_unknown(&written, place);
            assert!(later.len() > written.len());
            assert_eq!(rewrite(later), written, "{name}, {place:?}");
        }
    }
}

/// Who erases a message must not write such a row again.
#[test]
fn a_run_in_which_a_later_version_said_anything_is_found() {
    let written = golden("inbox_run.v5.bin");
    assert_eq!(stored_rows::check_inbox_run(written.clone()), Ok(()));
    for place in [&[][..], &[1], &[1, 3], &[1, 3, 11], &[1, 4]] {
        let later = with_unknown(&written, place);
        assert_eq!(stored_rows::check_inbox_run(later), Err(FormatError::Later), "{place:?}");
    }
    let unknown = renumbered(&written, &[1], 3);
    assert_eq!(stored_rows::check_inbox_run(unknown), Err(FormatError::Later), "a kind of item");
    let reach = with_number(&written, &[1, 3, 11], 4, 9);
    assert_eq!(stored_rows::check_inbox_run(reach), Err(OutOfBounds("reach")));
}

/// A code is for people and their programs: what goes on does not depend on knowing it.
#[test]
fn a_code_of_a_later_version_is_kept() {
    let places: [(&str, Rewrite, &[u32], u32); 6] = [
        ("block.v1.bin", block, &[4, 15], 4),
        ("block.v1.bin", block, &[4, 16, 4, 1], 5),
        ("block.v1.bin", block, &[4, 16, 5, 2], 5),
        ("account.v1.bin", account, &[5, 8], 2),
        ("inbox_run.v5.bin", inbox_run, &[1, 4], 5),
        ("outbox_notice.v5.bin", outbox_item, &[2], 5),
    ];
    for (name, rewrite, place, field) in places {
        let written = golden(name);
        let later = with_number(&written, place, field, 4_999);
        assert_ne!(later, written);
        assert_eq!(rewrite(later.clone()), later, "{name}, {place:?}");
    }
    let none = with_number(&golden("outbox_notice.v5.bin"), &[2], 5, 70_000);
    let read = stored_rows::decode_outbox_item(ANY, none);
    assert_eq!(read, Err(OutOfBounds("code")), "no code of any version");
}

/// An entry that is not understood stops the replay of its shard, and of no other: what follows it was
/// decided after it.
#[test]
fn a_decision_of_a_later_version_is_an_error_with_its_place() {
    let blocks = BLOCKS.map(golden);
    let cases: [(Bytes, FormatError, usize); 8] = [
        (renumbered(&blocks[0], &[4], 14), Missing("op"), 2),
        (renumbered(&blocks[0], &[4, 16], 3), Missing("outcome"), 1),
        (renumbered(&blocks[0], &[4, 14, 1, 5], 1), Missing("to"), 2),
        (renumbered(&blocks[1], &[4, 18], 2), Missing("wish"), 2),
        (with_number(&blocks[1], &[4, 14, 1, 10], 1, 9), OutOfBounds("act"), 3),
        (renumbered(&blocks[2], &[4, 14, 1, 11, 1], 2), Missing("change"), 1),
        (with_number(&blocks[2], &[4, 14, 1, 11, 1, 5], 2, 9), OutOfBounds("role"), 2),
        (with_number(&blocks[3], &[4, 16, 8, 1, 11], 4, 9), OutOfBounds("reach"), 3),
    ];
    for (later, error, count) in cases {
        assert!(stored_blocks::decode(later.clone()).is_err(), "{error}");
        let each = stored_blocks::decode_each(later).unwrap();
        let unusable: Vec<_> = each.iter().filter_map(|entry| entry.as_ref().err()).collect();
        assert_eq!(unusable.len(), count, "{error}");
        for one in unusable {
            assert_eq!(one.source, error);
            assert_eq!((one.shard.get(), one.epoch.0), (513, 6));
            assert!((100..200).contains(&one.seq.0), "{one:?}");
        }
    }
}

/// It waits in the outbox: who takes it out of the order loses what is acknowledged.
#[test]
fn an_outbox_item_of_a_later_version_is_an_error() {
    for (name, kind) in [("outbox_message.v5.bin", 1), ("for_members.v3.bin", 6)] {
        let later = renumbered(&golden(name), &[], kind);
        assert_eq!(stored_rows::decode_outbox_item(ANY, later), Err(Missing("parcel")), "{name}");
    }
}

/// The place counts, whatever is in it: the numbers of an inbox have no gaps.
#[test]
fn an_inbox_item_of_a_later_version_is_a_place_without_content() {
    let written = golden("inbox_run.v5.bin");
    let known = stored_rows::decode_inbox_run(written.clone()).unwrap();
    let changed = [renumbered(&written, &[1], 3), with_number(&written, &[1, 3, 11], 4, 9)];
    for (later, holes) in changed.into_iter().zip([3, 2]) {
        let read = stored_rows::decode_inbox_run(later).unwrap();
        assert!(read.iter().map(|item| item.seq).eq(known.iter().map(|item| item.seq)));
        let found = read.iter().filter(|item| item.content == InboxContent::Hole).count();
        assert_eq!(found, holes, "one was there before");
    }
}

/// Who is shown less than they allow finds out; who is shown more cannot take it back.
#[test]
fn an_audience_of_a_later_version_is_nobody_also_in_the_next_write() {
    let later = with_number(&golden("relations.v2.bin"), &[], 3, 9);
    let read = stored_relations::decode_relations(later.clone()).unwrap();
    assert_eq!(read.presence, Audience::Nobody);
    assert_ne!(relations(later.clone()), later);
}

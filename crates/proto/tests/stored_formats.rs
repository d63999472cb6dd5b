//! What is stored comes back, and the bytes of released versions stay readable for ever.

#![allow(clippy::unwrap_used, reason = "a test says where it failed")]

#[path = "stored_formats/any.rs"]
mod any;
#[path = "stored_formats/any_groups.rs"]
mod any_groups;
#[path = "stored_formats/fifth.rs"]
mod fifth;
#[path = "stored_formats/future.rs"]
mod future;
#[path = "stored_formats/specimens.rs"]
mod specimens;
#[path = "stored_formats/third.rs"]
mod third;
#[path = "stored_formats/wire.rs"]
mod wire;

use bytes::Bytes;
use iris_core::block::BlockHeader;
use iris_core::entry::Entry;
use iris_core::group::{Member, Role};
use iris_core::relation::Audience;
use iris_core::seq::{BlockSeq, ConvSeq, OutboxSeq};
use iris_proto::{
    FormatError, stored, stored_blocks, stored_groups, stored_relations, stored_rows,
};
use proptest::prelude::*;
use prost::Message as _;

use specimens::{first_account, first_block, second_account, second_block, wishes};
use third::{fourth_block, third_block};

const NO_HEADER: BlockHeader = BlockHeader { released: BlockSeq(0), materialized: BlockSeq(0) };

#[test]
fn a_block_comes_back() {
    for (header, entries) in [first_block(), second_block(), third_block(), fourth_block()] {
        let bytes = stored_blocks::encode(header, &entries);
        assert_eq!(stored_blocks::decode_header(&bytes).unwrap(), header);
        assert_eq!(stored_blocks::decode(bytes).unwrap(), (header, entries));
    }
}

#[test]
fn a_block_of_a_later_version_is_refused_by_name() {
    let (header, entries) = first_block();
    let mut bytes = stored_blocks::encode(header, &entries).to_vec();
    assert_eq!(bytes[..2], [0x08, 0x01], "the version is the first field");
    bytes[1] = 9;
    let error = stored_blocks::decode(bytes.into()).unwrap_err();
    assert_eq!(error.to_string(), "version 9 is newer than this program");
}

/// What is wrong with one entry is its own shard's affair.
#[test]
fn an_entry_that_cannot_be_understood_leaves_the_others_of_its_block() {
    let (header, entries) = first_block();
    let bytes = stored_blocks::encode(header, &entries);
    let mut block = stored::Block::decode(bytes).unwrap();
    block.entries[1].op = None;
    let found = stored_blocks::decode_each(block.encode_to_vec().into()).unwrap();
    assert_eq!(found.len(), entries.len());
    for (index, (found, entry)) in found.into_iter().zip(entries).enumerate() {
        match found {
            Ok(found) => assert_eq!((found, index == 1), (entry, false)),
            Err(unusable) => {
                assert_eq!(index, 1);
                assert_eq!((unusable.shard, unusable.epoch), (entry.shard, entry.epoch));
                assert_eq!(unusable.seq, entry.seq);
                assert_eq!(unusable.source, FormatError::Missing("op"));
            }
        }
    }
}

#[test]
fn an_audience_of_a_later_version_is_taken_for_the_smallest() {
    let relations = stored::Relations { presence: 9, ..stored::Relations::default() };
    let relations = stored_relations::decode_relations(relations.encode_to_vec().into());
    assert_eq!(relations.unwrap().presence, Audience::Nobody);
}

/// The bytes of every released version, written once and never again. To add a version, add a file.
#[test]
fn golden_bytes_stay_readable() {
    let golden = |name: &str, written: Bytes| -> Bytes {
        let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        let missing = !std::fs::exists(&path).unwrap();
        if missing && std::env::var_os("IRIS_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &written).unwrap();
        }
        let bytes: Bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{name}: {e}")).into();
        // This version writes the same bytes, so that an upgrade and a downgrade read each other.
        assert_eq!(written, bytes, "{name}");
        bytes
    };
    let blocks = [
        ("block.v1.bin", first_block()),
        ("block.v2.bin", second_block()),
        ("block.v3.bin", third_block()),
        ("block.v4.bin", fourth_block()),
    ];
    for (name, block) in blocks {
        let bytes = golden(name, stored_blocks::encode(block.0, &block.1));
        assert_eq!(stored_blocks::decode(bytes).unwrap(), block, "{name}");
    }
    for (name, account) in
        [("account.v1.bin", first_account()), ("account.v2.bin", second_account())]
    {
        let bytes = golden(name, stored_rows::encode_account(&account));
        assert_eq!(stored_rows::decode_account(bytes).unwrap(), account, "{name}");
    }
    let bytes = golden("relations.v2.bin", stored_relations::encode_relations(&wishes()));
    assert_eq!(stored_relations::decode_relations(bytes).unwrap(), wishes());
    let group = third::group_state();
    let bytes = golden("group.v3.bin", stored_groups::encode_group(&group));
    assert_eq!(stored_groups::decode_group(bytes).unwrap(), group);
    for (name, memberships) in [
        ("memberships.v3.bin", third::memberships()),
        ("memberships.v4.bin", third::memberships_with_time()),
    ] {
        let bytes = golden(name, stored_groups::encode_memberships(&memberships));
        assert_eq!(stored_groups::decode_memberships(bytes).unwrap(), memberships, "{name}");
    }
    let message = third::log_message();
    let bytes = golden("group_log.v3.bin", stored_groups::encode_log_message(&message));
    assert_eq!(stored_groups::decode_log_message(bytes).unwrap(), message);
    let run = fifth::inbox_run();
    let bytes = golden("inbox_run.v5.bin", stored_rows::encode_inbox_run(&run));
    assert_eq!(stored_rows::decode_inbox_run(bytes).unwrap(), run);
    let names = ["outbox_message.v5.bin", "outbox_notice.v5.bin", "outbox_receipt.v5.bin"];
    for (name, item) in names.into_iter().zip(fifth::parcels()) {
        let bytes = golden(name, stored_rows::encode_outbox_item(&item));
        assert_eq!(stored_rows::decode_outbox_item(item.seq, bytes).unwrap(), item, "{name}");
    }
    let bytes = golden("peer.v5.bin", stored_rows::encode_peer(fifth::PEER));
    assert_eq!(stored_rows::decode_peer(bytes).unwrap(), fifth::PEER);
    for (name, item) in ["for_members.v3.bin", "declined.v3.bin"].into_iter().zip(third::parcels())
    {
        let bytes = golden(name, stored_rows::encode_outbox_item(&item));
        assert_eq!(stored_rows::decode_outbox_item(item.seq, bytes).unwrap(), item, "{name}");
    }
}

/// A group or a message whose reach or role a later version wrote is not taken for another one.
#[test]
fn what_a_later_version_wrote_of_groups_is_an_error() {
    let state = stored::GroupState { reach: 9, ..stored::GroupState::default() };
    let read = stored_groups::decode_group(state.encode_to_vec().into());
    assert_eq!(read, Err(FormatError::OutOfBounds("reach")));
    assert_eq!(stored_groups::member_of(9, 1), Err(FormatError::OutOfBounds("role")));
    let row = stored_groups::encode_log_message(&third::log_message());
    let row = stored::Message::decode(row).unwrap();
    let with = |in_group| {
        let row = stored::Message { in_group, ..row.clone() };
        stored_groups::decode_log_message(row.encode_to_vec().into()).map(|_| ())
    };
    let in_group = row.in_group.clone().unwrap();
    assert_eq!(with(Some(in_group.clone())), Ok(()));
    let far = stored::InGroup { reach: 9, ..in_group.clone() };
    assert_eq!(with(Some(far)), Err(FormatError::OutOfBounds("reach")));
    let promotion = stored::Promotion { account: vec![1; 16].into(), role: 9 };
    let kind = Some(stored::group_change::Kind::Promote(promotion));
    let change = Some(stored::GroupChange { kind });
    let promoted = stored::InGroup { change, ..in_group };
    assert_eq!(with(Some(promoted)), Err(FormatError::OutOfBounds("role")));
    let unknown = Some(stored::GroupChange { kind: None });
    let changed = stored::InGroup { change: unknown, ..in_group };
    assert_eq!(with(Some(changed)), Err(FormatError::Missing("change")));
    let nowhere = stored::InGroup { place: 0, ..in_group };
    assert_eq!(with(Some(nowhere)), Err(FormatError::Missing("place")));
    assert_eq!(with(None), Err(FormatError::Missing("place")));
}

#[test]
fn roles_come_back() {
    let since = ConvSeq(7);
    for role in [Role::Member, Role::Admin] {
        let found = stored_groups::member_of(stored_groups::role_number(role), 7);
        assert_eq!(found, Ok(Some(Member { role, since })));
    }
    assert_eq!(stored_groups::member_of(0, 7), Ok(None), "who is gone");
}

/// An entry's weight is what blocks are limited by: it must not be below the entry's bytes.
fn check_weight(entry: &Entry) -> Result<(), String> {
    let empty = stored_blocks::encode(NO_HEADER, &[]).len();
    let bytes = stored_blocks::encode(NO_HEADER, std::slice::from_ref(entry)).len() - empty;
    let fits = bytes <= entry.weight();
    fits.then_some(()).ok_or_else(|| format!("{bytes} > {} for {entry:?}", entry.weight()))
}

#[test]
fn the_weight_of_a_specimen_bounds_its_bytes() {
    for entry in first_block().1.iter().chain(&second_block().1).chain(&third_block().1) {
        check_weight(entry).unwrap();
    }
}

proptest! {
    #[test]
    fn every_entry_comes_back(entries in proptest::collection::vec(any::entry(), 0..4)) {
        let header = BlockHeader { released: BlockSeq(9), materialized: BlockSeq(8) };
        let bytes = stored_blocks::encode(header, &entries);
        prop_assert_eq!(stored_blocks::decode(bytes).unwrap(), (header, entries));
    }

    #[test]
    fn the_weight_of_an_entry_bounds_its_bytes(entry in any::entry()) {
        check_weight(&entry).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn an_account_comes_back(account in any::account_state()) {
        let bytes = stored_rows::encode_account(&account);
        prop_assert_eq!(stored_rows::decode_account(bytes).unwrap(), account);
    }

    #[test]
    fn wishes_come_back(relations in any::relations()) {
        let bytes = stored_relations::encode_relations(&relations);
        prop_assert_eq!(&stored_relations::decode_relations(bytes).unwrap(), &relations);
        let sent = stored_relations::relations_to_stored(&relations);
        prop_assert_eq!(stored_relations::relations_from_stored(sent).unwrap(), relations);
    }

    #[test]
    fn a_group_comes_back(group in any_groups::group_state()) {
        let bytes = stored_groups::encode_group(&group);
        prop_assert_eq!(stored_groups::decode_group(bytes).unwrap(), group);
    }

    #[test]
    fn memberships_come_back(memberships in any_groups::memberships()) {
        let bytes = stored_groups::encode_memberships(&memberships);
        prop_assert_eq!(&stored_groups::decode_memberships(bytes).unwrap(), &memberships);
        let sent = stored_groups::memberships_to_stored(&memberships);
        prop_assert_eq!(stored_groups::memberships_from_stored(sent).unwrap(), memberships);
    }

    #[test]
    fn a_row_of_a_log_comes_back(message in any::message()) {
        let bytes = stored_groups::encode_log_message(&message);
        match stored_groups::decode_log_message(bytes) {
            Ok(read) => prop_assert_eq!(read, message),
            Err(error) => {
                prop_assert!(message.place().is_none());
                prop_assert_eq!(error, FormatError::Missing("place"));
            }
        }
    }

    #[test]
    fn a_run_of_an_inbox_comes_back(items in any::inbox_run()) {
        let bytes = stored_rows::encode_inbox_run(&items);
        prop_assert_eq!(stored_rows::decode_inbox_run(bytes).unwrap(), items);
    }

    #[test]
    fn an_outbox_item_comes_back(item in any::outbox_item()) {
        let bytes = stored_rows::encode_outbox_item(&item);
        prop_assert_eq!(stored_rows::decode_outbox_item(item.seq, bytes).unwrap(), item);
    }

    #[test]
    fn garbage_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = stored_blocks::decode(bytes.clone());
        let _ = stored_rows::decode_account(bytes.clone());
        let _ = stored_relations::decode_relations(bytes.clone());
        let _ = stored_rows::decode_inbox_run(bytes.clone());
        let _ = stored_groups::decode_group(bytes.clone());
        let _ = stored_groups::decode_memberships(bytes.clone());
        let _ = stored_groups::decode_log_message(bytes.clone());
        let _ = stored_rows::decode_outbox_item(OutboxSeq(1), bytes);
    }

    #[test]
    fn a_damaged_block_never_panics(
        block in 0usize..3,
        at in 0usize..2000,
        with in any::<u8>(),
    ) {
        let (header, entries) = [first_block, second_block, third_block][block]();
        let mut bytes = stored_blocks::encode(header, &entries).to_vec();
        let at = at % bytes.len();
        bytes[at] ^= with;
        let _ = stored_blocks::decode(bytes.into());
    }
}

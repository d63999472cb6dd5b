//! What is stored comes back, and the bytes of released versions stay readable for ever.

#![allow(clippy::unwrap_used, reason = "a test says where it failed")]

use bytes::Bytes;
use iris_core::account::{Account, Device, InboxContent, InboxItem};
use iris_core::block::BlockHeader;
use iris_core::clock::{Hlc, WallMs};
use iris_core::code::Code;
use iris_core::entry::{Entry, Op, Progress, Received, Slot};
use iris_core::id::{AccountId, DeviceNo, MsgId, PublicKey, ShardId};
use iris_core::message::{Address, Bodies, Message, Notice, Parcel};
use iris_core::seq::{BlockSeq, ClientSeq, Epoch, InboxSeq, OutboxSeq, ShardSeq};
use iris_core::shard::OutboxItem;
use iris_proto::{stored_blocks, stored_rows};
use proptest::prelude::*;

/// One of everything that a block can hold, always the same.
fn specimen() -> (BlockHeader, Vec<Entry>) {
    let account = AccountId::from_bytes(&[7; 16]).unwrap();
    let other = AccountId::from_bytes(&[0xab; 16]).unwrap();
    let device = DeviceNo(3);
    let message = |bodies| {
        std::sync::Arc::new(Message {
            sender: account,
            sender_device: device,
            client_seq: ClientSeq(41),
            msg_id: MsgId([9; 16]),
            to: Address::Account(other),
            bodies,
            expires_at_ms: 1_900_000_000_000,
            clock: Hlc(0x1234_5678_9abc),
        })
    };
    let shared = message(Bodies::Shared(Bytes::from_static(b"ciphertext")));
    let each = message(Bodies::PerDevice(vec![
        (DeviceNo(1), Bytes::from_static(b"one")),
        (DeviceNo(2), Bytes::from_static(b"two")),
    ]));
    let notice = Notice {
        account,
        device,
        client_seq: ClientSeq(41),
        msg_id: MsgId([9; 16]),
        code: Code::NoConversation,
    };
    let slot = Slot { to: ShardId::new(600), seq: OutboxSeq(77) };
    let from = ShardId::new(12);
    let received = |outcome| Op::Received { from, outbox_seq: OutboxSeq(5), outcome };
    let ops = vec![
        Op::AccountCreated { account },
        Op::DeviceAdded { account, device, key: PublicKey([4; 32]), name: "phone".to_owned() },
        Op::DeviceRevoked { account, device },
        Op::RefreshRotated { account, device, current: 8, previous: 7 },
        Op::Sent { message: shared.clone(), inbox_seq: InboxSeq(10), slot },
        Op::Sent { message: each, inbox_seq: InboxSeq(11), slot },
        Op::SendRefused { account, device, client_seq: ClientSeq(42), code: Code::TooLarge },
        received(Received::Delivered { account: other, inbox_seq: InboxSeq(3), message: shared }),
        received(Received::Refused { notice, slot }),
        received(Received::Noticed { inbox_seq: InboxSeq(12), notice }),
        received(Received::Dropped),
        Op::Progress(Progress {
            cursors: vec![(account, device, InboxSeq(9))],
            confirmations: vec![(ShardId::new(600), OutboxSeq(76))],
            floors: vec![(other, InboxSeq(2))],
        }),
    ];
    let entries = ops.into_iter().zip(100..).map(|(op, seq)| Entry {
        shard: ShardId::new(513),
        epoch: Epoch(6),
        seq: ShardSeq(seq),
        clock: Hlc(0x1234_5678_9abc + seq),
        op,
    });
    let header = BlockHeader { released: BlockSeq(1000), materialized: BlockSeq(900) };
    (header, entries.collect())
}

fn account_specimen() -> Account {
    let mut account = Account::new(ShardSeq(1234));
    account.head = InboxSeq(50);
    account.floor = InboxSeq(4);
    let mut device = Device::new(
        PublicKey([5; 32]),
        "laptop".to_owned(),
        WallMs(1_800_000_000_000),
        InboxSeq(7),
    );
    device.decided(ClientSeq(1), None);
    device.decided(ClientSeq(2), Some(Code::Quota));
    device.refresh_current = 3;
    device.refresh_previous = 2;
    account.devices.insert(DeviceNo(1), device.clone());
    device.revoked = true;
    account.devices.insert(DeviceNo(2), device);
    account
}

#[test]
fn a_block_comes_back() {
    let (header, entries) = specimen();
    let bytes = stored_blocks::encode(header, &entries);
    assert_eq!(stored_blocks::decode_header(&bytes).unwrap(), header);
    assert_eq!(stored_blocks::decode(bytes).unwrap(), (header, entries));
}

#[test]
fn rows_come_back() {
    let account = account_specimen();
    let bytes = stored_rows::encode_account(&account);
    assert_eq!(stored_rows::decode_account(bytes).unwrap(), account);

    let (_, entries) = specimen();
    let Op::Sent { message, .. } = &entries[4].op else { unreachable!() };
    let items: Vec<_> = [
        InboxContent::Message(message.clone()),
        InboxContent::Hole,
        InboxContent::Message(message.clone()),
    ]
    .into_iter()
    .zip(5..)
    .map(|(content, seq)| InboxItem { seq: InboxSeq(seq), clock: Hlc(seq), content })
    .collect();
    let bytes = stored_rows::encode_inbox_run(&items);
    assert_eq!(stored_rows::decode_inbox_run(bytes).unwrap(), items);

    let item = OutboxItem {
        seq: OutboxSeq(9),
        pos: ShardSeq(8),
        queued_at: WallMs(7),
        parcel: Parcel::Message(message.clone()),
    };
    let bytes = stored_rows::encode_outbox_item(&item);
    assert_eq!(stored_rows::decode_outbox_item(OutboxSeq(9), bytes).unwrap(), item);
}

/// An entry's weight is what blocks are limited by: it must not be below the entry's bytes.
#[test]
fn the_weight_of_an_entry_bounds_its_bytes() {
    let (header, entries) = specimen();
    let empty = stored_blocks::encode(header, &[]).len();
    for entry in entries {
        let bytes = stored_blocks::encode(header, std::slice::from_ref(&entry)).len() - empty;
        assert!(bytes <= entry.weight(), "{bytes} > {} for {entry:?}", entry.weight());
    }
}

#[test]
fn a_block_of_a_later_version_is_refused_by_name() {
    let (header, entries) = specimen();
    let mut bytes = stored_blocks::encode(header, &entries).to_vec();
    assert_eq!(bytes[..2], [0x08, 0x01], "the version is the first field");
    bytes[1] = 9;
    let error = stored_blocks::decode(bytes.into()).unwrap_err();
    assert_eq!(error.to_string(), "version 9 is newer than this program");
}

/// The bytes of every released version, written once and never again. To add a version, add a file.
#[test]
fn golden_bytes_stay_readable() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    if std::env::var_os("IRIS_WRITE_GOLDEN").is_some() {
        let (header, entries) = specimen();
        let write = |name, bytes: Bytes| std::fs::write(format!("{directory}/{name}"), bytes);
        write("block.v1.bin", stored_blocks::encode(header, &entries)).unwrap();
        write("account.v1.bin", stored_rows::encode_account(&account_specimen())).unwrap();
    }
    let read = |name: &str| -> Bytes {
        std::fs::read(format!("{directory}/{name}"))
            .unwrap_or_else(|e| panic!("{name}: {e}"))
            .into()
    };
    assert_eq!(stored_blocks::decode(read("block.v1.bin")).unwrap(), specimen());
    assert_eq!(stored_rows::decode_account(read("account.v1.bin")).unwrap(), account_specimen());
    // This version writes the same bytes, so that an upgrade and a downgrade read each other.
    let (header, entries) = specimen();
    assert_eq!(stored_blocks::encode(header, &entries), read("block.v1.bin"));
    assert_eq!(stored_rows::encode_account(&account_specimen()), read("account.v1.bin"));
}

proptest! {
    #[test]
    fn garbage_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = stored_blocks::decode(bytes.clone());
        let _ = stored_rows::decode_account(bytes.clone());
        let _ = stored_rows::decode_inbox_run(bytes.clone());
        let _ = stored_rows::decode_outbox_item(OutboxSeq(1), bytes);
    }

    #[test]
    fn a_damaged_block_never_panics(at in 0usize..400, with in any::<u8>()) {
        let (header, entries) = specimen();
        let mut bytes = stored_blocks::encode(header, &entries).to_vec();
        let at = at % bytes.len();
        bytes[at] ^= with;
        let _ = stored_blocks::decode(bytes.into());
    }
}

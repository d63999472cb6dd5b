//! What the golden files hold: always the same, with one of everything that their version knew.

use std::sync::Arc;

use bytes::Bytes;
use iris_core::account::{Account, Device};
use iris_core::block::BlockHeader;
use iris_core::clock::{Hlc, WallMs};
use iris_core::code::Code;
use iris_core::entry::{Entry, Op, Progress, Received, Slot};
use iris_core::id::{AccountId, DeviceNo, MsgId, PublicKey, ShardId};
use iris_core::mark::Receipt;
use iris_core::message::{About, Act, Address, Bodies, Message, Notice};
use iris_core::relation::{Audience, Relations, Tells, Wish};
use iris_core::seq::{BlockSeq, ClientSeq, ConvSeq, Epoch, InboxSeq, OutboxSeq, ShardSeq};

const DEVICE: DeviceNo = DeviceNo(3);
pub(crate) const SLOT: Slot = Slot { to: ShardId::new(600), seq: OutboxSeq(77) };

pub(crate) fn account() -> AccountId {
    AccountId::from_bytes(&[7; 16]).unwrap()
}

pub(crate) fn other() -> AccountId {
    AccountId::from_bytes(&[0xab; 16]).unwrap()
}

pub(crate) fn message(bodies: Bodies, about: Option<About>) -> Arc<Message> {
    Arc::new(Message {
        sender: account(),
        sender_device: DEVICE,
        client_seq: ClientSeq(41),
        msg_id: MsgId([9; 16]),
        to: Address::Account(other()),
        bodies,
        expires_at_ms: 1_900_000_000_000,
        clock: Hlc(0x1234_5678_9abc),
        about,
        group: None,
    })
}

pub(crate) fn received(outcome: Received) -> Op {
    Op::Received { from: ShardId::new(12), outbox_seq: OutboxSeq(5), outcome }
}

pub(crate) fn block_of(ops: Vec<Op>) -> (BlockHeader, Vec<Entry>) {
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

/// The first release: messages and devices.
pub(crate) fn first_block() -> (BlockHeader, Vec<Entry>) {
    let (account, other, device, slot) = (account(), other(), DEVICE, SLOT);
    let shared = message(Bodies::Shared(Bytes::from_static(b"ciphertext")), None);
    let each = Bodies::PerDevice(vec![
        (DeviceNo(1), Bytes::from_static(b"one")),
        (DeviceNo(2), Bytes::from_static(b"two")),
    ]);
    let notice = Notice {
        account,
        device,
        client_seq: ClientSeq(41),
        msg_id: MsgId([9; 16]),
        code: Code::NoConversation,
    };
    let (key, name) = (PublicKey([4; 32]), "phone".to_owned());
    block_of(vec![
        Op::AccountCreated { account },
        Op::DeviceAdded { account, device, key, name, start: None },
        Op::DeviceRevoked { account, device },
        Op::RefreshRotated { account, device, current: 8, previous: 7 },
        Op::Sent { message: shared.clone(), inbox_seq: InboxSeq(10), slot },
        Op::Sent { message: message(each, None), inbox_seq: InboxSeq(11), slot },
        Op::SendRefused { account, device, client_seq: ClientSeq(42), code: Code::TooLarge },
        received(Received::Delivered { account: other, inbox_seq: InboxSeq(3), message: shared }),
        received(Received::Refused { notice, slot }),
        received(Received::Noticed { inbox_seq: InboxSeq(12), notice }),
        received(Received::Dropped),
        Op::Progress(Progress {
            cursors: vec![(account, device, InboxSeq(9))],
            confirmations: vec![(ShardId::new(600), OutboxSeq(76))],
            floors: vec![(other, InboxSeq(2))],
            seen: Vec::new(),
        }),
    ])
}

/// The second release: wishes, receipts, messages about others, devices that begin at a place.
pub(crate) fn second_block() -> (BlockHeader, Vec<Entry>) {
    let (account, other, device, slot) = (account(), other(), DEVICE, SLOT);
    let (key, name) = (PublicKey([4; 32]), "tablet".to_owned());
    let mut ops = vec![
        Op::DeviceAdded { account, device, key, name: name.clone(), start: Some(InboxSeq(0)) },
        Op::DeviceAdded { account, device, key, name, start: Some(InboxSeq(1200)) },
    ];
    let wishes = [
        Wish::Block(other, true),
        Wish::Block(other, false),
        Wish::Contact(other, true),
        Wish::Contact(other, false),
        Wish::Presence(Audience::Everyone),
        Wish::Presence(Audience::Contacts),
        Wish::Presence(Audience::Nobody),
        Wish::TellReads(Tells::Yes),
        Wish::TellReads(Tells::No),
    ];
    ops.extend(wishes.map(|wish| Op::Wished { account, wish }));
    let receipt = |read| Receipt { from: account, to: other, delivered: Hlc(1 << 50), read };
    let own_read = Some((Hlc(0x1234_5678_0000), 17));
    let marked = |own_read, receipt| Op::Marked { account, with: other, own_read, receipt };
    ops.extend([
        marked(own_read, None),
        marked(None, Some((receipt(Hlc(0)), slot))),
        marked(own_read, Some((receipt(Hlc(1 << 49)), slot))),
        received(Received::Marked { receipt: receipt(Hlc(1 << 49)), version: 18 }),
    ]);
    for act in [Act::Edit, Act::Delete, Act::React] {
        let about = About {
            act,
            author: other,
            msg_id: MsgId([8; 16]),
            clock: Hlc(0x1234_0000_0001),
            place: ConvSeq(0),
        };
        let message = message(Bodies::Shared(Bytes::from_static(b"new")), Some(about));
        ops.push(Op::Sent { message, inbox_seq: InboxSeq(13), slot });
    }
    ops.push(Op::Progress(Progress {
        seen: vec![(account, WallMs(1_900_000_000_000)), (other, WallMs(0))],
        ..Progress::default()
    }));
    block_of(ops)
}

/// An account as the first release wrote it.
pub(crate) fn first_account() -> Account {
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

/// An account as the second one writes it.
pub(crate) fn second_account() -> Account {
    Account { marks: 4711, last_seen: WallMs(1_900_000_000_000), ..first_account() }
}

/// The wishes beside it.
pub(crate) fn wishes() -> Relations {
    let mut relations = Relations::default();
    for wish in [
        Wish::Block(other(), true),
        Wish::Contact(account(), true),
        Wish::Contact(other(), true),
        Wish::Presence(Audience::Contacts),
        Wish::TellReads(Tells::No),
    ] {
        relations.fulfil(wish);
    }
    relations
}

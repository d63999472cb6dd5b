//! Anything that may be stored, as strategies.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use iris_core::account::{Account, Device, InboxContent, InboxItem};
use iris_core::clock::{Hlc, WallMs};
use iris_core::code::Code;
use iris_core::entry::{Entry, Op, Progress, Received, Slot};
use iris_core::group::InGroup;
use iris_core::id::{AccountId, DeviceNo, MsgId, PublicKey, ShardId};
use iris_core::limits;
use iris_core::mark::Receipt;
use iris_core::message::{About, Act, Address, Bodies, Message, Notice, Parcel};
use iris_core::relation::{Audience, Relations, Tells, Wish};
use iris_core::seq::{ClientSeq, Epoch, InboxSeq, OutboxSeq, ShardSeq};
use iris_core::shard::OutboxItem;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::any_groups::{conv_seq, group, in_group, of_a_group, of_members};

pub(crate) fn account() -> impl Strategy<Value = AccountId> {
    any::<[u8; 16]>().prop_map(|bytes| AccountId::from_bytes(&bytes).unwrap())
}

/// To whom, and what a message to a group carries besides.
fn address() -> impl Strategy<Value = (Address, Option<Box<InGroup>>)> {
    prop_oneof![
        account().prop_map(|account| (Address::Account(account), None)),
        (group(), option::of(in_group().prop_map(Box::new)))
            .prop_map(|(group, carried)| (Address::Group(group), carried)),
    ]
}

fn device() -> impl Strategy<Value = DeviceNo> {
    any::<u32>().prop_map(DeviceNo)
}

fn shard() -> impl Strategy<Value = ShardId> {
    any::<u16>().prop_map(ShardId::new)
}

fn clock() -> impl Strategy<Value = Hlc> {
    prop_oneof![Just(Hlc(0)), any::<u64>().prop_map(Hlc)]
}

pub(crate) fn place() -> impl Strategy<Value = InboxSeq> {
    any::<u64>().prop_map(InboxSeq)
}

fn name() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..16).prop_map(String::from_iter)
}

fn code() -> impl Strategy<Value = Code> {
    // Of a later version, too.
    let later = (5_004_u32..6_000).prop_map(|number| Code::of_any_version(number).unwrap());
    prop_oneof![4 => select(Code::ALL.to_vec()), 1 => later]
}

pub(crate) fn slot() -> impl Strategy<Value = Slot> {
    (shard(), any::<u64>()).prop_map(|(to, seq)| Slot { to, seq: OutboxSeq(seq) })
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let parts = (account(), account(), clock(), clock());
    parts.prop_map(|(from, to, delivered, read)| Receipt { from, to, delivered, read })
}

fn about() -> impl Strategy<Value = About> {
    let act = select(vec![Act::Edit, Act::Delete, Act::React]);
    let parts = (act, account(), any::<[u8; 16]>(), clock(), conv_seq());
    parts.prop_map(|(act, author, id, clock, place)| About {
        act,
        author,
        msg_id: MsgId(id),
        clock,
        place,
    })
}

fn body(sizes: Vec<usize>) -> impl Strategy<Value = Bytes> {
    (select(sizes), any::<u8>()).prop_map(|(size, byte)| Bytes::from(vec![byte; size]))
}

fn bodies() -> impl Strategy<Value = Bodies> {
    let each = vec((device(), body(vec![0, 1, 127, 128, 400])), 1..=limits::DEVICES_MAX);
    prop_oneof![
        body(vec![0, 1, 127, 128, 16_384, limits::BODY_BYTES_MAX]).prop_map(Bodies::Shared),
        each.prop_map(Bodies::PerDevice),
    ]
}

pub(crate) fn message() -> impl Strategy<Value = Arc<Message>> {
    let sender = (account(), device(), any::<u64>(), any::<[u8; 16]>());
    let rest = (address(), bodies(), any::<u64>(), clock(), option::of(about()));
    (sender, rest).prop_map(|(sender, (to, bodies, expires_at_ms, clock, about))| {
        let (to, group) = to;
        let (sender, sender_device, client_seq, msg_id) = sender;
        Arc::new(Message {
            sender,
            sender_device,
            client_seq: ClientSeq(client_seq),
            msg_id: MsgId(msg_id),
            to,
            bodies,
            expires_at_ms,
            clock,
            about,
            group,
        })
    })
}

fn notice() -> impl Strategy<Value = Notice> {
    let parts = (account(), device(), any::<u64>(), any::<[u8; 16]>(), code());
    parts.prop_map(|(account, device, client_seq, id, code)| Notice {
        account,
        device,
        client_seq: ClientSeq(client_seq),
        msg_id: MsgId(id),
        code,
    })
}

fn audience() -> impl Strategy<Value = Audience> {
    select(vec![Audience::Everyone, Audience::Contacts, Audience::Nobody])
}

fn tells() -> impl Strategy<Value = Tells> {
    select(vec![Tells::Yes, Tells::No])
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        (account(), any::<bool>()).prop_map(|(of, on)| Wish::Block(of, on)),
        (account(), any::<bool>()).prop_map(|(of, on)| Wish::Contact(of, on)),
        audience().prop_map(Wish::Presence),
        tells().prop_map(Wish::TellReads),
    ]
}

/// The wishes of an account.
pub(crate) fn relations() -> impl Strategy<Value = Relations> {
    let lists = (btree_set(account(), 0..5), btree_set(account(), 0..5));
    (lists, audience(), tells()).prop_map(|((blocked, contacts), presence, tells_reads)| {
        Relations { blocked, contacts, presence, tells_reads }
    })
}

fn received() -> impl Strategy<Value = Received> {
    prop_oneof![
        (account(), place(), message()).prop_map(|(account, inbox_seq, message)| {
            Received::Delivered { account, inbox_seq, message }
        }),
        (notice(), slot()).prop_map(|(notice, slot)| Received::Refused { notice, slot }),
        (place(), notice()).prop_map(|(inbox_seq, notice)| Received::Noticed { inbox_seq, notice }),
        (receipt(), any::<u64>())
            .prop_map(|(receipt, version)| Received::Marked { receipt, version }),
        Just(Received::Dropped),
        of_a_group(),
    ]
}

fn progress() -> impl Strategy<Value = Progress> {
    let confirmation = (shard(), any::<u64>()).prop_map(|(to, upto)| (to, OutboxSeq(upto)));
    let seen = (account(), any::<u64>()).prop_map(|(account, at)| (account, WallMs(at)));
    let parts = (
        vec((account(), device(), place()), 0..20),
        vec(confirmation, 0..20),
        vec((account(), place()), 0..20),
        vec(seen, 0..20),
    );
    parts.prop_map(|(cursors, confirmations, floors, seen)| Progress {
        cursors,
        confirmations,
        floors,
        seen,
    })
}

fn of_a_device() -> impl Strategy<Value = Op> {
    let of = || (account(), device());
    let added = (of(), any::<[u8; 32]>(), name(), option::of(place()));
    prop_oneof![
        added.prop_map(|((account, device), key, name, start)| {
            Op::DeviceAdded { account, device, key: PublicKey(key), name, start }
        }),
        of().prop_map(|(account, device)| Op::DeviceRevoked { account, device }),
        (of(), any::<u32>(), any::<u32>()).prop_map(|((account, device), current, previous)| {
            Op::RefreshRotated { account, device, current, previous }
        }),
        (of(), any::<u64>(), code()).prop_map(|((account, device), client_seq, code)| {
            Op::SendRefused { account, device, client_seq: ClientSeq(client_seq), code }
        }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let marked = (
        (account(), account()),
        option::of((clock(), 1..=u64::MAX)),
        option::of((receipt(), slot())),
    );
    prop_oneof![
        account().prop_map(|account| Op::AccountCreated { account }),
        of_a_device(),
        (message(), place(), slot()).prop_map(|(message, inbox_seq, slot)| Op::Sent {
            message,
            inbox_seq,
            slot
        }),
        (shard(), any::<u64>(), received()).prop_map(|(from, seq, outcome)| {
            Op::Received { from, outbox_seq: OutboxSeq(seq), outcome }
        }),
        (account(), wish()).prop_map(|(account, wish)| Op::Wished { account, wish }),
        marked.prop_map(|((account, with), own_read, receipt)| {
            Op::Marked { account, with, own_read, receipt }
        }),
        progress().prop_map(Op::Progress),
    ]
}

/// An entry of a block.
pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    let parts = (shard(), any::<u32>(), any::<u64>(), clock(), op());
    parts.prop_map(|(shard, epoch, seq, clock, op)| Entry {
        shard,
        epoch: Epoch(epoch),
        seq: ShardSeq(seq),
        clock,
        op,
    })
}

fn device_state() -> impl Strategy<Value = Device> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>());
    let refusals = vec((any::<u64>(), code()), 0..5);
    let parts = (any::<[u8; 32]>(), name(), any::<u64>(), any::<bool>(), numbers, refusals);
    parts.prop_map(|(key, name, added_at, revoked, numbers, refusals)| {
        let (cursor, next, refresh_current, refresh_previous) = numbers;
        let refusals = refusals.into_iter().map(|(seq, code)| (ClientSeq(seq), code));
        Device {
            key: PublicKey(key),
            name,
            added_at: WallMs(added_at),
            revoked,
            cursor: InboxSeq(cursor),
            next_client_seq: ClientSeq(next),
            refusals: refusals.collect(),
            refresh_current,
            refresh_previous,
        }
    })
}

/// An account without wishes and memberships: they are stored beside it.
pub(crate) fn account_state() -> impl Strategy<Value = Account> {
    let numbers = (any::<u64>(), any::<u32>(), place(), place(), any::<u64>(), any::<u64>());
    let devices = btree_map(device(), device_state(), 0..4);
    (numbers, devices).prop_map(|((pos, stream_gen, head, floor, marks, seen), devices)| Account {
        pos: ShardSeq(pos),
        stream_gen,
        head,
        floor,
        devices,
        marks,
        last_seen: WallMs(seen),
        relations: Relations::default(),
        groups: BTreeMap::new(),
    })
}

/// Places of an inbox.
pub(crate) fn inbox_run() -> impl Strategy<Value = Vec<InboxItem>> {
    let content = prop_oneof![
        message().prop_map(InboxContent::Message),
        notice().prop_map(InboxContent::Notice),
        Just(InboxContent::Hole),
    ];
    let item = (place(), clock(), content);
    vec(item.prop_map(|(seq, clock, content)| InboxItem { seq, clock, content }), 0..6)
}

/// An item of an outbox.
pub(crate) fn outbox_item() -> impl Strategy<Value = OutboxItem> {
    let parcel = prop_oneof![
        message().prop_map(Parcel::Message),
        notice().prop_map(Parcel::Notice),
        receipt().prop_map(Parcel::Receipt),
        of_members(),
    ];
    let parts = (any::<u64>(), any::<u64>(), any::<u64>(), parcel);
    parts.prop_map(|(seq, pos, queued_at, parcel)| OutboxItem {
        seq: OutboxSeq(seq),
        pos: ShardSeq(pos),
        queued_at: WallMs(queued_at),
        parcel,
    })
}

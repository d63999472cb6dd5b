//! What the golden files of the third release hold: groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use iris_core::block::BlockHeader;
use iris_core::clock::{Hlc, WallMs};
use iris_core::entry::{Entry, Op, Received, Target};
use iris_core::group::{
    Change, Group, Heir, InGroup, Membership, Place, Reach, Role, Settings, Who,
};
use iris_core::id::{GroupId, MsgId};
use iris_core::message::{About, Act, Address, Bodies, Message, Parcel};
use iris_core::seq::{ConvSeq, InboxSeq, OutboxSeq, ShardSeq};
use iris_core::shard::OutboxItem;

use crate::specimens::{SLOT, account, block_of, message, other, received};

fn group() -> GroupId {
    GroupId::from_bytes(&[0x5e; 16]).unwrap()
}

fn settings(writers: Who, adders: Who) -> Settings {
    Settings { writers, adders, info: Bytes::from_static(b"name") }
}

/// A message to the group.
fn to_group(change: Option<Change>, place: Option<Place>) -> Arc<Message> {
    let plain = message(Bodies::Shared(Bytes::from_static(b"ciphertext")), None);
    Arc::new(Message {
        to: Address::Group(group()),
        group: Some(Box::new(InGroup { change, roster: ConvSeq(5), place })),
        ..Arc::unwrap_or_clone(plain)
    })
}

fn place(seq: u64, reach: Reach) -> Option<Place> {
    Some(Place { seq: ConvSeq(seq), reach })
}

/// Groups: every change, every reach, and what becomes of a message on its way to the members.
pub(crate) fn third_block() -> (BlockHeader, Vec<Entry>) {
    let (account, other, slot) = (account(), other(), SLOT);
    let changes = [
        Change::Create(vec![other], settings(Who::Members, Who::Admins)),
        Change::Add(vec![account, other]),
        Change::Remove(vec![other]),
        Change::Leave,
        Change::Promote(other, Role::Member),
        Change::Promote(other, Role::Admin),
        Change::Set(settings(Who::Admins, Who::Members)),
    ];
    let sent = changes.map(Some).into_iter().chain([None]).zip(20..);
    let sent = sent.map(|(change, seq)| {
        let message = to_group(change, None);
        Op::Sent { message, inbox_seq: InboxSeq(seq), slot }
    });
    let mut ops: Vec<_> = sent.collect();
    let targets =
        vec![Target { slot, members: vec![account, other] }, Target { slot, members: Vec::new() }];
    for (reach, seq) in [Reach::Inline, Reach::Apart, Reach::Pull].into_iter().zip(41..) {
        let message = to_group(Some(Change::Leave), place(seq, reach));
        let (targets, heir) = (targets.clone(), Heir::Unsaid);
        ops.push(received(Received::Ordered { message, targets, heir }));
    }
    let about = About {
        act: Act::Delete,
        author: other,
        msg_id: MsgId([8; 16]),
        clock: Hlc(0x1234_0000_0001),
        place: ConvSeq(40),
    };
    let deletion = to_group(None, place(44, Reach::Apart));
    let deletion = Arc::new(Message { about: Some(about), ..Arc::unwrap_or_clone(deletion) });
    let places = vec![(account, InboxSeq(30)), (other, InboxSeq(7))];
    for declined in [None, Some((vec![other], slot))] {
        let (message, places) = (Arc::clone(&deletion), places.clone());
        ops.push(received(Received::Shared { message, places, declined }));
    }
    block_of(ops)
}

/// Said later than the rest: who becomes an admin when the last one leaves.
pub(crate) fn fourth_block() -> (BlockHeader, Vec<Entry>) {
    let ordered = |heir| {
        let message = to_group(Some(Change::Leave), place(41, Reach::Inline));
        received(Received::Ordered { message, targets: Vec::new(), heir })
    };
    block_of([Heir::Unsaid, Heir::Nobody, Heir::Named(other())].map(ordered).into())
}

/// Said later than the rest: when an account left.
pub(crate) fn memberships_with_time() -> BTreeMap<GroupId, Membership> {
    let since = ConvSeq(3);
    let left_at = WallMs(1_900_000_000_000);
    let left = Membership { since, until: Some(ConvSeq(9)), pulls: None, left_at };
    BTreeMap::from([(group(), left)])
}

/// A group.
pub(crate) fn group_state() -> Group {
    Group {
        pos: ShardSeq(1234),
        head: ConvSeq(44),
        version: ConvSeq(41),
        reach: Reach::Apart,
        settings: settings(Who::Admins, Who::Admins),
        members: BTreeMap::new(),
    }
}

/// The groups of an account: one that it is in, one that it left, and one whose log it reads.
pub(crate) fn memberships() -> BTreeMap<GroupId, Membership> {
    let since = ConvSeq(3);
    let is_in = Membership { since, until: None, pulls: None, left_at: WallMs(0) };
    let left = Membership { until: Some(ConvSeq(9)), ..is_in };
    let reads = Membership { pulls: Some(ConvSeq(6000)), ..is_in };
    let named = |byte| GroupId::from_bytes(&[byte; 16]).unwrap();
    BTreeMap::from([(named(1), is_in), (named(2), left), (named(3), reads)])
}

/// A row of the group's log.
pub(crate) fn log_message() -> Arc<Message> {
    to_group(None, place(45, Reach::Pull))
}

/// What goes to members on another shard, and what comes back.
pub(crate) fn parcels() -> [OutboxItem; 2] {
    let item = |parcel| OutboxItem {
        seq: OutboxSeq(77),
        pos: ShardSeq(1234),
        queued_at: WallMs(1_900_000_000_000),
        parcel,
    };
    let message = to_group(Some(Change::Leave), place(41, Reach::Inline));
    [
        item(Parcel::ForMembers(message, vec![account(), other()])),
        item(Parcel::Declined(group(), ConvSeq(41), vec![other()])),
    ]
}

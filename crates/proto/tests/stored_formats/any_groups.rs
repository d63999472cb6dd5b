//! Anything of groups that may be stored, as strategies.

use std::collections::BTreeMap;

use bytes::Bytes;
use iris_core::clock::WallMs;
use iris_core::entry::{Received, Target};
use iris_core::group::{
    Change, Group, Heir, InGroup, Membership, Place, Reach, Role, Settings, Who,
};
use iris_core::id::GroupId;
use iris_core::limits;
use iris_core::message::Parcel;
use iris_core::seq::{ConvSeq, ShardSeq};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::any::{account, message, place, slot};

pub(crate) fn group() -> impl Strategy<Value = GroupId> {
    any::<[u8; 16]>().prop_map(|bytes| GroupId::from_bytes(&bytes).unwrap())
}

pub(crate) fn conv_seq() -> impl Strategy<Value = ConvSeq> {
    prop_oneof![Just(ConvSeq(0)), any::<u64>().prop_map(ConvSeq)]
}

/// A place that something has: from 1.
fn taken() -> impl Strategy<Value = ConvSeq> {
    (1..=u64::MAX).prop_map(ConvSeq)
}

fn reach() -> impl Strategy<Value = Reach> {
    select(vec![Reach::Inline, Reach::Apart, Reach::Pull])
}

fn settings() -> impl Strategy<Value = Settings> {
    let who = || select(vec![Who::Members, Who::Admins]);
    let info = select(vec![0, 1, 127, 128, limits::GROUP_INFO_BYTES_MAX]);
    (who(), who(), info, any::<u8>()).prop_map(|(writers, adders, size, byte)| Settings {
        writers,
        adders,
        info: Bytes::from(vec![byte; size]),
    })
}

fn change() -> impl Strategy<Value = Change> {
    let named = || vec(account(), 0..9);
    let role = select(vec![Role::Member, Role::Admin]);
    prop_oneof![
        (named(), settings()).prop_map(|(who, settings)| Change::Create(who, settings)),
        named().prop_map(Change::Add),
        named().prop_map(Change::Remove),
        Just(Change::Leave),
        (account(), role).prop_map(|(who, role)| Change::Promote(who, role)),
        settings().prop_map(Change::Set),
    ]
}

pub(crate) fn in_group() -> impl Strategy<Value = InGroup> {
    let place = (taken(), reach()).prop_map(|(seq, reach)| Place { seq, reach });
    let parts = (option::of(change()), conv_seq(), option::of(place));
    parts.prop_map(|(change, roster, place)| InGroup { change, roster, place })
}

pub(crate) fn of_a_group() -> impl Strategy<Value = Received> {
    let target = (slot(), vec(account(), 0..9));
    let target = target.prop_map(|(slot, members)| Target { slot, members });
    let heir =
        prop_oneof![Just(Heir::Unsaid), Just(Heir::Nobody), account().prop_map(Heir::Named),];
    let places = vec((account(), place()), 0..9);
    let declined = option::of((vec(account(), 1..9), slot()));
    prop_oneof![
        (message(), vec(target, 0..5), heir)
            .prop_map(|(message, targets, heir)| { Received::Ordered { message, targets, heir } }),
        (message(), places, declined).prop_map(|(message, places, declined)| {
            Received::Shared { message, places, declined }
        }),
    ]
}

pub(crate) fn of_members() -> impl Strategy<Value = Parcel> {
    prop_oneof![
        (message(), vec(account(), 0..9)).prop_map(|(m, who)| Parcel::ForMembers(m, who)),
        (group(), conv_seq(), vec(account(), 0..9))
            .prop_map(|(group, place, who)| Parcel::Declined(group, place, who)),
    ]
}

/// A group without its members: they are stored beside it.
pub(crate) fn group_state() -> impl Strategy<Value = Group> {
    let parts = (any::<u64>(), conv_seq(), conv_seq(), reach(), settings());
    parts.prop_map(|(pos, head, version, reach, settings)| Group {
        pos: ShardSeq(pos),
        head,
        version,
        reach,
        settings,
        members: BTreeMap::new(),
    })
}

/// The groups of an account.
pub(crate) fn memberships() -> impl Strategy<Value = BTreeMap<GroupId, Membership>> {
    let parts = (conv_seq(), option::of(taken()), option::of(taken()), any::<u64>());
    let membership = parts.prop_map(|(since, until, pulls, left)| Membership {
        since,
        until,
        pulls,
        left_at: WallMs(left),
    });
    btree_map(group(), membership, 0..9)
}

use iris_core::account::{InboxContent, InboxItem};
use iris_core::clock::Hlc;
use iris_core::code::Code;
use iris_core::group::Place;
use iris_core::id::MsgId;
use iris_core::limits;
use iris_core::message::Bodies;
use iris_core::seq::{ClientSeq, InboxSeq};
use iris_core::shard::LogFetch;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message as _;

use super::super::{PageOf, address_to_wire, deliver_to_wire, fetch_from_wire, send_from_wire};
use super::*;

const ANN: [u8; 16] = [7; 16];
const BEN: [u8; 16] = [8; 16];
const GROUP: [u8; 16] = [5; 16];
const ALL: usize = limits::GROUP_CHANGE_MEMBERS_MAX;

fn account() -> impl Strategy<Value = AccountId> {
    any::<[u8; 16]>().prop_map(id)
}

fn group() -> impl Strategy<Value = GroupId> {
    any::<[u8; 16]>().prop_map(group_of)
}

fn place() -> impl Strategy<Value = ConvSeq> {
    (1..=i64::MAX.unsigned_abs()).prop_map(ConvSeq)
}

fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::Member, Role::Admin])
}

fn settings() -> impl Strategy<Value = Settings> {
    let who = || select(vec![Who::Members, Who::Admins]);
    let info = vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    (who(), who(), info).prop_map(|(writers, adders, info)| Settings { writers, adders, info })
}

fn change() -> impl Strategy<Value = Change> {
    let named = || vec(account(), 0..5);
    prop_oneof![
        (named(), settings()).prop_map(|(who, settings)| Change::Create(who, settings)),
        named().prop_map(Change::Add),
        named().prop_map(Change::Remove),
        Just(Change::Leave),
        (account(), role()).prop_map(|(who, role)| Change::Promote(who, role)),
        settings().prop_map(Change::Set),
    ]
}

fn membership() -> impl Strategy<Value = Membership> {
    let parts = (place(), option::of(place()), option::of(place()));
    parts.prop_map(|(since, until, pulls)| Membership { since, until, pulls, left_at: WallMs(0) })
}

fn roster() -> impl Strategy<Value = RosterPage> {
    let member = (account(), role(), place());
    let member = member.prop_map(|(who, role, since)| (who, Member { role, since }));
    let reach = select(vec![Reach::Inline, Reach::Pull]);
    let parts = (place(), place(), reach, settings(), vec(member, 0..5), option::of(account()));
    parts.prop_map(|(head, version, reach, settings, members, next)| RosterPage {
        head,
        version,
        reach,
        settings,
        members,
        next,
    })
}

fn id(bytes: [u8; 16]) -> AccountId {
    AccountId::from_bytes(&bytes).unwrap()
}

fn group_of(bytes: [u8; 16]) -> GroupId {
    GroupId::from_bytes(&bytes).unwrap()
}

/// A payload as the other side reads it.
fn sent<M: prost::Message + Default>(wire: &M) -> M {
    M::decode(wire.encode_to_vec().as_slice()).unwrap()
}

/// A message of Ann's first device to the group.
fn message(bodies: Bodies, place: Option<Place>, change: Option<Change>) -> Arc<Message> {
    let carried = InGroup { change, roster: ConvSeq(3), place };
    Arc::new(Message {
        sender: id(ANN),
        sender_device: DeviceNo(1),
        client_seq: ClientSeq(1),
        msg_id: MsgId([9; 16]),
        to: Address::Group(group_of(GROUP)),
        bodies,
        expires_at_ms: 0,
        clock: Hlc(70),
        about: None,
        group: Some(Box::new(carried)),
    })
}

fn text() -> Bodies {
    Bodies::Shared(Bytes::from_static(b"text"))
}

fn at(seq: u64, reach: Reach) -> Option<Place> {
    Some(Place { seq: ConvSeq(seq), reach })
}

/// The entry of an inbox, as a device gets it.
fn delivered(
    (account, device): ([u8; 16], u32),
    message: &Arc<Message>,
) -> client::inbox_entry::Kind {
    let content = InboxContent::Message(Arc::clone(message));
    let item = InboxItem { seq: InboxSeq(4), clock: Hlc(71), content };
    let deliver = sent(&deliver_to_wire(id(account), DeviceNo(device), &[item]));
    let entry = deliver.entries.into_iter().next();
    entry.and_then(|entry| entry.kind).unwrap()
}

fn incoming(to: ([u8; 16], u32), message: &Arc<Message>) -> client::Incoming {
    match delivered(to, message) {
        client::inbox_entry::Kind::Incoming(incoming) => incoming,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn a_change_comes_back(change in change()) {
        prop_assert_eq!(change_from_wire(sent(&change_to_wire(&change))), Ok(change));
    }

    #[test]
    fn a_place_is_told_with_what_changed(
        seq in place(),
        change in option::of(change()),
        reach in select(vec![Reach::Inline, Reach::Apart, Reach::Pull]),
    ) {
        let message = message(text(), Some(Place { seq, reach }), change.clone());
        let wire = incoming((BEN, 1), &message).in_group.unwrap();
        let told = ToldPlace {
            group: group_of(GROUP),
            place: seq,
            change,
            pulls: reach == Reach::Pull,
        };
        prop_assert_eq!(in_group_from_wire(wire), Ok(told));
    }

    #[test]
    fn memberships_come_back(groups in vec((group(), membership()), 0..9)) {
        let wire = sent(&memberships_to_wire(&groups));
        prop_assert_eq!(memberships_from_wire(&wire), Ok(groups));
    }

    #[test]
    fn a_roster_comes_back(page in roster()) {
        prop_assert_eq!(roster_from_wire(sent(&roster_to_wire(&page))), Ok(page));
    }

    #[test]
    fn a_head_comes_back(group in group(), head in place()) {
        let wire = sent(&head_to_wire(group, head));
        let Some(client::signal::Kind::Head(wire)) = wire.kind else { panic!("{wire:?}") };
        prop_assert_eq!(head_from_wire(&wire), Ok((group, head)));
    }

    #[test]
    fn which_part_of_a_roster_comes_back(group in group(), after in option::of(account())) {
        let wire = client::ListMembers {
            group: bytes_of(group.to_bytes()),
            after: after.map_or_else(Bytes::new, |after| bytes_of(after.to_bytes())),
        };
        prop_assert_eq!(list_members_from_wire(&sent(&wire)), Ok((group, after)));
    }

    #[test]
    fn garbage_is_an_error(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = bytes.as_slice();
        let _ = client::GroupChange::decode(bytes).map(change_from_wire);
        let _ = client::InGroup::decode(bytes).map(in_group_from_wire);
        let _ = client::Memberships::decode(bytes).map(|wire| memberships_from_wire(&wire));
        let _ = client::Roster::decode(bytes).map(roster_from_wire);
        let _ = client::ListMembers::decode(bytes).map(|wire| list_members_from_wire(&wire));
        let _ = client::GroupHead::decode(bytes).map(|wire| head_from_wire(&wire));
    }
}

/// To a group its own members' messages come as those of others do, each with its place.
#[test]
fn only_the_device_that_sent_gets_no_body() {
    let message = message(text(), at(3, Reach::Inline), None);
    assert_eq!(incoming((ANN, 1), &message).body, Bytes::new(), "on the device that sent it");
    for (account, device) in [(ANN, 2), (BEN, 1)] {
        let told = incoming((account, device), &message);
        assert_eq!(told.body, "text", "on device {device}");
        assert_eq!((&told.sender[..], told.sender_device), (&ANN[..], 1));
    }
    let page = log_page_to_wire(id(ANN), DeviceNo(1), std::slice::from_ref(&message), false);
    assert_eq!(page.messages[0].body, Bytes::new(), "in a page of the log");
}

/// Until the group gave it a place, its sender has it as something sent, and nowhere its body.
#[test]
fn what_was_sent_to_a_group_comes_without_body_until_it_has_a_place() {
    let message = message(text(), None, None);
    for device in [1, 2] {
        match delivered((ANN, device), &message) {
            client::inbox_entry::Kind::Sent(told) => {
                assert_eq!(told.body, Bytes::new());
                assert_eq!(told.to, Some(address_to_wire(message.to)));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A hole would hide what a message changed.
#[test]
fn a_device_without_a_body_still_gets_the_place() {
    let bodies = Bodies::PerDevice(vec![(DeviceNo(2), Bytes::from_static(b"two"))]);
    let change = Change::Add(vec![id(BEN)]);
    let message = message(bodies, at(3, Reach::Inline), Some(change.clone()));
    assert_eq!(incoming((BEN, 2), &message).body, "two");
    let told = incoming((BEN, 1), &message);
    assert_eq!(told.body, Bytes::new());
    assert_eq!(in_group_from_wire(told.in_group.unwrap()).unwrap().change, Some(change));
}

#[test]
fn a_page_of_a_log_has_every_place_in_its_order() {
    let erased = message(Bodies::Shared(Bytes::new()), at(4, Reach::Pull), None);
    let messages = [message(text(), at(3, Reach::Pull), None), erased];
    let page = sent(&log_page_to_wire(id(BEN), DeviceNo(1), &messages, true));
    assert!(page.more);
    let told = page.messages.into_iter().map(|told| {
        let place = told.in_group.map(|place| (place.place, place.pull));
        (place.unwrap(), told.body)
    });
    let expected = [((3, true), Bytes::from_static(b"text")), ((4, true), Bytes::new())];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn a_send_carries_its_change_to_groups_only() {
    let change = Change::Remove(vec![id(BEN)]);
    let send = |to| client::Send {
        client_seq: 1,
        msg_id: bytes_of([1; 16]),
        to: Some(address_to_wire(to)),
        roster_version: 12,
        change: Some(change_to_wire(&change)),
        ..client::Send::default()
    };
    let taken = send_from_wire(sent(&send(Address::Group(group_of(GROUP))))).unwrap();
    assert_eq!((taken.change, taken.roster), (Some(change.clone()), ConvSeq(12)));
    let refused = send_from_wire(send(Address::Account(id(BEN))));
    assert_eq!(refused, Err(FormatError::OutOfBounds("change")));
    let plain = client::Send { change: None, ..send(Address::Account(id(BEN))) };
    assert_eq!(send_from_wire(plain).unwrap().change, None);
}

#[test]
fn a_fetch_behind_a_place_reads_the_log() {
    let to = |to| client::Fetch {
        conversation: Some(address_to_wire(to)),
        limit: 30,
        behind: Some(0),
        ..client::Fetch::default()
    };
    let group = group_of(GROUP);
    let expected = LogFetch { group, after: ConvSeq(0), upto: None, limit: 30 };
    let of_group = to(Address::Group(group));
    assert_eq!(fetch_from_wire(sent(&of_group)), Ok(PageOf::Log(expected)));
    let refused = Err(FormatError::OutOfBounds("behind"));
    assert_eq!(fetch_from_wire(to(Address::Account(id(BEN)))), refused);
    let before = Some(client::HistoryPoint { clock: 1, inbox_seq: 1 });
    assert_eq!(fetch_from_wire(client::Fetch { before, ..of_group.clone() }), refused);
    let beyond = client::Fetch { behind: Some(1 << 63), ..of_group };
    assert_eq!(fetch_from_wire(beyond), Err(FormatError::OutOfBounds("place")));
}

/// A frame that ends the connection is sent again on the next one: what is too long is refused by number.
#[test]
fn a_change_that_is_too_long_is_for_the_shard_to_refuse() {
    use client::group_change::Kind;
    let judged = |kind| {
        let change = Some(client::GroupChange { kind: Some(kind) });
        let to = Some(address_to_wire(Address::Group(group_of(ANN))));
        let (client_seq, msg_id) = (1, vec![7; 16].into());
        let send = client::Send { client_seq, msg_id, to, change, ..client::Send::default() };
        send_from_wire(sent(&send)).unwrap().change.unwrap().check(group_of(ANN))
    };
    let who = |count| vec![bytes_of(ANN); count];
    let named = |count| client::Accounts { accounts: who(count) };
    let created = |count| client::GroupCreated { members: who(count), settings: None };
    for kind in [Kind::Create(created(ALL)), Kind::Add(named(ALL)), Kind::Remove(named(ALL))] {
        assert_eq!(judged(kind), Ok(()));
    }
    let over = ALL + 1;
    for kind in [Kind::Create(created(over)), Kind::Add(named(over)), Kind::Remove(named(over))] {
        assert_eq!(judged(kind), Err(Code::TooLarge));
    }
    let settings = |bytes| client::GroupSettings {
        info: vec![0; bytes].into(),
        ..client::GroupSettings::default()
    };
    assert_eq!(judged(Kind::Set(settings(limits::GROUP_INFO_BYTES_MAX))), Ok(()));
    let long = settings(limits::GROUP_INFO_BYTES_MAX + 1);
    assert_eq!(judged(Kind::Set(long.clone())), Err(Code::TooLarge));
    let created = client::GroupCreated { members: Vec::new(), settings: Some(long) };
    assert_eq!(judged(Kind::Create(created)), Err(Code::TooLarge));
}

#[test]
fn what_nobody_knows_is_refused_rather_than_guessed() {
    let nothing = change_from_wire(client::GroupChange { kind: None });
    assert_eq!(nothing, Err(FormatError::Missing("change")));
    for role in [0, 9] {
        let promotion = client::Promotion { account: bytes_of(ANN), role };
        let kind = Some(client::group_change::Kind::Promote(promotion));
        let promoted = change_from_wire(client::GroupChange { kind });
        assert_eq!(promoted, Err(FormatError::OutOfBounds("role")));
    }
    let nowhere = client::InGroup { group: bytes_of(GROUP), ..client::InGroup::default() };
    assert_eq!(in_group_from_wire(nowhere), Err(FormatError::OutOfBounds("place")));
}

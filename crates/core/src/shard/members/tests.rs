use std::sync::Arc;

use super::super::rig::{
    PHONE, Rig, THERE, deletes, delivered, local, ops, outcomes, remote, remote_group, told,
};
use super::*;
use crate::clock::WallMs;
use crate::entry::Op;
use crate::group::{InGroup, Member, Place, Reach, Role, Settings};
use crate::message::{Bodies, Parcel};
use crate::seq::{ClientSeq, ConvSeq};
use crate::shard::{Input, Send};

const TEAM: u128 = 7;

pub(in super::super) fn team() -> GroupId {
    remote_group(TEAM)
}

/// A message of the team with its place, as its shard brings it.
pub(in super::super) fn placed(
    rig: &mut Rig,
    from: AccountId,
    at: u64,
    reach: Reach,
    change: Option<Change>,
) -> Message {
    let message = rig.group_message(from, team(), change.clone());
    let place = Some(Place { seq: ConvSeq(at), reach });
    let group = InGroup { change, place, ..InGroup::default() };
    Message { group: Some(Box::new(group)), ..message }
}

pub(in super::super) fn bring(
    rig: &mut Rig,
    message: Message,
    members: Vec<AccountId>,
) -> Vec<Effect> {
    let mut out = rig.parcel(Parcel::ForMembers(Arc::new(message), members));
    out.extend(rig.release());
    out
}

/// The team comes to be with these members, among others.
pub(in super::super) fn found(rig: &mut Rig, reach: Reach, members: &[AccountId]) -> Vec<Effect> {
    let change = Change::Create(members.to_vec(), Settings::default());
    let message = placed(rig, remote(2), 1, reach, Some(change));
    bring(rig, message, members.to_vec())
}

fn say(rig: &mut Rig, at: u64, members: &[AccountId]) -> Vec<Effect> {
    let message = placed(rig, remote(2), at, Reach::Inline, None);
    bring(rig, message, members.to_vec())
}

fn membership(rig: &Rig, account: AccountId) -> Option<Membership> {
    rig.shard.account(account).and_then(|state| state.groups.get(&team()).copied())
}

#[test]
fn one_entry_brings_a_message_to_every_member_of_the_shard() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), rig.person(2));
    let (phone, other) = (rig.connect(ann, PHONE, 0), rig.connect(ben, PHONE, 0));
    let out = found(&mut rig, Reach::Inline, &[ann, ben]);
    assert_eq!(ops(&out).len(), 1, "{out:?}");
    for conn in [phone, other] {
        assert_eq!(delivered(&out, conn).len(), 1);
    }
    let out = say(&mut rig, 2, &[ann, ben]);
    assert_eq!((delivered(&out, phone).len(), ops(&out).len()), (1, 1));
    let known = Membership { since: ConvSeq(1), until: None, pulls: None, left_at: WallMs(0) };
    assert_eq!(membership(&rig, ann), Some(known));
}

#[test]
fn whoever_cannot_be_a_member_is_declined_and_the_others_get_the_message() {
    let mut rig = Rig::new();
    let (ann, ghost) = (rig.person(1), local(66));
    let out = found(&mut rig, Reach::Inline, &[ann, ghost]);
    let [Received::Shared { places, declined: Some((who, slot)), .. }] = &outcomes(&out)[..] else {
        panic!("{out:?}");
    };
    assert_eq!((places.len(), who.as_slice(), slot.to), (1, &[ghost][..], THERE));
    let back = out.iter().any(|effect| {
        matches!(effect, Effect::Push { to: THERE, items }
        if matches!(&items[0].parcel, Parcel::Declined(group, ConvSeq(1), who)
            if *group == team() && *who == [ghost]))
    });
    assert!(back, "{out:?}");
}

#[test]
fn an_account_is_in_a_bounded_number_of_groups() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    let most = u64::try_from(limits::MEMBERSHIPS_MAX).unwrap();
    let join = |rig: &mut Rig, n: u64| {
        let change = Some(Change::Create(vec![ann], Settings::default()));
        let message = placed(rig, remote(2), 1, Reach::Inline, change);
        let to = Address::Group(remote_group(u128::from(n)));
        let out = bring(rig, Message { to, ..message }, vec![ann]);
        matches!(&outcomes(&out)[0], Received::Shared { declined: None, .. })
    };
    assert!((0..most).all(|n| join(&mut rig, 100 + n)));
    assert!(!join(&mut rig, 1));
    rig.flush();
    let phone = rig.connect(ann, PHONE, most);
    let change = Some(Change::Create(Vec::new(), Settings::default()));
    let out = rig.send_to_group(phone, 1, team(), change);
    assert!(matches!(ops(&out)[..], [Op::SendRefused { code: Code::Quota, .. }]), "nor makes one");
}

#[test]
fn what_an_account_writes_to_a_group_comes_back_with_its_place_and_its_body() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    found(&mut rig, Reach::Inline, &[ann]);
    rig.flush();
    let phone = rig.connect(ann, PHONE, 1);
    let out = {
        let mut out = rig.send_to_group(phone, 1, team(), None);
        out.extend(rig.release());
        out
    };
    let [Op::Sent { message, slot, .. }] = &ops(&out)[..] else { panic!("{out:?}") };
    assert_eq!((slot.to, message.bodies.len()), (THERE, 4), "the body goes out");
    let [own] = &delivered(&out, phone)[..] else { panic!("{out:?}") };
    let bare = |item: &InboxItem| {
        matches!(&item.content,
        InboxContent::Message(m) if m.bodies.is_empty() && m.place().is_none())
    };
    assert!(bare(own));
    let place = Some(Place { seq: ConvSeq(5), reach: Reach::Inline });
    let group = InGroup { place, ..InGroup::default() };
    let back = Message { group: Some(Box::new(group)), ..Message::clone(message) };
    let out = bring(&mut rig, back, vec![ann]);
    let [own] = &delivered(&out, phone)[..] else { panic!("{out:?}") };
    let InboxContent::Message(own) = &own.content else { panic!() };
    assert_eq!((own.bodies.len(), own.place().unwrap().seq), (4, ConvSeq(5)));
    let (flush, _) = rig.capture(true);
    assert_eq!(flush.unwrap().index.len(), 1, "the history has it once");
}

#[test]
fn a_change_does_not_expire() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    let phone = rig.connect(ann, PHONE, 0);
    for (seq, change) in [(1, Some(Change::Leave)), (2, None)] {
        let stays = change.is_some();
        let send = Send { expires_at_ms: 5_000_000, ..rig.group_send(seq, team(), change) };
        let out = rig.step(Input::Send { conn: phone, send });
        let [Op::Sent { message, .. }] = &ops(&out)[..] else { panic!("{out:?}") };
        assert_eq!(message.expires_at_ms == 0, stays);
    }
}

#[test]
fn a_person_types_to_groups_that_it_is_in() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    let phone = rig.connect(ann, PHONE, 0);
    let types = |rig: &mut Rig| {
        let out = rig.done(Input::Types { conn: phone, to: Address::Group(team()), kind: 1 });
        out.iter().any(|effect| matches!(effect, Effect::Signal { .. }))
    };
    assert!(!types(&mut rig));
    found(&mut rig, Reach::Inline, &[ann]);
    assert!(types(&mut rig));
}

#[test]
fn a_send_to_a_group_is_checked_before_it_is_accepted() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    let phone = rig.connect(ann, PHONE, 0);
    let code = |out: &[Effect]| match &ops(out)[..] {
        [Op::SendRefused { code, .. }] => Some(*code),
        _ => None,
    };
    let many = Some(Change::Add((0..300).map(remote).collect()));
    let out = rig.send_to_group(phone, 1, team(), many);
    assert_eq!(code(&out), Some(Code::TooLarge));
    let foreign = Some(Change::Add(vec![super::super::rig::foreign(3)]));
    let out = rig.send_to_group(phone, 2, team(), foreign);
    assert_eq!(code(&out), Some(Code::NoConversation));
    let bodies = Bodies::PerDevice(vec![(PHONE, b"text".as_slice().into())]);
    let send = Send { bodies, ..rig.group_send(3, team(), None) };
    let out = rig.step(Input::Send { conn: phone, send });
    assert_eq!(code(&out), Some(Code::Forbidden), "numbers of devices are those of one account");
    let out = rig.send_to_group(phone, 4, team(), Some(Change::Leave));
    assert_eq!(code(&out), None);
}

#[test]
fn the_next_owner_has_inboxes_and_memberships_whether_they_were_written_or_not() {
    for written in [false, true] {
        let mut rig = Rig::new();
        let ann = rig.person(1);
        found(&mut rig, Reach::Apart, &[ann]);
        if written {
            rig.flush();
        }
        let message = placed(&mut rig, remote(2), 2, Reach::Apart, None);
        bring(&mut rig, message, vec![ann]);
        rig.crash();
        rig.flush();
        assert_eq!(rig.shard.account(ann).unwrap().head, InboxSeq(2));
        assert!(membership(&rig, ann).is_some(), "written: {written}");
        assert_eq!(rig.places(ann, 0, 2).len(), 2);
        let log = |n| rig.rows.logs.contains_key(&(team(), ConvSeq(n)));
        assert!(log(1) && log(2), "bodies that are kept apart have their rows");
        rig.next_owner();
        rig.connect(ann, PHONE, 2);
        assert!(membership(&rig, ann).is_some(), "from its row");
    }
}

#[test]
fn a_message_that_is_deleted_is_a_hole_for_every_member() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), rig.person(2));
    found(&mut rig, Reach::Apart, &[ann, ben]);
    let message = placed(&mut rig, remote(2), 2, Reach::Apart, None);
    bring(&mut rig, message.clone(), vec![ann, ben]);
    rig.flush();
    let deletion = placed(&mut rig, remote(2), 3, Reach::Apart, None);
    let deletion = Message { about: Some(deletes(&message)), ..deletion };
    bring(&mut rig, deletion, vec![ann, ben]);
    rig.flush();
    for account in [ann, ben] {
        let places = rig.places(account, 0, 3);
        let holes: Vec<_> =
            places.iter().map(|item| matches!(item.content, InboxContent::Hole)).collect();
        assert_eq!(holes, [false, true, false]);
    }
    assert!(rig.rows.logs[&(team(), ConvSeq(2))].bodies.is_empty());
}

#[test]
fn a_roster_is_for_members_only() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    let phone = rig.connect(ann, PHONE, 0);
    let ask = |rig: &mut Rig, corr| {
        rig.done(Input::Roster { conn: phone, corr, group: team(), after: None })
    };
    let out = ask(&mut rig, 1);
    assert!(matches!(
        told(&out, phone)[..],
        [ToConn::Result { answer: CallAnswer::Refused(Code::NotMember, _), .. }]
    ));
    found(&mut rig, Reach::Inline, &[ann]);
    let out = ask(&mut rig, 2);
    assert!(out.iter().any(|effect| matches!(effect, Effect::ReadRoster { .. })));
    let page = RosterPage {
        head: ConvSeq(1),
        version: ConvSeq(1),
        reach: Reach::Inline,
        settings: Settings::default(),
        members: vec![(ann, Member { role: Role::Member, since: ConvSeq(1) })],
        next: None,
    };
    let read = Input::RosterRead {
        account: ann,
        conn: phone,
        corr: 2,
        group: team(),
        page: Some(Some(page)),
    };
    let out = rig.done(read.clone());
    assert!(matches!(
        told(&out, phone)[..],
        [ToConn::Result { corr: 2, answer: CallAnswer::Roster(_) }]
    ));
    assert!(told(&rig.done(read), phone).is_empty(), "answered once");
}

#[test]
fn groups_are_listed_with_those_that_were_left() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    found(&mut rig, Reach::Inline, &[ann]);
    let left = placed(&mut rig, ann, 2, Reach::Inline, Some(Change::Leave));
    bring(&mut rig, Message { client_seq: ClientSeq(1), ..left }, vec![ann]);
    let phone = rig.connect(ann, PHONE, 0);
    let out = rig.done(Input::ListGroups { conn: phone, corr: 3 });
    let groups = told(&out, phone).into_iter().find_map(|what| match what {
        ToConn::Result { answer: CallAnswer::Groups(groups), .. } => Some(groups),
        _ => None,
    });
    let known = Membership {
        since: ConvSeq(1),
        until: Some(ConvSeq(2)),
        pulls: None,
        left_at: rig.now.wall,
    };
    assert_eq!(groups, Some(vec![(team(), known)]));
}

#[test]
fn whoever_was_declined_gets_nothing_that_is_said_before_the_group_knows() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), rig.person(2));
    found(&mut rig, Reach::Inline, &[ann]);
    let out = say(&mut rig, 2, &[ann, ben, local(66)]);
    let [Received::Shared { places, declined, .. }] = &outcomes(&out)[..] else {
        panic!("{out:?}");
    };
    let given: Vec<_> = places.iter().map(|(who, _)| *who).collect();
    assert_eq!((given, declined), (vec![ann], &None), "once is said enough");
}

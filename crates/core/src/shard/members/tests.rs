use std::sync::Arc;

use super::super::rig::{
    PHONE, Rig, TABLET, THERE, deletes, delivered, local, ops, outcomes, remote, remote_group, told,
};
use super::*;
use crate::clock::WallMs;
use crate::entry::Op;
use crate::group::{InGroup, Member, Place, Reach, Role, Settings};
use crate::message::{Bodies, Parcel};
use crate::seq::ClientSeq;
use crate::shard::{Input, Send};

const TEAM: u128 = 7;

fn team() -> GroupId {
    remote_group(TEAM)
}

/// A message of the team with its place, as its shard brings it.
fn placed(
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

fn bring(rig: &mut Rig, message: Message, members: Vec<AccountId>) -> Vec<Effect> {
    let mut out = rig.parcel(Parcel::ForMembers(Arc::new(message), members));
    out.extend(rig.release());
    out
}

/// The team comes to be with these members, among others.
fn found(rig: &mut Rig, reach: Reach, members: &[AccountId]) -> Vec<Effect> {
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

fn heads(out: &[Effect], conn: Conn) -> Vec<u64> {
    let head = |what| match what {
        ToConn::Head { head, .. } => Some(head.0),
        _ => None,
    };
    told(out, conn).into_iter().filter_map(head).collect()
}

fn watches(out: &[Effect]) -> Vec<bool> {
    let watch = |effect: &Effect| match effect {
        Effect::Signal { to: THERE, signal: Signal::WatchGroup { on, .. } } => Some(*on),
        _ => None,
    };
    out.iter().filter_map(watch).collect()
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
fn who_is_in_a_large_group_and_there_is_told_its_newest_place() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    rig.open(ann, TABLET);
    let out = found(&mut rig, Reach::Pull, &[ann]);
    assert!(watches(&out).is_empty(), "nobody is there");
    let attach = rig.attach(ann, PHONE, 1);
    let phone = attach.conn;
    let out = rig.done(Input::Attach(attach));
    assert_eq!(watches(&out), [true]);
    let head = |n| Signal::Head { group: team(), to: super::super::rig::HERE, head: ConvSeq(n) };
    let out = rig.done(Input::Signal(head(5)));
    assert_eq!(heads(&out, phone), [5]);
    let out = rig.done(Input::Signal(head(5)));
    assert!(heads(&out, phone).is_empty(), "told once");
    let tablet = rig.attach(ann, TABLET, 1);
    let conn = tablet.conn;
    let out = rig.done(Input::Attach(tablet));
    assert_eq!((heads(&out, conn), watches(&out).len()), (vec![5], 0), "known here");
    let out = rig.pass(limits::WATCH_RENEW_MS);
    assert_eq!(watches(&out), [true], "renewed");
    rig.done(Input::Detach { conn: phone });
    let out = rig.done(Input::Detach { conn });
    assert_eq!(watches(&out), [false], "nobody is there any more");
}

fn fetch(rig: &mut Rig, conn: Conn, corr: u32, after: u64) -> Vec<Effect> {
    let fetch = LogFetch { group: team(), after: ConvSeq(after), upto: None, limit: 50 };
    rig.done(Input::FetchLog { conn, corr, fetch })
}

fn asked(out: &[Effect]) -> Option<(u64, Option<u64>)> {
    out.iter().find_map(|effect| match effect {
        Effect::ReadLog { fetch, .. } => Some((fetch.after.0, fetch.upto.map(|upto| upto.0))),
        _ => None,
    })
}

#[test]
fn a_member_reads_the_log_from_where_it_came_to_where_it_left() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    let phone = rig.connect(ann, PHONE, 0);
    let out = fetch(&mut rig, phone, 1, 0);
    assert!(asked(&out).is_none());
    assert!(matches!(
        told(&out, phone)[..],
        [ToConn::Result { answer: CallAnswer::Refused(Code::NotMember, _), .. }]
    ));
    let added = placed(&mut rig, remote(2), 9, Reach::Pull, Some(Change::Add(vec![ann])));
    bring(&mut rig, added, vec![ann]);
    assert_eq!(asked(&fetch(&mut rig, phone, 2, 0)), Some((9, None)));
    let gone = placed(&mut rig, remote(2), 20, Reach::Pull, Some(Change::Remove(vec![ann])));
    bring(&mut rig, gone, vec![ann]);
    assert_eq!(asked(&fetch(&mut rig, phone, 3, 12)), Some((12, Some(20))));
    let out = fetch(&mut rig, phone, 4, 20);
    assert!(matches!(&told(&out, phone)[..],
        [ToConn::LogPage { messages, more: false, .. }] if messages.is_empty()));
}

#[test]
fn a_page_of_a_log_fits_a_frame_and_says_whether_there_is_more() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    found(&mut rig, Reach::Pull, &[ann]);
    let phone = rig.connect(ann, PHONE, 1);
    let fetched = LogFetch { group: team(), after: ConvSeq(1), upto: None, limit: 50 };
    let page = |rig: &mut Rig, corr, sizes: &[usize]| {
        fetch(rig, phone, corr, 1);
        let messages = sizes.iter().zip(2..).map(|(size, at)| {
            let message = placed(rig, remote(2), at, Reach::Pull, None);
            Arc::new(Message { bodies: Bodies::Shared(vec![1; *size].into()), ..message })
        });
        let messages = Some(messages.collect());
        let fetch = fetched;
        let out = rig.done(Input::LogRead { account: ann, conn: phone, corr, fetch, messages });
        told(&out, phone).into_iter().find_map(|what| match what {
            ToConn::LogPage { messages, more, .. } => Some((messages.len(), more)),
            _ => None,
        })
    };
    assert_eq!(page(&mut rig, 1, &[10, 10]), Some((2, false)));
    assert_eq!(page(&mut rig, 2, &[60_000, 60_000, 60_000]), Some((2, true)));
    assert_eq!(page(&mut rig, 3, &[10; 50]), Some((50, true)));
    let out = {
        fetch(&mut rig, phone, 4, 1);
        let (fetch, messages) = (fetched, None);
        rig.done(Input::LogRead { account: ann, conn: phone, corr: 4, fetch, messages })
    };
    assert!(matches!(
        told(&out, phone)[..],
        [ToConn::Result { answer: CallAnswer::Refused(Code::StoreUnavailable, _), .. }]
    ));
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
    let read = Input::RosterRead { account: ann, conn: phone, corr: 2, page: Some(Some(page)) };
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

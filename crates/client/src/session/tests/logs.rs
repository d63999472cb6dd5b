//! Messages of groups: their places in the inbox, and what is read of a large one's log.

use iris_core::clock::Hlc;
use iris_core::group::{Change, Settings};
use iris_core::id::{AccountId, GroupId, MsgId};
use iris_core::message::{Address, Bodies};
use iris_core::seq::{ClientSeq, ConvSeq, InboxSeq};
use iris_proto::client::{self as wire, inbox_entry::Kind};
use iris_proto::client_frames::change_to_wire;
use iris_proto::frame::{Frame, FrameType};
use prost::Message as _;

use super::rig::{Rig, start, welcome};
use crate::groups::{Groups, Skipped};
use crate::place::{Content, Place};
use crate::session::{
    CallAnswer, CallId, CallOp, Draft, Effect, Event, Input, LogFetch, Start, Unsendable,
};
use crate::store::{HistoryMax, Login, Record, State};

const OWN: u8 = 1;
const ADA: u8 = 2;

fn account(n: u8) -> AccountId {
    AccountId::from_bytes(&[n; 16]).unwrap()
}

fn group() -> GroupId {
    GroupId::from_bytes(&[9; 16]).unwrap()
}

fn message(sender: u8, place: u64, change: Option<&Change>, pull: bool) -> wire::Incoming {
    wire::Incoming {
        sender: vec![sender; 16].into(),
        sender_device: 1,
        msg_id: vec![u8::try_from(place % 251).unwrap(); 16].into(),
        body: if sender == OWN { bytes::Bytes::new() } else { vec![7; 10].into() },
        expires_at_ms: 0,
        clock: Hlc(place << 16).0,
        about: None,
        in_group: Some(wire::InGroup {
            group: vec![9; 16].into(),
            place,
            change: change.map(change_to_wire),
            pull,
        }),
    }
}

fn deliver(first: u64, messages: Vec<wire::Incoming>) -> wire::Deliver {
    let entry = |message| wire::InboxEntry { clock_ms: 1, kind: Some(Kind::Incoming(message)) };
    wire::Deliver { first_inbox_seq: first, entries: messages.into_iter().map(entry).collect() }
}

fn joins(place: u64) -> wire::Incoming {
    message(ADA, place, Some(&Change::Add(vec![account(OWN)])), true)
}

fn head(head: u64) -> wire::Signal {
    let head = wire::GroupHead { group: vec![9; 16].into(), head };
    wire::Signal { kind: Some(wire::signal::Kind::Head(head)) }
}

fn page(places: std::ops::RangeInclusive<u64>, more: bool) -> wire::LogPage {
    let messages = places.map(|place| message(ADA, place, None, true)).collect();
    wire::LogPage { messages, more }
}

/// A device that knows from its inbox that its account came into a large group at place 5.
fn member() -> Rig {
    let mut rig = Rig::open(start(), &welcome());
    rig.server(FrameType::Deliver, &deliver(11, vec![joins(5)]));
    rig.take_sent();
    rig
}

/// The FETCHes since the last look: behind which place, and their correlation ids.
fn fetches(rig: &mut Rig) -> Vec<(u64, u32)> {
    let frames = rig.take_sent().into_iter();
    let fetches = frames.filter(|frame| frame.known() == Some(FrameType::Fetch));
    let fetch = |frame: Frame| {
        let fetch = wire::Fetch::decode(frame.payload).unwrap();
        (fetch.behind.unwrap(), frame.corr.unwrap())
    };
    fetches.map(fetch).collect()
}

fn logged(rig: &Rig) -> Vec<u64> {
    let logged = rig.events.iter().filter_map(|event| match event {
        Event::Logged(place) => Some(place.in_group().unwrap().place.0),
        _ => None,
    });
    logged.collect()
}

fn answer(rig: &mut Rig, corr: u32, page: &wire::LogPage) {
    rig.server_corr(FrameType::LogPage, Some(corr), page);
}

#[test]
fn a_head_is_read_up_to_page_by_page_and_told_in_order_once() {
    let mut rig = member();
    rig.server(FrameType::Signal, &head(9));
    let asked = fetches(&mut rig);
    assert_eq!(asked.iter().map(|(behind, _)| *behind).collect::<Vec<_>>(), [5]);
    // News in between asks nothing more: one page of a group at a time.
    rig.server(FrameType::Signal, &head(10));
    assert_eq!(fetches(&mut rig), []);
    answer(&mut rig, asked[0].1, &page(6..=8, true));
    let next = fetches(&mut rig);
    assert_eq!(next[0].0, 8);
    // What overlaps is not told again.
    answer(&mut rig, next[0].1, &page(7..=10, false));
    assert_eq!(logged(&rig), [6, 7, 8, 9, 10]);
    assert_eq!(fetches(&mut rig), [], "the head is reached");
    rig.server(FrameType::Signal, &head(10));
    assert_eq!(fetches(&mut rig), [], "nothing new");
    assert_eq!(rig.session.counters().group_gaps, 0);
    // An answer that nobody waits for changes nothing.
    answer(&mut rig, next[0].1, &page(11..=12, false));
    assert_eq!(logged(&rig), [6, 7, 8, 9, 10]);
}

#[test]
fn nothing_of_a_log_is_told_before_it_is_on_the_disk() {
    let mut rig = member();
    rig.instant = false;
    rig.server(FrameType::Signal, &head(7));
    let asked = fetches(&mut rig);
    answer(&mut rig, asked[0].1, &page(6..=7, false));
    assert!(logged(&rig).is_empty());
    assert!(matches!(rig.records.last(), Some(Record::Logged { messages }) if messages.len() == 2));
    rig.stored();
    assert_eq!(logged(&rig), [6, 7]);
}

#[test]
fn a_restart_reads_on_from_where_the_disk_is() {
    let mut rig = member();
    rig.server(FrameType::Signal, &head(8));
    let asked = fetches(&mut rig);
    answer(&mut rig, asked[0].1, &page(6..=7, true));
    let mut disk = disk();
    rig.records.drain(..).for_each(|record| disk.apply(record));
    assert_eq!(disk.groups, *rig.session.groups(), "both count the same way");
    let places = disk.logged.iter().map(|place| place.in_group().unwrap().place.0);
    assert_eq!(places.collect::<Vec<_>>(), [6, 7]);
    let again = Start { groups: disk.groups, cursor: InboxSeq(11), ..start() };
    let mut rig = Rig::open(again, &welcome());
    rig.take_sent();
    rig.server(FrameType::Signal, &head(8));
    assert_eq!(fetches(&mut rig)[0].0, 7);
}

#[test]
fn another_connection_asks_again_and_so_does_another_owner() {
    let mut rig = member();
    rig.server(FrameType::Signal, &head(9));
    let first = fetches(&mut rig);
    rig.input(Input::Lost { text: String::new() });
    rig.pass(600);
    rig.reopen(&welcome());
    let second = fetches(&mut rig);
    assert_eq!((second.len(), second[0].0), (1, 5));
    assert_ne!(second[0].1, first[0].1);
    let changed = wire::signal::Kind::OwnerChanged(wire::OwnerChanged {});
    rig.server(FrameType::Signal, &wire::Signal { kind: Some(changed) });
    let third = fetches(&mut rig);
    assert_eq!((third.len(), third[0].0), (1, 5));
    answer(&mut rig, second[0].1, &page(6..=9, false));
    assert!(logged(&rig).is_empty(), "the answer to what was asked before");
    answer(&mut rig, third[0].1, &page(6..=9, false));
    assert_eq!(logged(&rig), [6, 7, 8, 9]);
}

#[test]
fn a_page_without_news_is_asked_for_again_later_and_not_for_ever() {
    let mut rig = member();
    rig.server(FrameType::Signal, &head(6));
    let asked = fetches(&mut rig);
    answer(&mut rig, asked[0].1, &wire::LogPage::default());
    assert_eq!(fetches(&mut rig), []);
    let mut waits = Vec::new();
    for _ in 0..7 {
        waits.push(rig.pass_until_due(10_000));
        let again = fetches(&mut rig);
        assert_eq!(again.len(), 1, "{waits:?}");
        answer(&mut rig, again[0].1, &wire::LogPage::default());
    }
    assert_eq!(waits[..4], [200, 400, 800, 1600]);
    rig.pass(20_000);
    assert_eq!(fetches(&mut rig), [], "until it is told of another head");
    rig.server(FrameType::Signal, &head(7));
    let again = fetches(&mut rig);
    answer(&mut rig, again[0].1, &page(6..=7, false));
    assert_eq!(logged(&rig), [6, 7]);
}

#[test]
fn what_is_put_off_is_asked_again_and_what_is_refused_is_not() {
    let mut rig = member();
    rig.server(FrameType::Signal, &head(6));
    let asked = fetches(&mut rig);
    let later = wire::CallResult { code: 4290, retry_after_ms: 300, ..Default::default() };
    rig.server_corr(FrameType::CallResult, Some(asked[0].1), &later);
    assert_eq!(rig.pass_until_due(1_000), 300);
    let again = fetches(&mut rig);
    assert_eq!(again.len(), 1);
    let refused = wire::CallResult { code: 4101, ..Default::default() };
    rig.server_corr(FrameType::CallResult, Some(again[0].1), &refused);
    rig.pass(20_000);
    assert_eq!(fetches(&mut rig), []);
    assert!(rig.called.is_empty(), "nobody asked");
}

#[test]
fn a_log_that_is_put_off_keeps_no_other_waiting_and_a_head_ends_the_wait() {
    let mut rig = Rig::open(start(), &welcome());
    let of = |group: u8, mut message: wire::Incoming| {
        message.in_group.as_mut().unwrap().group = vec![group; 16].into();
        message
    };
    rig.server(FrameType::Deliver, &deliver(11, (7..=9).map(|n| of(n, joins(5))).collect()));
    let told = |rig: &mut Rig, group: u8| {
        let head = wire::GroupHead { group: vec![group; 16].into(), head: 6 };
        let kind = Some(wire::signal::Kind::Head(head));
        rig.server(FrameType::Signal, &wire::Signal { kind });
    };
    rig.take_sent();
    (7..=9).for_each(|group| told(&mut rig, group));
    let asked = fetches(&mut rig);
    assert_eq!(asked.len(), 2, "so many at a time");
    let later = wire::CallResult { code: 5001, retry_after_ms: 300, ..Default::default() };
    for (_, corr) in asked {
        rig.server_corr(FrameType::CallResult, Some(corr), &later);
    }
    let third = fetches(&mut rig);
    assert_eq!(third.len(), 1, "the third is read meanwhile");
    let page = wire::LogPage { messages: vec![of(9, message(ADA, 6, None, true))], more: false };
    answer(&mut rig, third[0].1, &page);
    assert_eq!((logged(&rig), fetches(&mut rig)), (vec![6], vec![]));
    told(&mut rig, 7);
    assert_eq!(fetches(&mut rig).len(), 1, "it is known now how far it goes");
    assert_eq!(rig.pass_until_due(1_000), 300);
    assert_eq!(fetches(&mut rig).len(), 1);
}

#[test]
fn an_application_that_lags_is_not_read_for() {
    let mut rig = member();
    rig.eager = false;
    rig.server(FrameType::Signal, &head(400));
    for first in [6, 106, 206] {
        let asked = fetches(&mut rig);
        assert_eq!(asked.len(), 1, "{first}");
        answer(&mut rig, asked[0].1, &page(first..=first + 99, true));
    }
    assert_eq!(logged(&rig).len(), 300);
    rig.pass(1_000);
    assert_eq!(fetches(&mut rig), [], "enough waits");
    rig.input(Input::LogTaken(100));
    assert_eq!(fetches(&mut rig)[0].0, 305);
}

#[test]
fn a_skipped_place_is_counted_in_a_log_and_in_an_inbox() {
    let mut rig = member();
    rig.server(FrameType::Signal, &head(8));
    let asked = fetches(&mut rig);
    answer(&mut rig, asked[0].1, &page(7..=8, false));
    let skipped = |expected, found| {
        let (expected, found) = (ConvSeq(expected), ConvSeq(found));
        Event::GroupGap(Skipped { group: group(), expected, found })
    };
    assert!(rig.events.contains(&skipped(6, 7)));
    assert_eq!((rig.session.counters().group_gaps, logged(&rig)), (1, vec![7, 8]));

    let mut rig = Rig::open(start(), &welcome());
    let said = |place| message(ADA, place, None, false);
    rig.server(FrameType::Deliver, &deliver(11, vec![said(3), said(4), said(6)]));
    assert!(rig.events.contains(&skipped(5, 6)));
    assert_eq!(rig.session.counters().group_gaps, 1);
    assert_eq!(rig.placed(), [11, 12, 13], "what is here is told");
    assert!(rig.session.is_open(), "to connect again would not help");
    let mut disk = disk();
    rig.records.drain(..).for_each(|record| disk.apply(record));
    assert_eq!(disk.groups.get(group()).unwrap().gaps, 1, "the store counts it too");
}

#[test]
fn what_comes_by_the_log_too_is_told_once_in_its_order() {
    let mut rig = member();
    rig.server(FrameType::Signal, &head(6));
    let asked = fetches(&mut rig);
    let out = Change::Remove(vec![account(OWN)]);
    rig.server(FrameType::Deliver, &deliver(12, vec![message(ADA, 7, Some(&out), true)]));
    let told = rig.events.iter().filter(|event| {
        matches!(event, Event::Placed(Place { content: Content::Incoming(_), .. }))
    });
    assert_eq!(told.count(), 1, "only how the account came");
    assert_eq!(rig.placed(), [11, 12], "its number is not skipped");
    answer(&mut rig, asked[0].1, &page(6..=6, false));
    // Nobody tells heads to somebody who left: the inbox did.
    let asked = fetches(&mut rig);
    assert_eq!(asked[0].0, 6);
    let last = wire::LogPage { messages: vec![message(ADA, 7, Some(&out), true)], more: true };
    answer(&mut rig, asked[0].1, &last);
    assert_eq!(logged(&rig), [6, 7]);
    assert_eq!(fetches(&mut rig), [], "what is behind is not for this account");
    rig.server(FrameType::Signal, &head(20));
    assert_eq!(fetches(&mut rig), []);
}

#[test]
fn a_restart_reads_the_rest_of_a_group_that_was_left() {
    let mut rig = member();
    let out = Change::Remove(vec![account(OWN)]);
    rig.server(FrameType::Deliver, &deliver(12, vec![message(ADA, 9, Some(&out), true)]));
    let groups = rig.session.groups().clone();
    let mut rig = Rig::open(Start { groups, cursor: InboxSeq(12), ..start() }, &welcome());
    assert_eq!(fetches(&mut rig)[0].0, 5);
}

fn calls(rig: &mut Rig) -> Vec<Frame> {
    let frames = rig.take_sent().into_iter();
    frames.filter(|frame| frame.known() == Some(FrameType::Call)).collect()
}

#[test]
fn a_new_device_asks_which_groups_there_are_and_reads_from_their_heads() {
    let fresh = Start { groups: Groups::default(), ..start() };
    let mut rig = Rig::open(fresh, &welcome());
    let asked = calls(&mut rig);
    assert_eq!(asked.len(), 1);
    rig.server(FrameType::Signal, &head(30));
    assert_eq!(fetches(&mut rig), [], "it may be new to the account, too");
    let membership = wire::Membership { group: vec![9; 16].into(), since: 3, until: 0, pulls: 7 };
    let groups = wire::call_result::Result::Groups(wire::Memberships { groups: vec![membership] });
    let result = wire::CallResult { result: Some(groups), ..Default::default() };
    rig.server_corr(FrameType::CallResult, asked[0].corr, &result);
    rig.server(FrameType::Signal, &head(32));
    let asked = fetches(&mut rig);
    assert_eq!(asked[0].0, 30);
    answer(&mut rig, asked[0].1, &page(31..=32, false));
    assert_eq!(logged(&rig), [31, 32]);
    let mut disk = disk();
    rig.records.drain(..).for_each(|record| disk.apply(record));
    assert_eq!(disk.groups, *rig.session.groups());
    // It does so once.
    let again = Start { groups: disk.groups, ..start() };
    assert!(calls(&mut Rig::open(again, &welcome())).is_empty());
}

#[test]
fn a_group_that_nobody_told_of_waits_for_the_inbox() {
    let mut rig = Rig::open(start(), &welcome());
    rig.take_sent();
    rig.server(FrameType::Signal, &head(9));
    assert_eq!(fetches(&mut rig), []);
    rig.server(FrameType::Deliver, &deliver(11, vec![joins(5)]));
    assert_eq!(fetches(&mut rig)[0].0, 5, "everything since the account came");
}

#[test]
fn a_log_page_that_is_none_ends_the_connection() {
    for wrong in [
        wire::LogPage { messages: vec![wire::Incoming::default()], more: false },
        wire::LogPage {
            messages: vec![wire::Incoming { in_group: None, ..message(ADA, 6, None, true) }],
            more: false,
        },
        wire::LogPage {
            messages: vec![wire::Incoming {
                in_group: Some(wire::InGroup {
                    group: vec![8; 16].into(),
                    place: 6,
                    ..Default::default()
                }),
                ..message(ADA, 6, None, true)
            }],
            more: false,
        },
    ] {
        let mut rig = member();
        rig.server(FrameType::Signal, &head(6));
        let asked = fetches(&mut rig);
        answer(&mut rig, asked[0].1, &wrong);
        assert!(!rig.session.is_open(), "{wrong:?}");
        assert_eq!(rig.session.counters().malformed, 1);
    }
}

#[test]
fn an_application_reads_a_log_by_itself() {
    let mut rig = member();
    let fetch = LogFetch { group: group(), behind: ConvSeq(5), limit: 10 };
    let (id, op) = (CallId(4), CallOp::ReadLog(fetch));
    rig.input(Input::Call { id, op, patience_ms: 1_000 });
    let asked = fetches(&mut rig);
    assert_eq!(asked[0].0, 5);
    answer(&mut rig, asked[0].1, &page(6..=7, true));
    let Effect::Called { id: CallId(4), answer: Ok(CallAnswer::Log(page)) } = &rig.called[0] else {
        panic!("{:?}", rig.called)
    };
    assert_eq!((page.messages.len(), page.more), (2, true));
    assert!(logged(&rig).is_empty(), "what is looked at is not what is told");
}

fn draft(change: Option<Change>) -> Draft {
    Draft {
        to: Address::Group(group()),
        msg_id: MsgId([5; 16]),
        bodies: Bodies::Shared("hello".into()),
        expires_at_ms: 0,
        about: None,
        change,
        roster: ConvSeq(12),
    }
}

#[test]
fn a_change_and_a_roster_go_with_a_message() {
    let mut rig = Rig::open(start(), &welcome());
    let mut out = Vec::new();
    let in_tenant = |n: u8| {
        let mut bytes = [n; 16];
        bytes[2..6].copy_from_slice(&[9; 4]);
        AccountId::from_bytes(&bytes).unwrap()
    };
    let change = Change::Add(vec![in_tenant(3)]);
    rig.session.submit(&draft(Some(change.clone())), &mut out).unwrap();
    let Effect::Persist { record: Record::Bound { send, .. }, .. } = &out[0] else { panic!() };
    let send = wire::Send::decode(send.clone()).unwrap();
    assert_eq!((send.change, send.roster_version), (Some(change_to_wire(&change)), 12));
    let many = Change::Add((0..=255).chain([1]).map(in_tenant).collect());
    let long = Settings { info: vec![b'x'; 4097].into(), ..Settings::default() };
    for bad in [many, Change::Set(long), Change::Remove(vec![account(3)])] {
        let refused = rig.session.submit(&draft(Some(bad)), &mut out);
        assert_eq!(refused, Err(Unsendable::BadChange));
    }
    let to = Address::Account(account(3));
    let nowhere = Draft { to, ..draft(Some(Change::Leave)) };
    assert_eq!(rig.session.submit(&nowhere, &mut out), Err(Unsendable::BadChange));
}

fn disk() -> State {
    let mut disk = State::new(HistoryMax::PERSON);
    disk.apply(Record::Login(Login {
        handle: "me".into(),
        tenant: "default".into(),
        account: account(OWN),
        device: iris_core::id::DeviceNo(1),
        device_name: "laptop".into(),
    }));
    let known = Vec::new();
    disk.apply(Record::Groups { listed: true, holes: 0, known });
    disk
}

#[test]
fn the_own_message_stands_once_in_the_history_with_its_place_and_body() {
    let mut rig = Rig::open(start(), &welcome());
    let mut out = Vec::new();
    rig.session.submit(&Draft { msg_id: MsgId([6; 16]), ..draft(None) }, &mut out).unwrap();
    let mut disk = disk();
    for effect in out {
        if let Effect::Persist { record, .. } = effect {
            disk.apply(record);
        }
    }
    disk.apply(Record::Decided { upto: ClientSeq(1) });
    let sent = wire::Sent {
        device: 1,
        client_seq: 1,
        msg_id: vec![6; 16].into(),
        to: Some(iris_proto::client_frames::address_to_wire(Address::Group(group()))),
        ..Default::default()
    };
    let sent = wire::InboxEntry { clock_ms: 1, kind: Some(Kind::Sent(sent)) };
    let sent = Place::from_wire(InboxSeq(11), sent).unwrap();
    assert!(sent.is_on_its_way());
    disk.apply(Record::Placed { stream_gen: 1, places: vec![sent] });
    let shown = |disk: &State| -> Vec<(Option<u64>, bytes::Bytes)> {
        let places = disk.newest(10, |place| place.peer() == Some(Address::Group(group())));
        let shown = places.into_iter().map(|place| match place.content {
            Content::Incoming(message) => (message.in_group.map(|at| at.place.0), message.body),
            Content::Sent(message) => (None, message.body),
            other => panic!("{other:?}"),
        });
        shown.collect()
    };
    assert_eq!(shown(&disk), [(None, "hello".into())], "not lost while it is on its way");
    let placed =
        wire::InboxEntry { clock_ms: 1, kind: Some(Kind::Incoming(message(OWN, 6, None, false))) };
    let placed = Place::from_wire(InboxSeq(12), placed).unwrap();
    disk.apply(Record::Placed { stream_gen: 1, places: vec![placed] });
    assert_eq!(shown(&disk), [(Some(6), "hello".into())]);
}

use std::sync::Arc;

use super::super::members::tests::{bring, found, placed, team};
use super::super::rig::{HERE, PHONE, Rig, TABLET, THERE, remote, told};
use super::*;
use crate::group::{Change, Reach, RosterPage, Settings};
use crate::message::Bodies;
use crate::shard::Input;
use crate::shard::effect::CallAnswer;

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
    let out = tell(&mut rig, 5, 0);
    assert_eq!(heads(&out, phone), [5]);
    let out = tell(&mut rig, 5, 0);
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

#[test]
fn nobody_reads_on_before_those_who_left_have_heard_so() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), rig.person(2));
    found(&mut rig, Reach::Pull, &[ann, ben]);
    let (anns, bens) = (rig.connect(ann, PHONE, 1), rig.connect(ben, PHONE, 1));
    let out = fetch(&mut rig, anns, 1, 0);
    assert!(asked(&out).is_none(), "nobody knows how far it goes");
    assert!(matches!(
        told(&out, anns)[..],
        [ToConn::Result { answer: CallAnswer::Refused(Code::OwnerMoving, _), .. }]
    ));
    tell(&mut rig, 2, 2);
    // Ann is put out at place 3, by the item that comes next; two heads are told behind it.
    for head in [4, 5] {
        let out = tell(&mut rig, head, 3);
        assert_eq!((heads(&out, anns), heads(&out, bens)), (vec![], vec![]));
    }
    assert_eq!(asked(&fetch(&mut rig, anns, 2, 0)), Some((1, Some(2))), "as far as is known");
    let gone = placed(&mut rig, remote(2), 3, Reach::Pull, Some(Change::Remove(vec![ann])));
    let out = bring(&mut rig, gone, vec![ann]);
    assert_eq!((heads(&out, anns), heads(&out, bens)), (vec![], vec![5]));
    assert_eq!(asked(&fetch(&mut rig, anns, 3, 0)), Some((1, Some(3))));
    assert_eq!(asked(&fetch(&mut rig, bens, 1, 0)), Some((1, Some(5))));
}

#[test]
fn a_roster_says_nothing_of_later_places_either() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    found(&mut rig, Reach::Pull, &[ann]);
    let phone = rig.connect(ann, PHONE, 1);
    tell(&mut rig, 3, 0);
    let codes = [(3, true), (4, false)].map(|(version, fits)| {
        let corr = u32::from(fits);
        rig.done(Input::Roster { conn: phone, corr, group: team(), after: None });
        let page = RosterPage {
            head: ConvSeq(9),
            version: ConvSeq(version),
            reach: Reach::Pull,
            settings: Settings::default(),
            members: Vec::new(),
            next: None,
        };
        let page = Some(Some(page));
        let out =
            rig.done(Input::RosterRead { account: ann, conn: phone, corr, group: team(), page });
        match &told(&out, phone)[..] {
            [ToConn::Result { answer: CallAnswer::Roster(_), .. }] => None,
            [ToConn::Result { answer: CallAnswer::Refused(code, _), .. }] => Some(*code),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(codes, [None, Some(Code::OwnerMoving)]);
}

#[test]
fn a_watch_that_nobody_answers_is_taken_again_soon() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    found(&mut rig, Reach::Pull, &[ann]);
    rig.connect(ann, PHONE, 1);
    assert_eq!(watches(&rig.pass(limits::WATCH_ASK_AGAIN_MS)), [true]);
    assert_eq!(watches(&rig.pass(limits::WATCH_ASK_AGAIN_MS)), [true]);
    tell(&mut rig, 3, 9);
    assert!(watches(&rig.pass(limits::WATCH_ASK_AGAIN_MS)).is_empty(), "it waits for items");
}

#[test]
fn a_group_that_never_rests_is_read_all_the_same() {
    let mut heads = Heads::default();
    for n in 1..=100 {
        heads.note((OutboxSeq(n), ConvSeq(n)));
        heads.take(OutboxSeq(n.max(3) - 2));
    }
    assert!(heads.readable >= Some(ConvSeq(95)), "{heads:?}");
    heads.note((OutboxSeq(1), ConvSeq(1)));
    heads.take(OutboxSeq(100));
    assert_eq!((heads.readable, heads.next, heads.newest), (Some(ConvSeq(100)), None, None));
}

/// The group's shard tells a head, behind its items below a number.
fn tell(rig: &mut Rig, head: u64, items: u64) -> Vec<Effect> {
    let (head, items) = (ConvSeq(head), OutboxSeq(items));
    rig.done(Input::Signal(Signal::Head { group: team(), to: HERE, head, items }))
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
    tell(&mut rig, 15, 0);
    assert_eq!(asked(&fetch(&mut rig, phone, 2, 0)), Some((9, Some(15))));
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
    tell(&mut rig, 51, 0);
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

use std::sync::Arc;

use super::super::rig::{PHONE, Rig, deletes, delivered, ops, remote, told};
use super::*;
use crate::code::Code;
use crate::entry::Op;
use crate::id::AccountId;
use crate::message::{Message, Parcel};
use crate::seq::{ConvSeq, InboxSeq};
use crate::shard::{Conn, Effect, Fetch, HistoryPage, Input, ToConn};

/// A message that erases another one, decided but not released.
fn erase(rig: &mut Rig, message: &Message, to: AccountId) -> Vec<Effect> {
    let deletion = rig.message(message.sender, to);
    let deletion = Message { about: Some(deletes(message)), ..deletion };
    rig.parcel(Parcel::Message(Arc::new(deletion)))
}

fn contents(items: &[InboxItem]) -> Vec<(u64, bool)> {
    let has_body = |item: &InboxItem| matches!(item.content, InboxContent::Message(_));
    items.iter().map(|item| (item.seq.0, has_body(item))).collect()
}

/// The names on a page of the conversation of `account` with `with`.
fn page(rig: &mut Rig, conn: Conn, with: AccountId, stored: Vec<InboxItem>) -> Vec<MsgId> {
    let fetch = Fetch { conversation: Address::Account(with), before: None, limit: 50 };
    rig.done(Input::Fetch { conn, corr: 5, fetch });
    let account = rig.shard.account_of(conn).unwrap();
    let page = Some(HistoryPage { items: stored, next: None });
    let out = rig.done(Input::Fetched { account, conn, corr: 5, fetch, page });
    let items = told(&out, conn).into_iter().find_map(|what| match what {
        ToConn::Page { items, .. } => Some(items),
        _ => None,
    });
    let name = |item: InboxItem| match item.content {
        InboxContent::Message(message) => message.msg_id,
        other => panic!("{other:?}"),
    };
    items.unwrap().into_iter().map(name).collect()
}

#[test]
fn an_erased_message_is_a_hole_in_deliveries_and_in_no_page() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let messages = [0; 3].map(|_| rig.write(ben, ann));
    erase(&mut rig, &messages[1], ann);
    rig.release();
    let attach = rig.attach(ann, PHONE, 0);
    let conn = attach.conn;
    let out = rig.done(Input::Attach(attach));
    let expected = [(1, true), (2, false), (3, true), (4, true)];
    assert_eq!(contents(&delivered(&out, conn)), expected);
    let names = page(&mut rig, conn, ben, Vec::new());
    assert_eq!(names.len(), 3);
    assert!(!names.contains(&messages[1].msg_id));
}

#[test]
fn what_the_store_still_has_of_an_erased_message_is_not_shown() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let messages = [0; 3].map(|_| rig.write(ben, ann));
    rig.next_owner();
    let stored = rig.places(ann, 0, 3);
    assert_eq!(contents(&stored), [(1, true), (2, true), (3, true)]);
    erase(&mut rig, &messages[1], ann);
    rig.release();
    let attach = rig.attach(ann, PHONE, 0);
    let conn = attach.conn;
    rig.done(Input::Attach(attach));
    let items = Some(stored.clone());
    let out = rig.done(Input::InboxLoaded { account: ann, asked: InboxSeq(0), items });
    let expected = [(1, true), (2, false), (3, true), (4, true)];
    assert_eq!(contents(&delivered(&out, conn)), expected);
    assert!(!page(&mut rig, conn, ben, stored).contains(&messages[1].msg_id));
}

#[test]
fn a_page_in_memory_loses_the_body_too() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let messages = [0; 3].map(|_| rig.write(ben, ann));
    rig.next_owner();
    let mut attach = rig.attach(ann, PHONE, 0);
    attach.window_messages = 1;
    let conn = attach.conn;
    rig.done(Input::Attach(attach));
    let items = Some(rig.places(ann, 0, 3));
    let out = rig.done(Input::InboxLoaded { account: ann, asked: InboxSeq(0), items });
    assert_eq!(contents(&delivered(&out, conn)), [(1, true)], "as its credit goes");
    erase(&mut rig, &messages[1], ann);
    rig.release();
    let out = rig.done(Input::Window { conn, messages: 9, bytes: 9000 });
    assert_eq!(contents(&delivered(&out, conn)), [(2, false), (3, true), (4, true)]);
}

#[test]
fn an_erasure_reaches_the_rows_of_both_sides_with_the_flush_behind_it() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), rig.person(2));
    let conn = rig.connect(ann, PHONE, 0);
    let message = match &ops(&rig.send(conn, 1, ben))[..] {
        [Op::Sent { message, .. }] => message.clone(),
        other => panic!("{other:?}"),
    };
    rig.release();
    rig.flush();
    let out = rig.send_about(conn, 2, ben, Some(deletes(&message)));
    let at = match &out[..] {
        [Effect::Append(entry)] => entry.seq,
        other => panic!("{other:?}"),
    };
    let (flush, _) = rig.capture(true);
    let flush = flush.unwrap();
    let own: Vec<_> = flush.erasures.iter().filter(|erasure| erasure.account == ann).collect();
    assert_eq!(own.len(), 1, "{own:?}");
    let expected = (Address::Account(ben), message.clock, ann, message.msg_id);
    let found = (own[0].conversation, own[0].clock, own[0].author, own[0].msg_id);
    assert_eq!(found, expected);
    assert_eq!(own[0].timestamp, rig.shard.timestamp(at));
    // What could not be written is written with the next one.
    rig.shard.flush_failed();
    let (again, _) = rig.capture(true);
    assert_eq!(again.unwrap().erasures, flush.erasures);
}

#[test]
fn a_run_that_is_written_with_the_erasure_has_the_hole_already() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let message = rig.write(ben, ann);
    erase(&mut rig, &message, ann);
    let (flush, _) = rig.capture(true);
    let flush = flush.unwrap();
    let items: Vec<_> = flush.inbox.into_iter().flat_map(|run| run.items).collect();
    assert_eq!(contents(&items), [(1, false), (2, true)]);
    assert_eq!(flush.erasures.len(), 1);
}

#[test]
fn the_next_owner_erases_what_it_finds_in_the_log() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    rig.flush();
    let message = rig.write(ben, ann);
    erase(&mut rig, &message, ann);
    rig.release();
    rig.crash();
    let attach = rig.attach(ann, PHONE, 0);
    let conn = attach.conn;
    let out = rig.done(Input::Attach(attach));
    assert_eq!(contents(&delivered(&out, conn)), [(1, false), (2, true)]);
    let (flush, _) = rig.capture(true);
    assert_eq!(flush.unwrap().erasures.len(), 1);
}

/// An erasure that is lost with its owner never was: nobody may have seen it.
#[test]
fn nobody_sees_the_hole_before_the_erasure_is_released() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let message = rig.write(ben, ann);
    rig.write(ben, ann);
    // A device that comes while the erasure is under way, and waits for nothing else.
    let mut attach = rig.attach(ann, PHONE, 0);
    attach.window_messages = 0;
    let conn = attach.conn;
    rig.done(Input::Attach(attach));
    erase(&mut rig, &message, ann);
    let mut out = rig.step(Input::Window { conn, messages: 9, bytes: 9000 });
    let early = contents(&delivered(&out, conn));
    assert!(!early.contains(&(1, false)), "{early:?}");
    out.extend(rig.release());
    assert_eq!(contents(&delivered(&out, conn)), [(1, false), (2, true), (3, true)]);
}

#[test]
fn only_its_author_erases_a_message() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let conn = rig.connect(ann, PHONE, 0);
    let message = rig.write(ben, ann);
    let out = rig.send_about(conn, 1, ben, Some(deletes(&message)));
    let ops = ops(&out);
    assert!(matches!(ops[..], [Op::SendRefused { code: Code::Forbidden, .. }]), "{ops:?}");
    let reaction = About { act: Act::React, ..deletes(&message) };
    assert!(may(ann, &reaction));
    assert!(!may(ann, &About { act: Act::Edit, ..reaction }));
}

#[test]
fn erased_messages_that_are_remembered_are_bounded() {
    let mut erased = Erased::default();
    let about = |n: u64| About {
        act: Act::Delete,
        author: remote(2),
        msg_id: MsgId([n.to_be_bytes(), n.to_be_bytes()].concat().try_into().unwrap()),
        clock: Hlc(n),
        place: ConvSeq(0),
    };
    let most = u64::try_from(limits::ERASED_REMEMBERED).unwrap();
    (0..=most).for_each(|n| erased.remember(&about(n), InboxSeq(n)));
    assert_eq!(erased.messages.len(), limits::ERASED_REMEMBERED);
}

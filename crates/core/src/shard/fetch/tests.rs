use std::sync::Arc;

use bytes::Bytes;

use super::super::rig::{PHONE, Rig, delivered, remote, told};
use super::*;
use crate::clock::Hlc;
use crate::message::{Bodies, Message, Parcel};
use crate::seq::InboxSeq;
use crate::shard::Input;

/// What the store is asked for.
fn asked(out: &[Effect]) -> Vec<(u32, Fetch)> {
    let asked = out.iter().filter_map(|effect| match effect {
        Effect::Fetch { corr, fetch, .. } => Some((*corr, *fetch)),
        _ => None,
    });
    asked.collect()
}

fn ask(rig: &mut Rig, conn: Conn, corr: u32, fetch: Fetch) -> Vec<(u32, Fetch)> {
    asked(&rig.done(Input::Fetch { conn, corr, fetch }))
}

/// What a device gets when the store answers.
fn answer(
    rig: &mut Rig,
    conn: Conn,
    (corr, fetch): (u32, Fetch),
    page: Option<HistoryPage>,
) -> Vec<ToConn> {
    let account = rig.shard.account_of(conn).unwrap();
    told(&rig.done(Input::Fetched { account, conn, corr, fetch, page }), conn)
}

/// The places on a page, and where the next one begins.
fn page(what: Vec<ToConn>) -> (Vec<u64>, Option<HistoryPoint>) {
    match <[ToConn; 1]>::try_from(what) {
        Ok([ToConn::Page { items, next, .. }]) => {
            (items.iter().map(|item| item.seq.0).collect(), next)
        }
        other => panic!("{other:?}"),
    }
}

fn newest(with: AccountId, limit: u32) -> Fetch {
    Fetch { conversation: Address::Account(with), before: None, limit }
}

/// The store's page, as it would bring it now.
fn stored(rig: &Rig, account: AccountId, fetch: Fetch) -> HistoryPage {
    let wanted = |item: &InboxItem| {
        belongs(item, account, fetch.conversation)
            && fetch.before.is_none_or(|before| point_of(item) < before)
    };
    let mut items: Vec<_> =
        rig.places(account, 0, 1000).into_iter().filter(|item| wanted(item)).collect();
    items.sort_by_key(|item| std::cmp::Reverse(point_of(item)));
    let limit = usize::try_from(fetch.limit).unwrap();
    let full = items.len() >= limit;
    items.truncate(limit);
    let next = items.last().map(point_of).filter(|_| full);
    HistoryPage { items, next }
}

#[test]
fn a_page_has_what_is_in_memory_alone() {
    let mut rig = Rig::new();
    let (ann, ben, eve) = (rig.person(1), remote(2), remote(3));
    let conn = rig.connect(ann, PHONE, 0);
    rig.write(ben, ann);
    rig.write(eve, ann);
    rig.write(ben, ann);
    let asked = ask(&mut rig, conn, 5, newest(ben, 50));
    assert_eq!(asked, [(5, newest(ben, 50))]);
    let what = answer(&mut rig, conn, asked[0], Some(HistoryPage::default()));
    assert_eq!(page(what), (vec![3, 1], None), "newest first, of this conversation");
}

#[test]
fn a_page_has_each_place_once_though_memory_and_store_have_it() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let conn = rig.connect(ann, PHONE, 0);
    for _ in 0..3 {
        rig.write(ben, ann);
    }
    rig.flush();
    rig.write(ben, ann);
    let asked = ask(&mut rig, conn, 5, newest(ben, 50));
    let found = stored(&rig, ann, asked[0].1);
    assert_eq!(found.items.len(), 3);
    assert_eq!(page(answer(&mut rig, conn, asked[0], Some(found))), (vec![4, 3, 2, 1], None));
}

#[test]
fn what_leaves_memory_while_the_store_is_read_is_on_the_page() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let conn = rig.connect(ann, PHONE, 0);
    let count = u64::try_from(limits::TAIL_ITEMS_KEPT).unwrap() + 20;
    for _ in 0..count {
        rig.write(ben, ann);
    }
    let asked = ask(&mut rig, conn, 5, newest(ben, 100));
    // The store looked before the flush; the flush lets places go from memory.
    let found = stored(&rig, ann, asked[0].1);
    assert!(found.items.is_empty());
    rig.flush();
    rig.done(Input::Ack { conn, seq: InboxSeq(count) });
    let places = page(answer(&mut rig, conn, asked[0], Some(found))).0;
    assert_eq!(places, (1..=count).rev().collect::<Vec<_>>());
}

#[test]
fn nothing_is_on_a_page_before_its_release() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let conn = rig.connect(ann, PHONE, 0);
    rig.write(ben, ann);
    let message = rig.message(ben, ann);
    rig.parcel(Parcel::Message(Arc::new(message)));
    let fetch = newest(ben, 50);
    rig.step(Input::Fetch { conn, corr: 5, fetch });
    let found = Some(HistoryPage::default());
    let answered = Input::Fetched { account: ann, conn, corr: 5, fetch, page: found };
    let what = told(&rig.step(answered), conn);
    assert_eq!(page(what).0, [1]);
}

#[test]
fn pages_follow_each_other_through_memory_and_store() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let conn = rig.connect(ann, PHONE, 0);
    for place in 1..=30 {
        rig.write(ben, ann);
        if place == 20 {
            rig.flush();
        }
    }
    let (mut seen, mut before) = (Vec::new(), None);
    for corr in 0..20 {
        let fetch = Fetch { before, ..newest(ben, 7) };
        let asked = ask(&mut rig, conn, corr, fetch);
        let found = stored(&rig, ann, asked[0].1);
        let (places, next) = page(answer(&mut rig, conn, asked[0], Some(found)));
        assert!(places.len() <= 7);
        seen.extend(places);
        before = next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=30).rev().collect::<Vec<_>>());
}

#[test]
fn messages_that_overtook_each_other_are_in_the_order_of_their_clocks() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let conn = rig.connect(ann, PHONE, 0);
    let messages = [0; 4].map(|_| rig.message(ben, ann));
    for n in [2, 0, 3, 1] {
        rig.parcel(Parcel::Message(Arc::new(messages[n].clone())));
        rig.release();
    }
    let asked = ask(&mut rig, conn, 5, newest(ben, 3));
    let (places, next) = page(answer(&mut rig, conn, asked[0], Some(HistoryPage::default())));
    assert_eq!(places, [3, 1, 4]);
    let last = HistoryPoint { clock: messages[1].clock, place: InboxSeq(4) };
    assert_eq!(next, Some(last), "there is one more");
}

#[test]
fn a_page_is_bounded_in_messages_and_bytes() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let conn = rig.connect(ann, PHONE, 0);
    let large = Bytes::from(vec![7; limits::BODY_BYTES_MAX]);
    for _ in 0..3 {
        let bodies = Bodies::Shared(large.clone());
        let message = Message { bodies, ..rig.message(ben, ann) };
        rig.parcel(Parcel::Message(Arc::new(message)));
        rig.release();
    }
    let asked = ask(&mut rig, conn, 5, newest(ben, 0));
    assert_eq!(asked[0].1.limit, 1, "none is as good as one");
    answer(&mut rig, conn, asked[0], Some(HistoryPage::default()));
    let asked = ask(&mut rig, conn, 6, newest(ben, u32::MAX));
    assert_eq!(asked[0].1.limit, limits::PAGE_MESSAGES_MAX);
    let what = answer(&mut rig, conn, asked[0], Some(HistoryPage::default()));
    let (places, next) = page(what);
    assert_eq!(places, [3], "a second one would be above what a page holds");
    assert_eq!(next.map(|next| next.place), Some(InboxSeq(3)));
}

#[test]
fn a_device_waits_for_so_many_pages_and_is_told_when_there_is_none() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let conn = rig.connect(ann, PHONE, 0);
    let most = u32::try_from(limits::FETCHES_MAX).unwrap();
    for corr in 0..most {
        assert_eq!(ask(&mut rig, conn, corr, newest(ben, 5)).len(), 1);
    }
    let refused = |what: &[ToConn], code| {
        let [ToConn::Result { answer: CallAnswer::Refused(found, _), .. }] = what else {
            panic!("{what:?}")
        };
        assert_eq!(*found, code);
    };
    let out = rig.done(Input::Fetch { conn, corr: most, fetch: newest(ben, 5) });
    refused(&told(&out, conn), Code::RateLimited);
    refused(&answer(&mut rig, conn, (0, newest(ben, 5)), None), Code::StoreUnavailable);
    // There is room again; and one answer is enough.
    assert_eq!(ask(&mut rig, conn, most, newest(ben, 5)).len(), 1);
    let twice = answer(&mut rig, conn, (0, newest(ben, 5)), Some(HistoryPage::default()));
    assert_eq!(twice, []);
}

#[test]
fn what_expired_is_on_no_page() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let conn = rig.connect(ann, PHONE, 0);
    let expires_at_ms = rig.now.wall.0 + 500;
    let message = Message { expires_at_ms, ..rig.message(ben, ann) };
    rig.parcel(Parcel::Message(Arc::new(message)));
    assert_eq!(delivered(&rig.release(), conn).len(), 1);
    rig.write(ben, ann);
    rig.pass(500);
    let asked = ask(&mut rig, conn, 5, newest(ben, 5));
    let what = answer(&mut rig, conn, asked[0], Some(HistoryPage::default()));
    assert_eq!(page(what), (vec![2], None));
    assert!(rig.shard.clock() > Hlc(0));
}

mod schedule;

use super::super::rig::{
    PHONE, Rig, TABLET, THERE, delivered, local, ops, read_for_receipts, receipts, remote, told,
};
use super::*;
use crate::entry::Progress;
use crate::message::Parcel;
use crate::relation::Wish;
use crate::shard::{Input, ToConn};

const ANN: u128 = 1;

fn ack(conn: Conn, seq: u64) -> Input {
    Input::Ack { conn, seq: InboxSeq(seq) }
}

/// The cursors that were logged.
fn cursors(out: &[Effect]) -> Vec<u64> {
    let cursors = |op| match op {
        Op::Progress(Progress { cursors, .. }) => Some(cursors),
        _ => None,
    };
    ops(out).into_iter().filter_map(cursors).flatten().map(|(_, _, seq)| seq.0).collect()
}

fn pushed(out: &[Effect]) -> Vec<Parcel> {
    let items = out.iter().filter_map(|effect| match effect {
        Effect::Push { to: THERE, items } => Some(items.clone()),
        _ => None,
    });
    items.flatten().map(|item| item.parcel).collect()
}

#[test]
fn what_a_device_has_on_its_disk_is_told_once_to_whoever_wrote_it() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(ANN), remote(2));
    rig.open(ann, TABLET);
    let (phone, tablet) = (rig.connect(ann, PHONE, 0), rig.connect(ann, TABLET, 0));
    let last = [0; 3].map(|_| rig.write(ben, ann)).last().map(|message| message.clock).unwrap();
    assert!(receipts(&rig.done(ack(phone, 3))).is_empty(), "it waits for company");
    let out = rig.pass(limits::RECEIPTS_WAIT_MS);
    let receipt = Receipt { from: ann, to: ben, delivered: last, read: Hlc(0) };
    assert_eq!(receipts(&out), [receipt]);
    assert!(pushed(&out).is_empty(), "not before it is released");
    assert_eq!(pushed(&rig.release()), [Parcel::Receipt(receipt)]);
    // The second device that has it tells nothing new.
    rig.done(ack(tablet, 3));
    assert!(receipts(&rig.pass(limits::RECEIPTS_WAIT_MS)).is_empty());
    assert!(receipts(&rig.flush()).is_empty());
}

#[test]
fn a_device_that_has_a_part_of_a_frame_makes_the_receipts_of_that_part() {
    let mut rig = Rig::new();
    let (ann, ben, eve) = (rig.person(ANN), remote(2), remote(3));
    let phone = rig.connect(ann, PHONE, 0);
    let messages = [eve, ben].map(|from| rig.message(from, ann));
    for message in &messages {
        rig.parcel(Parcel::Message(message.clone().into()));
    }
    let frames = told(&rig.release(), phone);
    assert!(matches!(&frames[..], [ToConn::Deliver { items, .. }] if items.len() == 2));
    rig.done(ack(phone, 1));
    let found = receipts(&rig.flush());
    let found: Vec<_> = found.iter().map(|r| (r.to, r.delivered)).collect();
    assert_eq!(found, [(eve, messages[0].clock)], "its cursor is logged, so this is the time");
    rig.done(ack(phone, 2));
    let found = receipts(&rig.flush());
    let found: Vec<_> = found.iter().map(|r| (r.to, r.delivered)).collect();
    assert_eq!(found, [(ben, messages[1].clock)]);
}

#[test]
fn a_cursor_is_logged_behind_the_receipts_that_follow_from_it() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(ANN), remote(2));
    let phone = rig.connect(ann, PHONE, 0);
    rig.write(ben, ann);
    rig.done(ack(phone, 1));
    let (_, out) = rig.capture(false);
    let kinds: Vec<_> = ops(&out)
        .iter()
        .map(|op| match op {
            Op::Marked { .. } => "receipt",
            Op::Progress(_) => "cursor",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["receipt", "cursor"]);
}

/// Five messages; the phone has two of them on its disk and was handed two more by an owner that is
/// gone. Answers its connection to the next owner, and the clocks.
fn handed_before(rig: &mut Rig) -> (AccountId, Conn, Vec<Hlc>, Vec<Effect>) {
    let (ann, ben) = (rig.person(ANN), remote(2));
    let phone = rig.connect(ann, PHONE, 0);
    let clocks = [0; 5].map(|_| rig.write(ben, ann).clock).to_vec();
    rig.done(ack(phone, 2));
    rig.next_owner();
    let mut attach = rig.attach(ann, PHONE, 2);
    attach.delivered = InboxSeq(4);
    let conn = attach.conn;
    let out = rig.done(Input::Attach(attach));
    (ann, conn, clocks, out)
}

#[test]
fn receipts_of_what_an_earlier_owner_handed_out_are_made_from_the_store() {
    let mut rig = Rig::new();
    let (ann, conn, clocks, out) = handed_before(&mut rig);
    assert_eq!(read_for_receipts(&out), [], "nothing of it is on the disk so far");
    let out = rig.done(ack(conn, 4));
    assert_eq!(read_for_receipts(&out), [(ann, 2, 4)]);
    let items = Some(rig.places(ann, 2, 4));
    rig.done(Input::ReceiptsRead { account: ann, after: InboxSeq(2), items });
    let found = receipts(&rig.pass(limits::RECEIPTS_WAIT_MS));
    assert_eq!(found.iter().map(|r| r.delivered).collect::<Vec<_>>(), [clocks[3]]);
    assert_eq!(cursors(&rig.flush()), [4]);
}

#[test]
fn receipts_of_what_was_acknowledged_to_an_earlier_owner_are_made_from_the_store() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(ANN), remote(2));
    rig.connect(ann, PHONE, 0);
    let clocks = [0; 3].map(|_| rig.write(ben, ann).clock);
    rig.next_owner();
    // The row knows of nothing on the device's disk.
    let attach = rig.attach(ann, PHONE, 3);
    let out = rig.done(Input::Attach(attach));
    assert_eq!(read_for_receipts(&out), [(ann, 0, 3)]);
    // The store brings a part, and what is left is asked for.
    let items = Some(rig.places(ann, 0, 2));
    let out = rig.done(Input::ReceiptsRead { account: ann, after: InboxSeq(0), items });
    assert_eq!(read_for_receipts(&out), [(ann, 2, 3)]);
    let items = Some(rig.places(ann, 2, 3));
    rig.done(Input::ReceiptsRead { account: ann, after: InboxSeq(2), items });
    let found = receipts(&rig.pass(limits::RECEIPTS_WAIT_MS));
    assert_eq!(found.iter().map(|r| r.delivered).collect::<Vec<_>>(), [clocks[2]]);
}

#[test]
fn an_answer_whose_range_was_lowered_meanwhile_still_counts() {
    let mut rig = Rig::new();
    let (ann, ben, eve) = (rig.person(ANN), remote(2), remote(3));
    rig.open(ann, TABLET);
    rig.connect(ann, PHONE, 0);
    let early = [0; 2].map(|_| rig.write(eve, ann).clock);
    let late = [0; 2].map(|_| rig.write(ben, ann).clock);
    rig.next_owner();
    // The phone's row has two places, so only the last two are read for it.
    rig.rows.accounts.get_mut(&ann).unwrap().devices.get_mut(&PHONE).unwrap().cursor = InboxSeq(2);
    let attach = rig.attach(ann, PHONE, 4);
    assert_eq!(read_for_receipts(&rig.done(Input::Attach(attach))), [(ann, 2, 4)]);
    // Meanwhile the tablet comes, whose row has none.
    let attach = rig.attach(ann, TABLET, 4);
    assert_eq!(read_for_receipts(&rig.done(Input::Attach(attach))), [], "one read at a time");
    let items = Some(rig.places(ann, 2, 4));
    let out = rig.done(Input::ReceiptsRead { account: ann, after: InboxSeq(2), items });
    assert_eq!(read_for_receipts(&out), [(ann, 0, 4)], "from the lowest on");
    let found = receipts(&rig.pass(limits::RECEIPTS_WAIT_MS));
    assert_eq!(found.iter().map(|r| (r.to, r.delivered)).collect::<Vec<_>>(), [(ben, late[1])]);
    let items = Some(rig.places(ann, 0, 4));
    let out = rig.done(Input::ReceiptsRead { account: ann, after: InboxSeq(0), items });
    assert_eq!(read_for_receipts(&out), [], "nothing is left");
    let found = receipts(&rig.pass(limits::RECEIPTS_WAIT_MS));
    assert_eq!(found.iter().map(|r| (r.to, r.delivered)).collect::<Vec<_>>(), [(eve, early[1])]);
}

#[test]
fn places_that_the_store_did_not_read_are_read_again() {
    let mut rig = Rig::new();
    let (ann, conn, clocks, _) = handed_before(&mut rig);
    assert_eq!(read_for_receipts(&rig.done(ack(conn, 3))), [(ann, 2, 3)]);
    let failed = Input::ReceiptsRead { account: ann, after: InboxSeq(2), items: None };
    assert_eq!(read_for_receipts(&rig.done(failed)), [], "not at once");
    // The cursor waits for its receipts, however often something else is logged.
    let bob = rig.person(5);
    for _ in 0..3 {
        rig.write(remote(2), bob);
        assert_eq!(cursors(&rig.flush()), []);
    }
    assert_eq!(read_for_receipts(&rig.pass(100)), [(ann, 2, 3)]);
    let items = Some(rig.places(ann, 2, 3));
    rig.done(Input::ReceiptsRead { account: ann, after: InboxSeq(2), items });
    let out = rig.flush();
    assert_eq!(receipts(&out).iter().map(|r| r.delivered).collect::<Vec<_>>(), [clocks[2]]);
    assert_eq!(cursors(&out), [3]);
}

#[test]
fn a_cursor_that_waits_for_receipts_is_not_forgotten_when_others_are_logged() {
    let mut rig = Rig::new();
    let (ann, conn, ..) = handed_before(&mut rig);
    let bob = rig.person(5);
    let other = rig.connect(bob, PHONE, 0);
    rig.write(remote(2), bob);
    rig.done(ack(conn, 4));
    rig.done(ack(other, 1));
    assert_eq!(cursors(&rig.flush()), [1], "that of the other account alone");
    let items = Some(rig.places(ann, 2, 4));
    rig.done(Input::ReceiptsRead { account: ann, after: InboxSeq(2), items });
    assert_eq!(cursors(&rig.flush()), [4]);
}

#[test]
fn a_new_device_makes_no_receipts_of_what_it_was_not_given() {
    let mut rig = Rig::new();
    let (ann, ben, eve) = (rig.person(ANN), remote(2), remote(3));
    for _ in 0..3 {
        rig.write(eve, ann);
    }
    rig.open(ann, TABLET);
    rig.next_owner();
    let mut attach = rig.attach(ann, TABLET, 0);
    attach.stream_gen = 0;
    let conn = attach.conn;
    rig.done(Input::Attach(attach));
    let clock = rig.write(ben, ann).clock;
    // The next owner hears from its edge what the device was handed.
    let mut again = rig.shard.clone();
    assert_eq!(read_for_receipts(&rig.done(ack(conn, 4))), []);
    let found = receipts(&rig.pass(limits::RECEIPTS_WAIT_MS));
    assert_eq!(found.iter().map(|r| (r.to, r.delivered)).collect::<Vec<_>>(), [(ben, clock)]);
    std::mem::swap(&mut rig.shard, &mut again);
    rig.next_owner();
    let mut attach = rig.attach(ann, TABLET, 0);
    attach.delivered = InboxSeq(4);
    let conn = attach.conn;
    rig.done(Input::Attach(attach));
    assert_eq!(read_for_receipts(&rig.done(ack(conn, 4))), [(ann, 3, 4)]);
}

#[test]
fn what_was_read_is_told_to_the_writer_and_to_own_devices() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(ANN), remote(2));
    let phone = rig.connect(ann, PHONE, 0);
    let upto = rig.write(ben, ann).clock;
    let read = |private, upto| {
        let conversation = Address::Account(ben);
        Input::Read { conn: phone, conversation, upto, private }
    };
    rig.done(read(false, upto));
    let mut out = rig.pass(limits::RECEIPTS_WAIT_MS);
    assert_eq!(receipts(&out), [Receipt { from: ann, to: ben, delivered: upto, read: upto }]);
    out = rig.release();
    let mark = crate::mark::Mark { own_read: upto, version: 1, ..Default::default() };
    let marks = ToConn::Marks { marks: vec![(ben, mark)], version: Some(1) };
    assert_eq!(told(&out, phone), [marks], "the device's acknowledgement");
    // In private, or whenever the person wishes so, only own devices are told.
    rig.done(read(true, upto));
    assert_eq!(receipts(&rig.flush()), []);
    rig.wish(phone, Wish::TellReads(Tells::No));
    rig.done(read(false, upto));
    let out = rig.flush();
    assert_eq!(receipts(&out), []);
    let marked = ops(&out).iter().any(|op| matches!(op, Op::Marked { own_read: Some(_), .. }));
    assert!(marked, "{out:?}");
    // Nobody reads what is not written yet.
    let (now, later) = (rig.shard.clock(), Hlc(u64::MAX >> 2));
    rig.wish(phone, Wish::TellReads(Tells::Yes));
    rig.done(read(false, later));
    let found = receipts(&rig.flush());
    assert!(found.iter().all(|r| r.read >= now && r.read < later), "{found:?}");
}

#[test]
fn whoever_is_blocked_gets_no_receipt() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(ANN), remote(2));
    let phone = rig.connect(ann, PHONE, 0);
    let upto = rig.write(ben, ann).clock;
    rig.wish(phone, Wish::Block(ben, true));
    rig.done(ack(phone, 1));
    let conversation = Address::Account(ben);
    rig.done(Input::Read { conn: phone, conversation, upto, private: false });
    let out = rig.flush();
    assert_eq!(receipts(&out), []);
    let own = ops(&out).iter().any(|op| matches!(op, Op::Marked { own_read: Some(_), .. }));
    assert!(own, "own devices know what was read all the same: {out:?}");
}

#[test]
fn a_shard_that_is_to_leave_makes_no_receipts_until_it_stays() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(ANN), remote(2));
    let phone = rig.connect(ann, PHONE, 0);
    let clock = rig.write(ben, ann).clock;
    rig.shard.set_admitting(false);
    rig.done(ack(phone, 1));
    let out = rig.flush();
    assert_eq!((receipts(&out), cursors(&out)), (Vec::new(), Vec::new()));
    assert!(rig.shard.is_clean());
    rig.shard.set_admitting(true);
    let out = rig.flush();
    assert_eq!(receipts(&out).iter().map(|r| r.delivered).collect::<Vec<_>>(), [clock]);
    assert_eq!(cursors(&out), [1]);
}

#[test]
fn receipts_that_wait_are_bounded() {
    let mut rig = Rig::new();
    let ann = rig.person(ANN);
    let phone = rig.connect(ann, PHONE, 0);
    let mut out = Vec::new();
    for n in 0..u128::try_from(limits::RECEIPTS_WAITING_MAX).unwrap() {
        let (conversation, upto) = (Address::Account(remote(n)), Hlc(1));
        out.extend(rig.step(Input::Read { conn: phone, conversation, upto, private: false }));
    }
    assert_eq!(receipts(&out).len(), limits::RECEIPTS_WAITING_MAX);
    assert!(rig.shard.receipts.is_empty());
}

#[test]
fn own_messages_and_those_of_others_conversations_make_no_receipts() {
    let mut rig = Rig::new();
    let ann = rig.person(ANN);
    let phone = rig.connect(ann, PHONE, 0);
    let out = rig.send(phone, 1, remote(2));
    assert_eq!(ops(&out).len(), 1);
    let out = rig.release();
    assert_eq!(delivered(&out, phone).len(), 1, "the sender's own copy");
    rig.done(ack(phone, 1));
    assert_eq!(receipts(&rig.flush()), []);
    assert_eq!(local(ANN), ann);
}

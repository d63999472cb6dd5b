//! What the next owner makes of inputs over which one panicked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::super::rig::{PHONE, Rig, THERE, delivered, local, ops, outcomes, remote, told};
use super::super::{CallAnswer, LinkNo, Send, ToConn};
use super::*;
use crate::entry::Received;
use crate::message::Address;
use crate::seq::OutboxSeq;

/// The number that follows overflows: whatever goes to or comes from the other shard panics.
fn poison(rig: &mut Rig) {
    let peer = rig.shard.peers.entry(THERE).or_default();
    peer.out_confirmed = OutboxSeq(u64::MAX - 1);
    (peer.out_next, peer.in_next) = (OutboxSeq(u64::MAX), OutboxSeq(u64::MAX));
}

/// What the owner writes down.
fn panics(rig: &mut Rig, input: Input) -> Deciding {
    let (shard, now) = (&mut rig.shard, rig.now);
    let step = AssertUnwindSafe(|| shard.step(now, input, &mut Vec::new()));
    assert!(catch_unwind(step).is_err(), "it does not panic");
    rig.shard.deciding().unwrap()
}

fn distrust(rig: &mut Rig, suspects: &[Deciding]) {
    rig.shard.distrust(suspects.iter().map(Deciding::to_string).collect());
}

fn numbered(account: AccountId, client_seq: u64) -> Numbered {
    Numbered { account, device: PHONE, client_seq: ClientSeq(client_seq) }
}

fn sends(rig: &Rig, conn: Conn, seq: u64, to: AccountId) -> Input {
    let send = rig.group_send(seq, super::super::rig::remote_group(0), None);
    Input::Send { conn, send: Send { to: Address::Account(to), ..send } }
}

/// The answers to sends: the cumulative number, and what is refused.
fn acks(out: &[Effect], conn: Conn) -> Vec<(u64, Vec<(ClientSeq, Code)>)> {
    let ack = |what| match what {
        ToConn::SendAck { client_seq, refusals } => Some((client_seq.0, refusals)),
        _ => None,
    };
    told(out, conn).into_iter().filter_map(ack).collect()
}

/// A shard whose owner panicked over the first message of Ann's phone.
fn after_a_panic() -> (Rig, AccountId, Deciding) {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    let phone = rig.connect(ann, PHONE, 0);
    poison(&mut rig);
    let send = sends(&rig, phone, 1, remote(2));
    let suspect = panics(&mut rig, send);
    assert_eq!(suspect, Deciding::Send(numbered(ann, 1)));
    rig.crash();
    (rig, ann, suspect)
}

#[test]
fn a_message_is_refused_for_good_and_the_device_goes_on() {
    let (mut rig, ann, suspect) = after_a_panic();
    distrust(&mut rig, &[suspect]);
    let phone = rig.connect(ann, PHONE, 0);
    poison(&mut rig);
    let send = sends(&rig, phone, 1, remote(2));
    let out = rig.done(send.clone());
    assert!(matches!(ops(&out)[..], [Op::SendRefused { .. }]), "{out:?}");
    let refused = vec![(ClientSeq(1), Code::Damaged)];
    assert_eq!(acks(&out, phone), [(1, refused.clone())]);
    let next = sends(&rig, phone, 2, local(7));
    assert_eq!(acks(&rig.done(next), phone), [(2, Vec::new())]);
    assert_eq!(rig.shard.deciding(), None);

    // The next owner may be of another version. The answer stays.
    rig.crash();
    let phone = rig.connect(ann, PHONE, 0);
    let again = Input::Send { conn: phone, send: sent(send) };
    let out = rig.done(again);
    assert!(ops(&out).is_empty(), "{out:?}");
    assert_eq!(acks(&out, phone).last().map(|(upto, _)| *upto), Some(2));
    let refusals = &rig.shard.account(ann).unwrap().devices[&PHONE].refusals;
    assert_eq!(refusals.iter().map(|(seq, code)| (*seq, *code)).collect::<Vec<_>>(), refused);
}

fn sent(input: Input) -> Send {
    match input {
        Input::Send { send, .. } => send,
        other => panic!("{other:?}"),
    }
}

#[test]
fn where_the_refusal_panicked_too_it_is_put_off() {
    let (mut rig, ann, suspect) = after_a_panic();
    distrust(&mut rig, &[suspect, Deciding::Refusal(numbered(ann, 1))]);
    let phone = rig.connect(ann, PHONE, 0);
    poison(&mut rig);
    let send = sends(&rig, phone, 1, remote(2));
    let out = rig.done(send);
    assert!(ops(&out).is_empty() && acks(&out, phone).is_empty(), "{out:?}");
    let nack = |what| matches!(what, ToConn::SendNack { code: Code::StoreUnavailable, .. });
    assert!(told(&out, phone).into_iter().any(nack), "{out:?}");
}

/// An owner panicked while it answered again. The answer is what it was.
#[test]
fn a_message_that_was_taken_is_not_refused() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    let phone = rig.connect(ann, PHONE, 0);
    let send = sends(&rig, phone, 1, remote(2));
    rig.done(send);
    rig.crash();
    distrust(&mut rig, &[Deciding::Send(numbered(ann, 1))]);
    let phone = rig.connect(ann, PHONE, 0);
    let again = sends(&rig, phone, 1, remote(2));
    let out = rig.done(again);
    assert!(ops(&out).is_empty(), "{out:?}");
    assert!(acks(&out, phone).iter().all(|(upto, refusals)| (*upto, refusals.len()) == (1, 0)));
    assert_eq!(acks(&out, phone).len(), 1);
}

fn pushed(seq: u64, message: &Message) -> Input {
    let parcel = Parcel::Message(Arc::new(message.clone()));
    Input::Parcel { link: Some(LinkNo(9)), from: THERE, seq: OutboxSeq(seq), parcel }
}

#[test]
fn an_item_of_another_shard_waits_there() {
    let mut rig = Rig::new();
    let ben = rig.person(2);
    let message = rig.message(remote(3), ben);
    poison(&mut rig);
    let suspect = panics(&mut rig, pushed(u64::MAX, &message));
    assert_eq!(suspect, Deciding::Message(THERE, numbered(remote(3), 1)));

    rig.crash();
    distrust(&mut rig, &[suspect]);
    let phone = rig.connect(ben, PHONE, 0);
    // It never was logged where it came from, and may have another number now.
    for _ in 0..2 {
        assert!(rig.done(pushed(1, &message)).is_empty(), "neither taken nor confirmed");
    }
    let mut behind = rig.message(remote(3), ben);
    behind.client_seq = ClientSeq(2);
    let out = rig.done(pushed(2, &behind));
    let expects =
        |effect: &Effect| matches!(effect, Effect::Expect { from: THERE, next: OutboxSeq(1), .. });
    assert!(outcomes(&out).is_empty() && out.iter().any(expects), "{out:?}");

    // A version that takes it.
    distrust(&mut rig, &[]);
    let mut out = rig.done(pushed(1, &message));
    out.extend(rig.done(pushed(2, &behind)));
    assert_eq!(delivered(&out, phone).len(), 2);
}

/// The rows that it waited for are not to blame.
#[test]
fn what_waited_for_rows_is_noted_for_itself() {
    let mut rig = Rig::new();
    let ben = rig.person(2);
    let state = rig.shard.account(ben).cloned();
    rig.next_owner();
    rig.loads = false;
    let message = rig.message(remote(3), ben);
    poison(&mut rig);
    rig.step(pushed(u64::MAX, &message));
    let suspect = panics(&mut rig, Input::Loaded { account: ben, state });
    assert_eq!(suspect, Deciding::Message(THERE, numbered(remote(3), 1)));
}

#[test]
fn rows_are_as_rows_that_cannot_be_understood() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    rig.next_owner();
    distrust(&mut rig, &[Deciding::Account(ann)]);
    let attach = rig.attach(ann, PHONE, 0);
    let conn = attach.conn;
    let out = rig.done(Input::Attach(attach));
    let closed = |what| matches!(what, ToConn::Closed { code: Code::StoreUnavailable, .. });
    assert!(told(&out, conn).into_iter().any(closed), "{out:?}");
    let mut refused = Vec::new();
    for _ in 0..crate::limits::DAMAGED_TRIES {
        let message = rig.message(remote(3), ann);
        refused.extend(outcomes(&rig.done(pushed(1, &message))));
    }
    assert!(matches!(refused[..], [Received::Refused { .. }]), "its sender is told: {refused:?}");
}

#[test]
fn a_call_is_told_to_come_again_and_others_are_answered() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    let phone = rig.connect(ann, PHONE, 0);
    distrust(&mut rig, &[Deciding::Call("a list of devices", ann, PHONE)]);
    let answer = |out: &[Effect]| {
        told(out, phone).into_iter().find_map(|what| match what {
            ToConn::Result { answer, .. } => Some(answer),
            _ => None,
        })
    };
    let out = rig.done(Input::ListDevices { conn: phone, corr: 1 });
    assert!(matches!(answer(&out), Some(CallAnswer::Refused(Code::StoreUnavailable, _))));
    let out = rig.done(Input::ListWishes { conn: phone, corr: 2 });
    assert!(matches!(answer(&out), Some(CallAnswer::Wishes(_))), "{out:?}");
}

/// A release has to be told, whatever happened over one.
#[test]
fn what_the_shard_has_to_be_told_is_never_left_out() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    let phone = rig.connect(ann, PHONE, 0);
    distrust(&mut rig, &[Deciding::Own("a release")]);
    let send = sends(&rig, phone, 1, local(7));
    assert_eq!(acks(&rig.done(send), phone), [(1, Vec::new())]);
}

use super::super::rig::{PHONE, Rig, delivered, foreign, ops, outcomes, remote, told};
use super::*;
use crate::entry::Received;
use crate::limits;
use crate::relation::{Audience, Relations, Tells};
use crate::shard::Input;

fn answers(out: &[Effect], conn: Conn) -> Vec<CallAnswer> {
    let answer = told(out, conn).into_iter().filter_map(|what| match what {
        ToConn::Result { answer, .. } => Some(answer),
        _ => None,
    });
    answer.collect()
}

fn wishes(rig: &mut Rig, conn: Conn) -> Relations {
    match answers(&rig.done(Input::ListWishes { conn, corr: 7 }), conn).pop() {
        Some(CallAnswer::Wishes(relations)) => *relations,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wish_is_answered_once_it_is_released_and_logged_once() {
    let mut rig = Rig::new();
    let (ann, wish) = (rig.person(1), Wish::Block(remote(2), true));
    let conn = rig.connect(ann, PHONE, 0);
    let out = rig.step(Input::Wish { conn, corr: 7, wish });
    assert_eq!(ops(&out), [Op::Wished { account: ann, wish }]);
    assert_eq!(answers(&out, conn), []);
    assert_eq!(answers(&rig.release(), conn), [CallAnswer::Done]);
    let out = rig.wish(conn, wish);
    assert_eq!(ops(&out), [], "it is so already");
    assert_eq!(answers(&out, conn), [CallAnswer::Done]);
}

#[test]
fn the_next_owner_knows_every_wish() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    let conn = rig.connect(ann, PHONE, 0);
    let mut expected = Relations::default();
    for wish in [
        Wish::Block(remote(2), true),
        Wish::Block(remote(3), true),
        Wish::Block(remote(2), false),
        Wish::Contact(remote(4), true),
        Wish::Presence(Audience::Nobody),
        Wish::TellReads(Tells::No),
    ] {
        rig.wish(conn, wish);
        expected.fulfil(wish);
    }
    rig.next_owner();
    let conn = rig.connect(ann, PHONE, 0);
    assert_eq!(wishes(&mut rig, conn), expected);
    // The column is written only when it changes.
    let (flush, _) = rig.capture(true);
    assert!(flush.is_none_or(|flush| flush.accounts.iter().all(|row| !row.relations)));
}

#[test]
fn what_cannot_be_wished_is_refused_and_not_logged() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    let conn = rig.connect(ann, PHONE, 0);
    let refused = |rig: &mut Rig, wish, code| {
        let out = rig.wish(conn, wish);
        assert_eq!(ops(&out), []);
        let answers = answers(&out, conn);
        let [CallAnswer::Refused(found, _)] = answers[..] else { panic!("{answers:?}") };
        assert_eq!(found, code);
    };
    refused(&mut rig, Wish::Block(foreign(2), true), Code::NotFound);
    for n in 0..u128::try_from(limits::BLOCKED_MAX).unwrap() {
        rig.wish(conn, Wish::Block(remote(n + 2), true));
    }
    refused(&mut rig, Wish::Block(remote(1), true), Code::Quota);
    rig.wish(conn, Wish::Block(remote(2), false));
    assert_eq!(answers(&rig.wish(conn, Wish::Block(remote(1), true)), conn), [CallAnswer::Done]);
    rig.shard.set_admitting(false);
    refused(&mut rig, Wish::Presence(Audience::Nobody), Code::OwnerMoving);
}

#[test]
fn a_message_of_somebody_blocked_is_taken_and_reaches_nobody() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let conn = rig.connect(ann, PHONE, 0);
    rig.wish(conn, Wish::Block(ben, true));
    let message = rig.message(ben, ann);
    let mut out = rig.parcel(crate::message::Parcel::Message(message.into()));
    assert_eq!(outcomes(&out), [Received::Dropped]);
    out.extend(rig.release());
    assert!(told(&out, conn).is_empty());
    let confirmed = out.iter().any(|effect| matches!(effect, Effect::Confirm { .. }));
    assert!(confirmed, "its sender's shard need not push it again: {out:?}");
    let pushed = out.iter().any(|effect| matches!(effect, Effect::Push { .. }));
    assert!(!pushed, "its sender is told nothing: {out:?}");
    assert_eq!(rig.shard.account(ann).unwrap().head.0, 0);
    // Nor do their receipts say anything.
    rig.receipt(ben, ann, (7, 7));
    rig.release();
    assert_eq!(rig.shard.account(ann).unwrap().marks, 0);
    // Once they are not blocked any more, messages come again.
    rig.wish(conn, Wish::Block(ben, false));
    let message = rig.message(ben, ann);
    let mut out = rig.parcel(crate::message::Parcel::Message(message.into()));
    out.extend(rig.release());
    assert_eq!(delivered(&out, conn).len(), 1);
}

use super::super::rig::{PHONE, Rig, TABLET, THERE, foreign, remote, told};
use super::*;
use crate::id::DeviceNo;
use crate::relation::Wish;
use crate::shard::Input;

fn signals(out: &[Effect]) -> Vec<(AccountId, u32)> {
    let typing = out.iter().filter_map(|effect| match effect {
        Effect::Signal { to: THERE, signal: Signal::Typing(typing) } => match typing.to {
            Address::Account(to) => Some((to, typing.kind)),
            Address::Group(_) => None,
        },
        _ => None,
    });
    typing.collect()
}

fn types(rig: &mut Rig, conn: Conn, to: AccountId, kind: u32) -> Vec<(AccountId, u32)> {
    signals(&rig.step(Input::Types { conn, to: Address::Account(to), kind }))
}

fn typing(from: AccountId, to: AccountId) -> Typing {
    Typing { from, device: DeviceNo(4), to: Address::Account(to), kind: 1 }
}

#[test]
fn who_writes_is_signalled_once_in_a_while_and_their_end_at_once() {
    let mut rig = Rig::new();
    let (ann, ben, eve) = (rig.person(1), remote(2), remote(3));
    let conn = rig.connect(ann, PHONE, 0);
    assert_eq!(types(&mut rig, conn, ben, 1), [(ben, 1)]);
    assert_eq!(types(&mut rig, conn, ben, 1), []);
    assert_eq!(types(&mut rig, conn, eve, 1), [(eve, 1)], "to somebody else");
    rig.pass(limits::TYPING_PAUSE_MS);
    assert_eq!(types(&mut rig, conn, eve, 1), [(eve, 1)]);
    assert_eq!(types(&mut rig, conn, eve, 0), [(eve, 0)]);
    assert_eq!(types(&mut rig, conn, eve, 1), [(eve, 1)], "after the end it begins anew");
}

#[test]
fn whoever_is_written_to_is_told_on_every_device() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    rig.open(ann, TABLET);
    let conns = [rig.connect(ann, PHONE, 0), rig.connect(ann, TABLET, 0)];
    rig.shard.block(conns[1]);
    let out = rig.step(Input::Signal(Signal::Typing(typing(ben, ann))));
    assert_eq!(told(&out, conns[0]), [ToConn::Typing(typing(ben, ann))]);
    assert_eq!(told(&out, conns[1]), [], "it takes nothing now, and later it is worth nothing");
}

#[test]
fn nobody_is_told_of_the_blocked_and_the_blocked_of_nobody() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let conn = rig.connect(ann, PHONE, 0);
    let out = rig.step(Input::Signal(Signal::Typing(typing(foreign(2), ann))));
    assert_eq!(told(&out, conn), [], "of another tenant");
    rig.wish(conn, Wish::Block(ben, true));
    let out = rig.step(Input::Signal(Signal::Typing(typing(ben, ann))));
    assert_eq!(told(&out, conn), []);
    assert_eq!(types(&mut rig, conn, ben, 1), []);
    rig.wish(conn, Wish::Block(ben, false));
    assert_eq!(types(&mut rig, conn, ben, 1), [(ben, 1)]);
}

#[test]
fn an_account_that_is_not_in_memory_is_not_read_for_it() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    rig.next_owner();
    let out = rig.step(Input::Signal(Signal::Typing(typing(remote(2), ann))));
    assert_eq!(out, []);
}

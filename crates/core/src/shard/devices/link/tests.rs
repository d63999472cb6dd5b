use super::super::super::rig::{PHONE, Rig, TABLET, attached, ops, remote, told};
use super::*;
use crate::entry::Op;
use crate::seq::InboxSeq;
use crate::shard::Attach;

const KEY: PublicKey = PublicKey([9; 32]);

fn vouch(conn: Conn, n: u8, name: &str) -> Input {
    Input::LinkDevice { conn, corr: 7, key: PublicKey([n; 32]), name: name.to_owned() }
}

fn answers(out: &[Effect], conn: Conn) -> Vec<CallAnswer> {
    let answer = told(out, conn).into_iter().filter_map(|what| match what {
        ToConn::Result { corr: 7, answer } => Some(answer),
        _ => None,
    });
    answer.collect()
}

fn refused(out: &[Effect], conn: Conn) -> Option<Code> {
    match answers(out, conn).as_slice() {
        [CallAnswer::Refused(code, _)] => Some(*code),
        _ => None,
    }
}

fn proved(account: AccountId) -> Input {
    Input::OpenLinked { token: Token(5), account, key: KEY }
}

fn tokens(out: &[Effect]) -> Result<(DeviceNo, String, u32), Code> {
    let answer = out.iter().find_map(|effect| match effect {
        Effect::Answer { token: Token(5), answer } => Some(answer.clone()),
        _ => None,
    });
    match answer.expect("the directory is answered") {
        DirectoryAnswer::Tokens { device, name, key, refresh } => {
            assert_eq!(key, KEY);
            Ok((device, name, refresh))
        }
        DirectoryAnswer::Refused(code, _) => Err(code),
    }
}

/// Somebody with a phone that is connected, and with some messages.
fn ann() -> (Rig, AccountId, Conn) {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    for _ in 0..3 {
        rig.write(remote(2), ann);
    }
    let conn = rig.connect(ann, PHONE, 3);
    (rig, ann, conn)
}

#[test]
fn a_device_is_vouched_for_once_and_keeps_its_number() {
    let (mut rig, account, conn) = ann();
    let out = rig.step(vouch(conn, 9, "tablet"));
    let start = Some(InboxSeq(3));
    let name = "tablet".to_owned();
    assert_eq!(ops(&out), [Op::DeviceAdded { account, device: TABLET, key: KEY, name, start }]);
    assert_eq!(answers(&out, conn), [], "it is not durable yet");
    assert_eq!(answers(&rig.release(), conn), [CallAnswer::Linked(TABLET)]);
    let again = rig.done(vouch(conn, 9, "another name"));
    assert_eq!(ops(&again), [], "it has this device");
    assert_eq!(answers(&again, conn), [CallAnswer::Linked(TABLET)]);
    rig.crash();
    let conn = rig.connect(account, PHONE, 3);
    assert_eq!(answers(&rig.done(vouch(conn, 9, "")), conn), [CallAnswer::Linked(TABLET)]);
}

#[test]
fn first_tokens_wait_until_the_device_is_durable_and_may_be_asked_for_again() {
    let (mut rig, account, conn) = ann();
    assert_eq!(tokens(&rig.done(proved(account))), Err(Code::NotFound));
    rig.step(vouch(conn, 9, "tablet"));
    let early = rig.step(proved(account));
    assert!(!early.iter().any(|effect| matches!(effect, Effect::Answer { .. })));
    let first = Ok((TABLET, "tablet".to_owned(), 1));
    assert_eq!(tokens(&rig.release()), first);
    for _ in 0..3 {
        let again = rig.done(proved(account));
        assert_eq!(ops(&again), [], "a repetition changes nothing");
        assert_eq!(tokens(&again), first);
    }
    rig.next_owner();
    assert_eq!(tokens(&rig.done(proved(account))), first, "whoever owns the shard");
}

#[test]
fn who_repeats_the_question_later_has_nothing_and_takes_nothing() {
    let (mut rig, account, conn) = ann();
    rig.done(vouch(conn, 9, "tablet"));
    let refresh =
        |generation| Input::Refresh { token: Token(5), account, device: TABLET, generation };
    assert_eq!(tokens(&rig.done(refresh(1))).map(|(_, _, refresh)| refresh), Ok(2));
    let replayed = rig.done(proved(account));
    assert_eq!((ops(&replayed), tokens(&replayed)), (vec![], Err(Code::AuthInvalid)));
    // The device's own line of tokens goes on.
    assert_eq!(tokens(&rig.done(refresh(2))).map(|(_, _, refresh)| refresh), Ok(3));
}

#[test]
fn a_revoked_key_stays_outside() {
    let (mut rig, account, conn) = ann();
    rig.done(vouch(conn, 9, "tablet"));
    rig.done(Input::RevokeDevice { conn, corr: 1, device: TABLET });
    assert_eq!(tokens(&rig.done(proved(account))), Err(Code::DeviceRevoked));
    let out = rig.done(vouch(conn, 9, "tablet"));
    assert_eq!((ops(&out), refused(&out, conn)), (vec![], Some(Code::Invalid)));
}

#[test]
fn a_linked_device_begins_at_the_newest_place() {
    let (mut rig, account, conn) = ann();
    rig.done(vouch(conn, 9, "tablet"));
    rig.write(remote(2), account);
    let attach = Attach { stream_gen: 0, ..rig.attach(account, TABLET, 0) };
    let tablet = attach.conn;
    let out = rig.done(Input::Attach(attach));
    let greeting = attached(&out, tablet).unwrap();
    assert_eq!((greeting.start, greeting.head), (InboxSeq(3), InboxSeq(4)));
}

#[test]
fn names_devices_and_haste_are_bounded() {
    let (mut rig, account, conn) = ann();
    let long = "x".repeat(limits::DEVICE_NAME_BYTES_MAX + 1);
    let out = rig.done(vouch(conn, 9, &long));
    assert_eq!((ops(&out), refused(&out, conn)), (vec![], Some(Code::Invalid)));
    let most = u8::try_from(limits::DEVICES_LINKED_PER_HOUR).unwrap();
    // The phone was added within the hour, too.
    for n in 1..most {
        assert_eq!(refused(&rig.done(vouch(conn, 100 + n, "")), conn), None, "{n}");
    }
    // Those that were revoked count: they stay on record.
    rig.done(Input::RevokeDevice { conn, corr: 1, device: TABLET });
    assert_eq!(refused(&rig.done(vouch(conn, 99, "")), conn), Some(Code::Quota));
    let old = vouch(conn, 102, "");
    assert_eq!(refused(&rig.done(old), conn), None, "what is there is answered");
    rig.pass(HOUR_MS);
    let conn = rig.connect(account, PHONE, 3);
    let active = |rig: &Rig| rig.shard.account(account).unwrap().active_devices().count();
    for n in 0.. {
        if active(&rig) == limits::DEVICES_LINKED_MAX {
            break;
        }
        assert_eq!(refused(&rig.done(vouch(conn, 200 + n, "")), conn), None, "{n}");
    }
    rig.pass(HOUR_MS);
    let conn = rig.connect(account, PHONE, 3);
    assert_eq!(refused(&rig.done(vouch(conn, 99, "")), conn), Some(Code::TooManyDevices));
    // Who has the password comes in still.
    let login = |n| {
        let (key, name) = (PublicKey([n; 32]), String::new());
        Input::Open { token: Token(6), account, key, name }
    };
    for n in 90.. {
        rig.done(login(n));
        if active(&rig) == limits::DEVICES_MAX {
            break;
        }
        assert!(n < 99, "{} devices", active(&rig));
    }
    assert_eq!(ops(&rig.done(login(89))), [], "there is an end to that, too");
}

#[test]
fn devices_that_were_revoked_long_ago_are_forgotten_and_no_number_comes_twice() {
    let (mut rig, account, conn) = ann();
    for n in 0..300_u16 {
        let mut key = [7; 32];
        key[..2].copy_from_slice(&n.to_be_bytes());
        let (key, name) = (PublicKey(key), String::new());
        rig.done(Input::Open { token: Token(6), account, key, name });
        let newest = rig.shard.account(account).unwrap().devices.keys().next_back().copied();
        assert_eq!(newest, Some(DeviceNo(2 + u32::from(n))));
        rig.done(Input::RevokeDevice { conn, corr: 1, device: newest.unwrap() });
    }
    let known: Vec<_> = rig.shard.account(account).unwrap().devices.keys().map(|no| no.0).collect();
    assert_eq!(known.len(), limits::DEVICE_RECORDS_MAX);
    assert_eq!((known[0], known[1]), (PHONE.0, 302 - 255), "those in use stay");
    rig.crash();
    let replayed: Vec<_> = {
        rig.connect(account, PHONE, 3);
        rig.shard.account(account).unwrap().devices.keys().map(|no| no.0).collect()
    };
    assert_eq!(replayed, known);
}

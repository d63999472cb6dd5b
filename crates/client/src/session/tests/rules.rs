//! The connection and the inbox.

use iris_core::seq::{ClientSeq, InboxSeq};
use iris_proto::client as wire;
use iris_proto::frame::{Frame, FrameType};
use prost::Message as _;

use super::rig::{Rig, deliver, start, welcome};
use crate::session::{
    CallAnswer, CallId, CallOp, CalledOff, Effect, Event, Input, Refresh, Start, Stop, Target, Why,
};

fn fresh() -> Start {
    Start { stream_gen: 0, cursor: InboxSeq(0), ..start() }
}

fn error(code: u32, retry_after_ms: u32) -> wire::Error {
    wire::Error { code, retry_after_ms, ..wire::Error::default() }
}

#[test]
fn places_are_taken_once_each_and_acknowledged() {
    let mut rig = Rig::open(start(), &welcome());
    rig.server(FrameType::Deliver, &deliver(11, 3));
    assert_eq!(rig.acks(), [13]);
    rig.server(FrameType::Deliver, &deliver(12, 4));
    assert_eq!(rig.placed(), [11, 12, 13, 14, 15]);
    assert_eq!(rig.acks(), [15]);
    assert_eq!(rig.session.counters().redelivered, 2);
    rig.server(FrameType::Deliver, &deliver(12, 2));
    assert_eq!(rig.acks(), [15], "who repeats does not know how far we are");
}

#[test]
fn nothing_is_acknowledged_or_told_before_it_is_on_the_disk() {
    let mut rig = Rig::open(start(), &welcome());
    rig.instant = false;
    rig.server(FrameType::Deliver, &deliver(11, 2));
    assert!(rig.placed().is_empty());
    assert!(rig.acks().is_empty());
    rig.input(Input::Lost { text: String::new() });
    rig.pass(600);
    assert_eq!(rig.hello().cursor, 10, "HELLO says what the disk has");
    rig.server(FrameType::Welcome, &welcome());
    rig.server(FrameType::Deliver, &deliver(11, 3));
    rig.stored();
    assert_eq!(rig.placed(), [11, 12, 13]);
    assert_eq!(rig.acks(), [13]);
}

#[test]
fn an_application_that_lags_is_not_acknowledged_for() {
    let mut rig = Rig::open(start(), &welcome());
    rig.eager = false;
    rig.server(FrameType::Deliver, &deliver(11, 3));
    assert_eq!(rig.placed().len(), 3);
    assert!(rig.acks().is_empty());
    let weight = 196;
    rig.input(Input::Consumed { places: 2, bytes: 2 * weight });
    assert_eq!(rig.acks(), [12]);
    rig.input(Input::Lost { text: String::new() });
    rig.pass(600);
    let hello = rig.hello();
    assert_eq!(hello.cursor, 13, "it is on the disk");
    assert_eq!(hello.window.unwrap().messages, 255, "and still fills memory");
    rig.server(FrameType::Welcome, &welcome());
    rig.take_sent();
    rig.input(Input::Consumed { places: 1, bytes: weight });
    let window = rig.take_sent().into_iter().find(|f| f.known() == Some(FrameType::Window));
    assert_eq!(wire::Window::decode(window.unwrap().payload).unwrap().messages, 1);
}

#[test]
fn a_gap_is_counted_and_the_connection_made_anew() {
    let mut rig = Rig::open(start(), &welcome());
    rig.server(FrameType::Deliver, &deliver(13, 1));
    assert_eq!(rig.session.counters().gaps, 1);
    let gap = Event::Gap { expected: InboxSeq(11), found: InboxSeq(13) };
    assert!(rig.events.contains(&gap));
    assert_eq!(rig.hangups, 1);
    rig.pass(600);
    assert_eq!(rig.hello().cursor, 10);
    assert!(rig.placed().is_empty());
}

#[test]
fn a_new_device_begins_where_it_was_linked() {
    let mut rig = Rig::new(fresh());
    let hello = rig.hello();
    assert_eq!((hello.cursor, hello.stream_gen), (0, 0));
    rig.instant = false;
    let linked = wire::Welcome { start: 40, ..welcome() };
    rig.server(FrameType::Welcome, &linked);
    rig.server(FrameType::Deliver, &deliver(41, 2));
    rig.input(Input::Lost { text: String::new() });
    rig.pass(600);
    let hello = rig.hello();
    assert_eq!((hello.cursor, hello.stream_gen), (0, 0), "nothing is on the disk yet");
    rig.stored();
    rig.server(FrameType::Welcome, &linked);
    rig.server(FrameType::Deliver, &deliver(41, 3));
    rig.stored();
    assert_eq!(rig.placed(), [41, 42, 43]);
    assert!(!rig.events.iter().any(|event| matches!(event, Event::Missed { .. })));
    assert_eq!(rig.acks().last(), Some(&43));
    rig.input(Input::Lost { text: String::new() });
    rig.pass(1100);
    let hello = rig.hello();
    assert_eq!((hello.cursor, hello.stream_gen), (43, 1));
}

#[test]
fn a_new_device_that_received_nothing_knows_where_it_stands() {
    let mut rig = Rig::new(fresh());
    rig.hello();
    rig.server(FrameType::Welcome, &wire::Welcome { start: 40, ..welcome() });
    rig.input(Input::Lost { text: String::new() });
    rig.pass(600);
    let hello = rig.hello();
    assert_eq!((hello.cursor, hello.stream_gen), (40, 1));
}

#[test]
fn a_cursor_that_is_too_old_starts_from_the_floor() {
    let mut rig = Rig::new(start());
    rig.hello();
    rig.instant = false;
    let snapshot = wire::Welcome {
        resume: wire::Resume::SnapshotNeeded.into(),
        floor: 90,
        head: 100,
        ..welcome()
    };
    rig.server(FrameType::Welcome, &snapshot);
    rig.pass(600);
    assert!(rig.dials.is_empty(), "not before the new cursor is on the disk");
    rig.stored();
    assert!(rig.events.contains(&Event::Missed { upto: InboxSeq(90) }));
    assert_eq!(rig.dials, [Target::Any]);
    let hello = rig.hello();
    assert_eq!((hello.cursor, hello.stream_gen), (90, 1));
    rig.server(FrameType::Welcome, &welcome());
    rig.server(FrameType::Deliver, &deliver(91, 1));
    rig.stored();
    assert_eq!(rig.placed(), [91]);
}

#[test]
fn a_new_stream_numbers_what_is_undecided_anew() {
    let mut rig = Rig::open(start(), &welcome());
    for _ in 0..3 {
        rig.submit(10);
    }
    let ack = wire::SendAck { client_seq: 1, ..wire::SendAck::default() };
    rig.server(FrameType::SendAck, &ack);
    rig.input(Input::Lost { text: String::new() });
    rig.pass(600);
    rig.hello();
    let snapshot = wire::Welcome {
        resume: wire::Resume::SnapshotNeeded.into(),
        stream_gen: 2,
        floor: 5,
        next_client_seq: 1,
        ..welcome()
    };
    rig.server(FrameType::Welcome, &snapshot);
    assert_eq!(rig.renumbered, [(ClientSeq(2), ClientSeq(1))]);
    let hello = rig.hello();
    assert_eq!((hello.cursor, hello.stream_gen), (5, 2));
    rig.server(FrameType::Welcome, &wire::Welcome { stream_gen: 2, ..welcome() });
    assert_eq!(rig.sends(), [1, 2]);
    let mut state = crate::store::State::new(crate::store::HistoryMax::NONE);
    rig.records.iter().cloned().for_each(|record| state.apply(record));
    assert_eq!(state.next_client_seq, ClientSeq(3));
    assert_eq!(state.undecided.len(), 2);
}

#[test]
fn another_inbox_than_ours_is_not_read() {
    let mut rig = Rig::new(start());
    rig.hello();
    rig.server(FrameType::Welcome, &wire::Welcome { stream_gen: 9, ..welcome() });
    assert!(!rig.session.is_open());
    assert_eq!(rig.session.counters().malformed, 1);
}

#[test]
fn codes_and_verdicts_are_obeyed() {
    let after = |code: u32, verdict: wire::Verdict| {
        let mut rig = Rig::open(start(), &welcome());
        let error = wire::Error { verdict: verdict.into(), ..error(code, 0) };
        rig.server(FrameType::Error, &error);
        rig
    };
    let unspecified = wire::Verdict::Unspecified;
    for (code, stop) in [
        (2003, Stop::Revoked),
        (3002, Stop::Upgrade),
        (4003, Stop::Replaced),
        (2002, Stop::LoggedOut { code: 2002, text: String::new() }),
        (3001, Stop::Refused { code: 3001, text: String::new() }),
    ] {
        assert_eq!(after(code, unspecified).session.stopped(), Some(&stop), "{code}");
    }
    for code in [1000, 1001, 1002, 3004, 4001, 4290, 5001, 5002, 9999] {
        let mut rig = after(code, unspecified);
        assert!(!rig.session.is_open() && rig.session.stopped().is_none(), "{code}");
        rig.pass(501);
        assert_eq!(rig.dials, [Target::Any], "{code}");
    }
    let mut elsewhere = after(5003, unspecified);
    elsewhere.pass(501);
    assert_eq!(elsewhere.dials, [Target::Elsewhere]);
    let given = after(5003, wire::Verdict::StayAway);
    assert_eq!(given.session.stopped(), Some(&Stop::Replaced), "the server's verdict counts");
}

#[test]
fn a_person_can_end_the_staying_away() {
    let mut rig = Rig::open(start(), &welcome());
    rig.server(FrameType::Error, &error(4003, 0));
    rig.pass(100_000);
    assert!(rig.dials.is_empty());
    rig.input(Input::Reconnect);
    assert_eq!(rig.dials, [Target::Any]);
}

#[test]
fn waits_grow_and_respect_what_the_server_says() {
    let mut rig = Rig::new(start());
    let mut longest = 0;
    for _ in 0..12 {
        assert!(!rig.dials.is_empty());
        rig.dials.clear();
        rig.input(Input::Unreachable { text: "nobody".into() });
        longest = longest.max(rig.pass_until_due(u64::MAX / 2));
    }
    assert!((10_000..=60_000).contains(&longest), "{longest}");
    let mut rig = Rig::open(start(), &welcome());
    rig.server(FrameType::Error, &error(5003, 7_000));
    rig.pass(6_999);
    assert!(rig.dials.is_empty());
    rig.pass(1);
    assert_eq!(rig.dials.len(), 1);
}

#[test]
fn connections_of_no_use_make_the_waits_grow_and_useful_ones_do_not() {
    let longest = |useful: bool| {
        let mut rig = Rig::open(start(), &welcome());
        let mut longest = 0;
        for n in 0..12 {
            if useful {
                rig.server(FrameType::Deliver, &deliver(11 + n, 1));
            }
            rig.input(Input::Lost { text: String::new() });
            longest = longest.max(rig.pass_until_due(u64::MAX / 2));
            rig.reopen(&welcome());
        }
        longest
    };
    assert!(longest(true) <= 500);
    assert!(longest(false) > 5_000);
}

#[test]
fn whoever_is_asked_to_leave_does_so_within_the_window() {
    let mut rig = Rig::open(start(), &welcome());
    let edges = vec!["b:1".to_owned()];
    let go = wire::GoAway { code: 1001, jitter_ms: 10_000, preferred_edges: edges.clone() };
    rig.server(FrameType::GoAway, &go);
    rig.submit(10);
    assert_eq!(rig.sends(), [1], "served until then");
    let waited = rig.pass_until_due(20_000);
    assert!(waited <= 10_000);
    assert!(!rig.session.is_open());
    assert_eq!(rig.dials, [Target::Named(edges)]);
    let why = Why::Leaving { code: 1001 };
    assert!(rig.events.contains(&Event::Disconnected { why, retry_in_ms: 0 }));
}

#[test]
fn silence_is_met_with_a_ping_then_given_up() {
    let mut rig = Rig::open(start(), &welcome());
    rig.take_sent();
    assert_eq!(rig.pass_until_due(u64::MAX / 2), 30_000);
    let ping = rig.take_sent().remove(0);
    assert_eq!(ping.known(), Some(FrameType::Ping));
    rig.input(Input::Frame(Frame::new(FrameType::Pong, ping.payload)));
    assert_eq!(rig.pass_until_due(u64::MAX / 2), 30_000);
    assert_eq!(rig.pass_until_due(u64::MAX / 2), 30_000);
    assert!(!rig.session.is_open());
    let mut rig = Rig::open(start(), &welcome());
    rig.take_sent();
    rig.server(FrameType::Ping, &wire::Ping { echo: 5 });
    let pong = rig.take_sent().remove(0);
    assert_eq!(pong.known(), Some(FrameType::Pong));
    assert_eq!(wire::Ping::decode(pong.payload).unwrap().echo, 5);
}

/// The server gives up whom it does not hear, however much it says itself.
#[test]
fn a_device_that_only_listens_says_that_it_is_there() {
    let mut rig = Rig::open(start(), &welcome());
    rig.take_sent();
    let typing =
        wire::Typing { to: Some(account(3)), from: vec![3; 16].into(), device: 1, kind: 1 };
    let signal = wire::Signal { kind: Some(wire::signal::Kind::Typing(typing)) };
    let mut pings = 0;
    for _ in 0..30 {
        rig.pass(5_000);
        rig.server(FrameType::Signal, &signal);
        let sent = rig.take_sent();
        pings += sent.iter().filter(|frame| frame.known() == Some(FrameType::Ping)).count();
    }
    assert_eq!(pings, 5, "one in 30 seconds");
    assert!(rig.session.is_open());
}

pub(super) fn account(n: u8) -> wire::Address {
    wire::Address { kind: Some(wire::address::Kind::Account(vec![n; 16].into())) }
}

#[test]
fn a_server_that_does_not_greet_is_left() {
    let mut rig = Rig::new(start());
    rig.hello();
    assert_eq!(rig.pass_until_due(u64::MAX / 2), 10_000);
    assert_eq!(rig.hangups, 1);
}

#[test]
fn a_challenge_is_answered_once() {
    let mut rig = Rig::new(start());
    rig.input(Input::Connected { binding: None });
    assert!(rig.take_sent().is_empty(), "not before CHALLENGE");
    let challenge = wire::Challenge { nonce: vec![3; 32].into() };
    rig.server(FrameType::Challenge, &challenge);
    assert_eq!(rig.take_sent()[0].known(), Some(FrameType::Hello));
    rig.server(FrameType::Challenge, &challenge);
    assert_eq!(rig.hangups, 1);
    let mut rig = Rig::new(start());
    rig.input(Input::Connected { binding: None });
    rig.server(FrameType::Challenge, &wire::Challenge { nonce: vec![3; 31].into() });
    assert_eq!((rig.hangups, rig.take_sent().len()), (1, 0));
}

#[test]
fn tokens_are_renewed_before_they_end_and_shown_on_the_open_connection() {
    let mut rig = Rig::open(start(), &welcome());
    rig.take_sent();
    let mut passed = 0;
    while rig.refreshes == 0 {
        let ms = rig.pass_until_due(u64::MAX / 2);
        passed += ms;
        rig.server(FrameType::Pong, &wire::Ping { echo: 0 });
    }
    assert!((630_000..=720_000).contains(&passed), "{passed}");
    rig.take_sent();
    rig.input(Input::NoTokens(Refresh::Unreachable { text: String::new() }));
    rig.pass_until_due(1_000);
    assert_eq!(rig.refreshes, 2, "tried again");
    rig.input(Input::Tokens { access: "new".into(), valid_ms: 900_000 });
    let shown = rig.take_sent().into_iter().find(|f| f.known() == Some(FrameType::AuthRefresh));
    let shown = wire::AuthRefresh::decode(shown.unwrap().payload).unwrap();
    assert_eq!(shown.access_token, "new");
}

#[test]
fn without_a_token_nobody_is_dialed() {
    let mut rig = Rig::new(Start { access: None, ..start() });
    assert!(rig.dials.is_empty());
    assert_eq!(rig.refreshes, 1);
    let refused = Refresh::Refused { code: 5002, retry_after_ms: 3_000, text: String::new() };
    rig.input(Input::NoTokens(refused));
    rig.pass(2_999);
    assert_eq!(rig.refreshes, 1);
    rig.pass(1);
    assert_eq!(rig.refreshes, 2);
    rig.input(Input::Tokens { access: "new".into(), valid_ms: 900_000 });
    assert_eq!(rig.hello().access_token, "new");
    rig.server(FrameType::Error, &error(2001, 0));
    assert_eq!(rig.refreshes, 2, "a token that is refused when it is new is not replaced at once");
    rig.pass(1_001);
    assert_eq!(rig.refreshes, 3);
    let revoked = Refresh::Refused { code: 2003, retry_after_ms: 0, text: String::new() };
    rig.input(Input::NoTokens(revoked));
    assert_eq!(rig.session.stopped(), Some(&Stop::Revoked));
}

#[test]
fn useless_tokens_do_not_make_a_storm() {
    let mut rig = Rig::new(Start { access: None, ..start() });
    let mut waited = 0;
    for _ in 0..8 {
        let before = rig.refreshes;
        rig.input(Input::Tokens { access: "short".into(), valid_ms: 500 });
        while rig.refreshes == before {
            waited += rig.pass_until_due(120_000);
        }
    }
    assert!(waited > 5_000, "{waited} ms for 8 useless tokens");
}

#[test]
fn calls_survive_a_reconnect_and_end_some_time() {
    let mut rig = Rig::open(start(), &welcome());
    let find = CallOp::FindAccount("ada".into());
    rig.take_sent();
    rig.input(Input::Call { id: CallId(1), op: find.clone(), patience_ms: 60_000 });
    let first = rig.take_sent().remove(0);
    rig.input(Input::Lost { text: String::new() });
    rig.pass(600);
    rig.reopen(&welcome());
    let again = rig.take_sent().remove(0);
    assert_eq!((again.known(), &again.payload), (Some(FrameType::Call), &first.payload));
    let late = wire::CallResult { code: 5001, retry_after_ms: 300, ..wire::CallResult::default() };
    rig.server_corr(FrameType::CallResult, again.corr, &late);
    assert_eq!(rig.pass_until_due(1_000), 300);
    let third = rig.take_sent().remove(0);
    let account = wire::AccountFound { account: vec![4; 16].into() };
    let result = wire::call_result::Result::Account(account);
    let found = wire::CallResult { result: Some(result), ..wire::CallResult::default() };
    rig.server_corr(FrameType::CallResult, first.corr, &found);
    assert!(rig.called.is_empty(), "the answer to another question");
    rig.server_corr(FrameType::CallResult, third.corr, &found);
    let Effect::Called { id: CallId(1), answer: Ok(CallAnswer::Account(account)) } = &rig.called[0]
    else {
        panic!("{:?}", rig.called)
    };
    assert_eq!(account.to_bytes(), [4; 16]);
    rig.input(Input::Call { id: CallId(2), op: find, patience_ms: 1_000 });
    rig.pass(1_000);
    let timed_out = Effect::Called { id: CallId(2), answer: Err(CalledOff::TimedOut) };
    assert_eq!(rig.called[1], timed_out);
}

#[test]
fn unknown_frames_are_skipped_or_end_the_connection() {
    let mut rig = Rig::open(start(), &welcome());
    rig.input(Input::Frame(Frame { kind: 0x91, corr: None, payload: bytes::Bytes::new() }));
    assert!(rig.session.is_open());
    rig.input(Input::Frame(Frame { kind: 0x55, corr: None, payload: bytes::Bytes::new() }));
    assert!(!rig.session.is_open());
    let mut rig = Rig::open(start(), &welcome());
    rig.input(Input::Frame(Frame::new(FrameType::Deliver, vec![0xff; 9].into())));
    assert!(!rig.session.is_open());
    assert_eq!(rig.session.counters().malformed, 1);
}

#[test]
fn a_disk_that_refuses_ends_everything() {
    let mut rig = Rig::open(start(), &welcome());
    rig.input(Input::StoreFailed);
    assert_eq!(rig.session.stopped(), Some(&Stop::StoreFailed));
    assert_eq!(rig.hangups, 1);
}

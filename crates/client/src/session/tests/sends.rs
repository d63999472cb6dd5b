//! Messages on their way out.

use iris_proto::client as wire;
use iris_proto::frame::FrameType;

use super::rig::{Rig, start, welcome};
use crate::session::{Draft, Event, Input, Outcome, Stop, Unsendable};
use crate::store::Record;
use iris_core::clock::MonoUs;
use iris_core::id::{AccountId, MsgId};
use iris_core::message::{Address, Bodies};
use iris_core::seq::{ClientSeq, ConvSeq};

fn ack(upto: u64) -> wire::SendAck {
    wire::SendAck { client_seq: upto, ..wire::SendAck::default() }
}

fn nack(from: u64, retry_after_ms: u32) -> wire::SendNack {
    wire::SendNack { client_seq: from, code: 5001, retry_after_ms, ..wire::SendNack::default() }
}

#[test]
fn a_number_is_on_the_disk_before_it_is_on_the_wire() {
    let mut rig = Rig::open(start(), &welcome());
    rig.instant = false;
    assert_eq!(rig.submit(10), ClientSeq(1));
    assert!(rig.sends().is_empty());
    rig.stored();
    assert_eq!(rig.sends(), [1]);
}

#[test]
fn no_more_is_under_way_than_the_window_takes() {
    let mut rig = Rig::open(start(), &welcome());
    for _ in 0..6 {
        rig.submit(10);
    }
    assert_eq!(rig.sends(), [1, 2, 3, 4]);
    rig.server(FrameType::SendAck, &ack(2));
    assert_eq!(rig.sends(), [5, 6]);
    let big = wire::Window { messages: 100, bytes: 1000 };
    let mut rig = Rig::open(start(), &wire::Welcome { window: Some(big), ..welcome() });
    rig.submit(5000);
    rig.submit(10);
    assert_eq!(rig.sends(), [1], "a single one always fits");
    rig.server(FrameType::SendAck, &ack(1));
    for _ in 0..9 {
        rig.submit(200);
    }
    assert_eq!(rig.sends(), [2, 3, 4, 5], "bytes count too");
    let more = wire::Window { messages: 0, bytes: 250 };
    rig.server(FrameType::Window, &more);
    assert_eq!(rig.sends(), [6], "credit is added");
}

#[test]
fn acks_are_cumulative_and_name_the_refused() {
    let mut rig = Rig::open(start(), &welcome());
    for _ in 0..3 {
        rig.submit(10);
    }
    let refusals = vec![wire::Refusal { client_seq: 2, code: 4105 }];
    let ack = wire::SendAck { client_seq: 3, server_time_ms: 0, refusals };
    rig.server(FrameType::SendAck, &ack);
    let outcomes: Vec<_> = rig
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Decided { client_seq, outcome, .. } => Some((client_seq.0, *outcome)),
            _ => None,
        })
        .collect();
    let refused = Outcome::Refused { code: 4105 };
    assert_eq!(outcomes, [(1, Outcome::Accepted), (2, refused), (3, Outcome::Accepted)]);
    assert!(rig.records.contains(&Record::Decided { upto: ClientSeq(3) }));
    rig.server(FrameType::SendAck, &ack);
    assert_eq!(rig.events.iter().filter(|e| matches!(e, Event::Decided { .. })).count(), 3);
}

#[test]
fn a_nack_holds_everything_back_and_then_repeats_it_in_order() {
    let mut rig = Rig::open(start(), &welcome());
    for _ in 0..4 {
        rig.submit(10);
    }
    let first = rig.take_sent();
    rig.server(FrameType::SendNack, &nack(2, 200));
    for later in [3, 4] {
        rig.server(FrameType::SendNack, &nack(later, 200));
    }
    rig.submit(10);
    assert!(rig.sends().is_empty());
    rig.pass(199);
    assert!(rig.sends().is_empty());
    rig.pass(60);
    let again = rig.take_sent();
    assert_eq!(again.len(), 3, "2, 3 and 4: the window is full then");
    assert_eq!(again[..], first[1..], "the same bytes");
    assert_eq!(rig.session.counters().resent, 3);
}

#[test]
fn a_gap_is_filled_at_once_and_complaints_without_end_are_slowed_down() {
    let mut rig = Rig::open(start(), &welcome());
    rig.submit(10);
    rig.sends();
    rig.server(FrameType::SendNack, &nack(1, 0));
    assert_eq!(rig.sends(), [1]);
    for _ in 0..12 {
        rig.server(FrameType::SendNack, &nack(1, 0));
        rig.pass_until_due(10_000);
    }
    rig.sends();
    rig.server(FrameType::SendNack, &nack(1, 0));
    let waited = rig.pass_until_due(10_000);
    assert!((900..1100).contains(&waited), "{waited}");
    assert_eq!(rig.sends(), [1]);
}

#[test]
fn a_stale_nack_changes_nothing() {
    let mut rig = Rig::open(start(), &welcome());
    for _ in 0..3 {
        rig.submit(10);
    }
    rig.server(FrameType::SendAck, &ack(2));
    rig.sends();
    rig.server(FrameType::SendNack, &nack(9, 0));
    assert!(rig.sends().is_empty());
    rig.server(FrameType::SendNack, &nack(1, 0));
    assert_eq!(rig.sends(), [3], "what is decided is not sent again");
}

#[test]
fn after_a_reconnect_only_what_the_server_does_not_have_goes_out() {
    let mut rig = Rig::open(start(), &welcome());
    for _ in 0..4 {
        rig.submit(10);
    }
    rig.sends();
    rig.input(Input::Lost { text: String::new() });
    rig.pass(600);
    rig.reopen(&wire::Welcome { next_client_seq: 3, ..welcome() });
    assert_eq!(rig.sends(), [3, 4]);
    assert_eq!(rig.session.undecided(), 4, "what is below is decided when SEND_ACK says how");
    rig.server(FrameType::SendAck, &ack(2));
    assert_eq!(rig.session.undecided(), 2);
}

#[test]
fn silence_about_a_message_ends_the_connection() {
    let mut rig = Rig::open(start(), &welcome());
    rig.submit(10);
    rig.pass(5_900);
    assert!(rig.session.is_open());
    rig.server(FrameType::SendNack, &nack(1, 5_000));
    rig.pass(5_000 + 1_250);
    assert!(rig.session.is_open(), "it was told to wait");
    rig.pass(6_001);
    assert!(!rig.session.is_open());
    let mut quiet = Rig::open(start(), &welcome());
    quiet.pass(20_000);
    assert!(quiet.session.is_open(), "nothing waits");
}

#[test]
fn a_server_that_knows_more_or_less_than_it_can_is_an_error() {
    let fresh = Rig::open(start(), &wire::Welcome { next_client_seq: 5, ..welcome() });
    let expected = Stop::StateTooOld { expected: ClientSeq(5), ours: ClientSeq(1) };
    assert_eq!(fresh.session.stopped(), Some(&expected));
    assert!(expected.to_string().contains("up to 4"), "{expected}");
    let mut rig = Rig::open(start(), &welcome());
    for _ in 0..3 {
        rig.submit(10);
    }
    rig.server(FrameType::SendAck, &ack(2));
    rig.input(Input::Lost { text: String::new() });
    rig.pass(600);
    rig.reopen(&wire::Welcome { next_client_seq: 2, ..welcome() });
    let expected = Stop::ServerForgot { expected: ClientSeq(2), ours: ClientSeq(3) };
    assert_eq!(rig.session.stopped(), Some(&expected));
    let mut rig = Rig::open(start(), &welcome());
    rig.submit(10);
    rig.server(FrameType::SendAck, &ack(2));
    let unsent = Stop::AckedUnsent { acked: ClientSeq(2) };
    assert_eq!(rig.session.stopped(), Some(&unsent));
    assert_eq!(rig.events.last(), Some(&Event::Stopped(unsent)));
    assert_eq!(rig.session.wake_at(), None, "and nothing more happens");
}

#[test]
fn messages_that_cannot_be_sent_get_no_number() {
    let mut rig = Rig::open(start(), &welcome());
    let mut out = Vec::new();
    let draft = |bytes: usize| Draft {
        to: Address::Account(AccountId::from_bytes(&[2; 16]).unwrap()),
        msg_id: MsgId([5; 16]),
        bodies: Bodies::Shared(vec![b'x'; bytes].into()),
        expires_at_ms: 0,
        about: None,
        change: None,
        roster: ConvSeq(0),
    };
    let large = rig.session.submit(&draft(65_537), &mut out);
    assert_eq!(large, Err(Unsendable::TooLarge));
    for n in 1..=4096 {
        assert_eq!(rig.session.submit(&draft(1), &mut out), Ok(ClientSeq(n)));
    }
    assert_eq!(rig.session.submit(&draft(1), &mut out), Err(Unsendable::Full));
    rig.session.settle(MonoUs(0), &mut out);
}

#[test]
fn a_restart_goes_on_with_what_the_disk_has() {
    let mut rig = Rig::open(start(), &welcome());
    rig.submit(10);
    rig.submit(20);
    let sent: Vec<_> = rig.take_sent().into_iter().map(|frame| frame.payload).collect();
    let undecided = (1..).map(ClientSeq).zip(sent.clone()).collect();
    let next = ClientSeq(3);
    let again = crate::session::Start { undecided, next_client_seq: next, ..start() };
    let mut rig = Rig::open(again, &welcome());
    let repeated: Vec<_> = rig.take_sent().into_iter().map(|frame| frame.payload).collect();
    assert_eq!(repeated, sent);
    assert_eq!(rig.submit(1), next);
}

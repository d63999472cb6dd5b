//! Bad input: each gets a typed error and costs nobody else anything.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use iris_client::{Event, Outcome};
use iris_core::limits;
use iris_core::message::Address;
use iris_proto::client as proto;
use iris_proto::client_frames::address_to_wire;
use iris_proto::frame::{Frame, FrameType, encode_message};
use tokio::time::timeout;

use crate::failure::Failure;

use super::Probe;
use super::check::Check;
use super::person::Person;
use super::wire::{Raw, Seen, hello};

const PROTOCOL: u32 = 3001;
const VERSION: u32 = 3002;
const FRAME_TOO_LARGE: u32 = 3003;
const TOO_LARGE: u32 = 4105;

/// What is sent after WELCOME, and the code of the ERROR that must come.
struct Bad {
    name: &'static str,
    bytes: Bytes,
    code: u32,
}

pub(super) async fn run(
    probe: &Probe,
    person: &Person,
    checks: &mut Vec<Check>,
) -> Result<(), Failure> {
    before_welcome(probe, person, checks).await;
    for bad in bad_frames(person) {
        let answer = async || match Raw::welcomed(probe, person).await {
            Ok((mut raw, _)) => {
                raw.write(&bad.bytes).await;
                raw.answer(probe.args.patience).await
            }
            Err(error) => Seen::NoConnection(error),
        };
        repeated(probe, (bad.name, bad.code), answer, checks).await;
    }
    body_too_large(probe, person, checks).await;
    ignorable(probe, person, checks).await;
    Ok(())
}

async fn before_welcome(probe: &Probe, person: &Person, checks: &mut Vec<Check>) {
    let mut ping = BytesMut::new();
    encode_message(&mut ping, FrameType::Ping, None, &proto::Ping { echo: 1 });
    let first = [
        ("frame before HELLO", ping.freeze(), PROTOCOL),
        ("garbage before HELLO", garbage(), PROTOCOL),
        ("oversized before HELLO", oversized(), FRAME_TOO_LARGE),
    ];
    for (name, bytes, code) in first {
        let answer = async || alone(probe, &bytes, probe.args.patience).await;
        repeated(probe, (name, code), answer, checks).await;
    }
    for (name, change, code) in [
        ("hello of a later version", later_version as fn(&mut proto::Hello), VERSION),
        ("hello without credit", without_credit, PROTOCOL),
    ] {
        let answer = async || match Raw::connect(probe).await {
            Ok(mut raw) => {
                let mut hello = hello(person, &raw.binding);
                change(&mut hello);
                raw.send(FrameType::Hello, &hello).await;
                raw.next(probe.args.patience).await
            }
            Err(error) => Seen::NoConnection(error),
        };
        repeated(probe, (name, code), answer, checks).await;
    }
    let name = "no HELLO at all";
    if probe.args.slow && probe.wants(name) {
        let seen = alone(probe, &[], Duration::from_secs(15)).await;
        judged(name, PROTOCOL, &seen, checks);
    }
}

/// Makes connections with the same bad input, each of which must end with the ERROR `code`. Told once,
/// unless one of them ends otherwise.
async fn repeated(
    probe: &Probe,
    (name, code): (&str, u32),
    answer: impl AsyncFn() -> Seen,
    checks: &mut Vec<Check>,
) {
    if !probe.wants(name) {
        return;
    }
    let expected = Seen::Error { code, closed: true };
    for n in 0..probe.args.repeat.max(1) {
        let seen = answer().await;
        if n == 0 || seen != expected {
            judged(name, code, &seen, checks);
        }
        if seen != expected {
            return;
        }
    }
}

fn later_version(hello: &mut proto::Hello) {
    (hello.proto_min, hello.proto_max) = (99, 99);
}

fn without_credit(hello: &mut proto::Hello) {
    hello.window = None;
}

fn judged(name: &str, code: u32, seen: &Seen, checks: &mut Vec<Check>) {
    let expected = Seen::Error { code, closed: true };
    checks.push(Check::new(name, &expected.text(), &seen.text(), *seen == expected));
}

/// What the server says to bytes on a new connection.
async fn alone(probe: &Probe, bytes: &[u8], patience: Duration) -> Seen {
    match Raw::connect(probe).await {
        Ok(mut raw) => {
            raw.write(bytes).await;
            raw.next(patience).await
        }
        Err(error) => Seen::NoConnection(error),
    }
}

fn bad_frames(person: &Person) -> Vec<Bad> {
    let good = send(person, 1, b"x".as_slice().into());
    let bad = |name, bytes, code| Bad { name, bytes, code };
    let mut short_id = good.clone();
    short_id.msg_id.truncate(3);
    let mut no_address = good.clone();
    no_address.to = None;
    let mut bad_address = good.clone();
    let short = proto::address::Kind::Account(Bytes::from_static(b"short"));
    bad_address.to = Some(proto::Address { kind: Some(short) });
    let zero = proto::Send { client_seq: 0, ..good.clone() };
    let device_body = proto::DeviceBody { device: 1, body: Bytes::from_static(b"y") };
    let both = proto::Send { device_bodies: vec![device_body.clone()], ..good.clone() };
    let crowd = vec![device_body; limits::DEVICES_MAX + 1];
    let crowd = proto::Send { body: Bytes::new(), device_bodies: crowd, ..good };
    vec![
        bad("oversized", oversized(), FRAME_TOO_LARGE),
        bad("garbage", garbage(), PROTOCOL),
        bad("unknown frame type", frame(0x5f, b""), PROTOCOL),
        bad("unknown flag", Bytes::from_static(&[0, 0, 0, 0x20, 0x40]), PROTOCOL),
        bad("a server's frame", frame(FrameType::Welcome.number(), b""), PROTOCOL),
        bad("HELLO twice", frame(FrameType::Hello.number(), b""), PROTOCOL),
        bad("SEND of garbage", frame(FrameType::Send.number(), &[0xff; 40]), PROTOCOL),
        bad("SEND with a short msg_id", send_frame(&short_id), PROTOCOL),
        bad("SEND to nobody", send_frame(&no_address), PROTOCOL),
        bad("SEND to half an account", send_frame(&bad_address), PROTOCOL),
        bad("SEND with number 0", send_frame(&zero), PROTOCOL),
        bad("SEND with both kinds of body", send_frame(&both), PROTOCOL),
        bad("SEND to too many devices", send_frame(&crowd), PROTOCOL),
        bad("ACK of garbage", frame(FrameType::Ack.number(), &[0xff; 9]), PROTOCOL),
        bad("CALL without correlation", frame(FrameType::Call.number(), b""), PROTOCOL),
    ]
}

/// A body above its limit is a decision about one message: the connection goes on.
async fn body_too_large(probe: &Probe, person: &Person, checks: &mut Vec<Check>) {
    let name = "body out of bounds";
    if !probe.wants(name) {
        return;
    }
    let expected = "SEND_ACK that refuses it with 4105 TooLarge";
    let seen = match Raw::welcomed(probe, person).await {
        Ok((mut raw, welcome)) => {
            let body = vec![b'x'; limits::BODY_BYTES_MAX + 1];
            let send = send(person, welcome.next_client_seq, body.into());
            raw.write(&send_frame(&send)).await;
            decided(probe, &mut raw, send.client_seq).await
        }
        Err(error) => Err(error),
    };
    let (seen, ok) = match seen {
        Ok(()) => (expected.to_owned(), true),
        Err(seen) => (seen, false),
    };
    checks.push(Check::new(name, expected, &seen, ok));
}

/// Waits for the decision about a number: it must be a refusal.
async fn decided(probe: &Probe, raw: &mut Raw, client_seq: u64) -> Result<(), String> {
    loop {
        match raw.next(probe.args.patience).await {
            Seen::Frame(FrameType::SendAck, payload) => {
                let ack: proto::SendAck = prost::Message::decode(payload).unwrap_or_default();
                // The decisions of before are told again.
                if ack.client_seq < client_seq {
                    continue;
                }
                let refusal = ack.refusals.iter().find(|one| one.client_seq == client_seq);
                let code = refusal.map_or(0, |refusal| refusal.code);
                let refused = code == TOO_LARGE;
                return if refused { Ok(()) } else { Err(format!("SEND_ACK, code {code}")) };
            }
            Seen::Frame(FrameType::Deliver | FrameType::Window | FrameType::Ping, _) => {}
            other => return Err(other.text()),
        }
    }
}

/// What may be ignored is.
async fn ignorable(probe: &Probe, person: &Person, checks: &mut Vec<Check>) {
    let name = "ignorable frame";
    if !probe.wants(name) {
        return;
    }
    let seen = match Raw::welcomed(probe, person).await {
        Ok((mut raw, _)) => {
            raw.write(&frame(0x9f, b"from the future")).await;
            raw.send(FrameType::Ping, &proto::Ping { echo: 1 }).await;
            raw.answer(probe.args.patience).await
        }
        Err(error) => Seen::NoConnection(error),
    };
    let ok = matches!(seen, Seen::Frame(FrameType::Pong, _));
    checks.push(Check::new(name, "Pong", &seen.text(), ok));
}

/// After all of that, a message arrives.
pub(super) async fn still_serves(probe: &Probe, checks: &mut Vec<Check>) {
    let (name, expected) = ("the server still serves", "a message arrives");
    let seen = timeout(probe.args.patience * 4, conversation(probe)).await;
    let (seen, ok) = match seen {
        Ok(Ok(())) => (expected.to_owned(), true),
        Ok(Err(failure)) => (failure.for_people(), false),
        Err(_) => ("nothing in time".to_owned(), false),
    };
    checks.push(Check::new(name, expected, &seen, ok));
}

async fn conversation(probe: &Probe) -> Result<(), Failure> {
    let ada = Person::register(&probe.connector).await?;
    let grace = Person::register(&probe.connector).await?;
    let (from, mut to) = (ada.client(&probe.connector)?, grace.client(&probe.connector)?);
    let decided = from.send(grace.account, "still there?").await?.await?;
    if decided.outcome != Outcome::Accepted {
        return Err(Failure::new("the message was refused"));
    }
    while let Some(event) = to.next().await {
        if matches!(event, Event::Placed(_)) {
            return Ok(());
        }
    }
    Err(Failure::new("the client ended"))
}

fn send(person: &Person, client_seq: u64, body: Bytes) -> proto::Send {
    proto::Send {
        client_seq,
        msg_id: Bytes::from_static(&[1; 16]),
        to: Some(address_to_wire(Address::Account(person.account))),
        body,
        ..proto::Send::default()
    }
}

fn send_frame(send: &proto::Send) -> Bytes {
    let mut bytes = BytesMut::new();
    encode_message(&mut bytes, FrameType::Send, None, send);
    bytes.freeze()
}

fn frame(kind: u8, payload: &'static [u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    Frame { kind, corr: None, payload: Bytes::from_static(payload) }.encode(&mut bytes);
    bytes.freeze()
}

/// The header of a frame that is larger than allowed, and a beginning of it.
fn oversized() -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_uint(u64::from(limits::FRAME_BYTES_MAX) + 1, 3);
    bytes.put_u8(FrameType::Send.number());
    bytes.put_u8(0);
    bytes.put_bytes(b'x', 64 * 1024);
    bytes.freeze()
}

/// A whole frame by its length, with flags that do not exist.
fn garbage() -> Bytes {
    let mut bytes = BytesMut::from(&[0, 1, 0, 0xee, 0x7e][..]);
    bytes.extend((0..256u16).map(|n| u8::try_from(n * 151 % 256).unwrap_or(0)));
    bytes.freeze()
}

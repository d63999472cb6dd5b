//! The connection: when to dial and whom, the greeting, life signs, the end and what comes after it.

use bytes::Bytes;
use iris_core::clock::MonoUs;
use iris_core::code::{Code, Verdict};
use iris_proto::client as wire;
use iris_proto::client_frames::verdict_from_wire;
use iris_proto::frame::{FRAME_BYTES_HARD_MAX, Frame, FrameType};
use prost::Message as _;

use crate::key::Binding;

use super::Session;
use super::event::{Event, Stop, Why};
use super::frames::encoded;
use super::input::{Effect, Target};

/// The minor version of the protocol that this client speaks.
const PROTO: u32 = 1;
/// WELCOME must come within this time, CHALLENGE before it included.
const GREETING_US: u64 = 10_000_000;
/// A connection that lived so long, or moved a message, makes the waits start again from the shortest.
const GOOD_US: u64 = 10_000_000;
/// The keep-alive of a server that advises none.
const KEEPALIVE_MS: u32 = 30_000;
const KEEPALIVE_MS_MIN: u32 = 1_000;
/// The least that a server may allow for a frame: below it nothing could be said.
const FRAME_BYTES_MIN: u32 = 1024;

/// Where the connection stands.
#[derive(Debug)]
pub(super) enum Link {
    /// None: the next dial is at `at`.
    Resting(Rest),
    /// The shell dials.
    Dialing,
    /// The transport stands, the server has not answered HELLO.
    Greeting(Greeting),
    /// The server serves this device.
    Open(Open),
    /// None, and none is wanted.
    Stopped(Stop),
}

#[derive(Debug)]
pub(super) struct Rest {
    at: MonoUs,
    target: Target,
}

#[derive(Debug)]
pub(super) struct Greeting {
    until: MonoUs,
    /// HELLO went out; else CHALLENGE must come first.
    greeted: bool,
}

#[derive(Debug)]
pub(super) struct Open {
    since: MonoUs,
    keepalive_us: u64,
    /// When the last frame came.
    heard_at: MonoUs,
    /// When PING last went out: the server, too, gives up whom it does not hear.
    pinged_at: MonoUs,
    /// A message was received or decided on it.
    useful: bool,
    /// The server asked to leave: when, and where to.
    leave: Option<(MonoUs, Target, u32)>,
}

impl Link {
    pub(super) fn first() -> Self {
        Self::Resting(Rest { at: MonoUs(0), target: Target::Any })
    }
}

impl Session {
    pub(super) fn connected(
        &mut self,
        now: MonoUs,
        binding: Option<Binding>,
        out: &mut Vec<Effect>,
    ) {
        if !matches!(self.link, Link::Dialing) {
            return;
        }
        let until = MonoUs(now.0 + GREETING_US);
        self.link = Link::Greeting(Greeting { until, greeted: false });
        if let Some(binding) = binding {
            self.hello(now, &binding, out);
        }
    }

    fn hello(&mut self, now: MonoUs, binding: &Binding, out: &mut Vec<Effect>) {
        let Some(access) = self.token.usable(now).map(str::to_owned) else {
            // It ended while the dial took its time.
            return self.rest(now, 0, Target::Any, out);
        };
        let (cursor, stream_gen, window) = self.inbox.greet(&self.config);
        let hello = wire::Hello {
            proto_min: PROTO,
            proto_max: PROTO,
            capabilities: 0,
            access_token: access,
            device: self.device.0,
            proof: self.key.prove_hello(binding, self.account, self.device).into(),
            cursor: cursor.0,
            stream_gen,
            window: Some(window),
            sdk: self.config.sdk.clone(),
            marks: self.marks.known(),
        };
        out.push(Effect::Transmit(encoded(FrameType::Hello, None, &hello)));
        if let Link::Greeting(greeting) = &mut self.link {
            greeting.greeted = true;
        }
    }

    pub(super) fn unreachable(&mut self, now: MonoUs, text: String, out: &mut Vec<Effect>) {
        if matches!(self.link, Link::Dialing) {
            self.end(now, Why::Unreachable(text), (0, Target::Elsewhere), out);
        }
    }

    pub(super) fn lost(&mut self, now: MonoUs, text: String, out: &mut Vec<Effect>) {
        let target = match &self.link {
            Link::Open(Open { leave: Some((_, target, _)), .. }) => target.clone(),
            Link::Open(_) | Link::Greeting(_) => Target::Any,
            Link::Resting(_) | Link::Dialing | Link::Stopped(_) => return,
        };
        self.end(now, Why::Lost(text), (0, target), out);
    }

    /// A person asks for a connection now.
    pub(super) fn reconnect(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        match &self.link {
            Link::Open(_) | Link::Greeting(_) | Link::Dialing => {
                out.push(Effect::Hangup);
                let why = Why::Asked;
                out.push(Effect::Event(Event::Disconnected { why, retry_in_ms: 0 }));
            }
            Link::Resting(_) | Link::Stopped(_) => {}
        }
        self.backoff.reset();
        self.forget_asked(now);
        self.link = Link::Resting(Rest { at: now, target: Target::Any });
    }

    /// The client gives the connection up by itself.
    pub(super) fn give_up(&mut self, now: MonoUs, why: Why, target: Target, out: &mut Vec<Effect>) {
        out.push(Effect::Hangup);
        self.end(now, why, (0, target), out);
    }

    /// The connection is over; the next one comes after a wait of at least `wait_ms`.
    fn end(
        &mut self,
        now: MonoUs,
        why: Why,
        (wait_ms, target): (u64, Target),
        out: &mut Vec<Effect>,
    ) {
        if let Link::Open(open) = &self.link
            && (open.useful || now.us_since(open.since) >= GOOD_US)
        {
            self.backoff.reset();
        }
        let wait_ms = self.backoff.next_ms(&mut self.rng).max(wait_ms);
        out.push(Effect::Event(Event::Disconnected { why, retry_in_ms: wait_ms }));
        self.forget_asked(now);
        self.link = Link::Resting(Rest { at: MonoUs(now.0 + wait_ms * 1000), target });
    }

    /// As [`Session::end`], without a failure to wait for.
    fn rest(&mut self, now: MonoUs, wait_ms: u64, target: Target, out: &mut Vec<Effect>) {
        out.push(Effect::Hangup);
        self.forget_asked(now);
        self.link = Link::Resting(Rest { at: MonoUs(now.0 + wait_ms * 1000), target });
    }

    pub(super) fn stop(&mut self, stop: Stop, out: &mut Vec<Effect>) {
        if self.stopped().is_some() {
            return;
        }
        out.push(Effect::Hangup);
        self.calls.call_off(out);
        out.push(Effect::Event(Event::Stopped(stop.clone())));
        self.link = Link::Stopped(stop);
    }

    /// The connection moved a message.
    pub(super) fn was_useful(&mut self) {
        if let Link::Open(open) = &mut self.link {
            open.useful = true;
        }
    }

    pub(super) fn link_wake_at(&self) -> Option<MonoUs> {
        match &self.link {
            Link::Resting(rest) => {
                let ready = !self.inbox.is_resetting() && self.token.usable(rest.at).is_some();
                ready.then_some(rest.at)
            }
            Link::Dialing | Link::Stopped(_) => None,
            Link::Greeting(greeting) => Some(greeting.until),
            Link::Open(open) => {
                let silent = MonoUs(open.heard_at.0 + 2 * open.keepalive_us);
                let ping = MonoUs(open.pinged_at.0 + open.keepalive_us);
                let leave = open.leave.as_ref().map(|(at, _, _)| *at);
                leave.into_iter().chain([silent, ping]).min()
            }
        }
    }

    /// Dials when it is time to, with a token that is worth showing.
    pub(super) fn watch_rest(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        let Link::Resting(rest) = &self.link else {
            return;
        };
        if rest.at > now || self.inbox.is_resetting() {
            return;
        }
        if self.token.usable(now).is_some() {
            out.push(Effect::Dial(rest.target.clone()));
            self.link = Link::Dialing;
        } else {
            self.token.spoil(now, &mut self.rng);
            self.watch_token(now, out);
        }
    }

    pub(super) fn watch_link(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        match &mut self.link {
            Link::Greeting(greeting) if greeting.until <= now => {
                let why = Why::Lost("the server did not answer HELLO for 10 seconds".to_owned());
                self.give_up(now, why, Target::Elsewhere, out);
            }
            Link::Open(open) => {
                if let Some((at, target, code)) = &open.leave
                    && *at <= now
                {
                    let (target, code) = (target.clone(), *code);
                    let why = Why::Leaving { code };
                    out.push(Effect::Event(Event::Disconnected { why, retry_in_ms: 0 }));
                    return self.rest(now, 0, target, out);
                }
                let silent_us = now.us_since(open.heard_at);
                if silent_us >= 2 * open.keepalive_us {
                    let why = Why::Lost("the server is silent".to_owned());
                    self.give_up(now, why, Target::Elsewhere, out);
                } else if now.us_since(open.pinged_at) >= open.keepalive_us {
                    open.pinged_at = now;
                    let ping = wire::Ping { echo: now.0 };
                    out.push(Effect::Transmit(encoded(FrameType::Ping, None, &ping)));
                }
            }
            Link::Greeting(_) | Link::Resting(_) | Link::Dialing | Link::Stopped(_) => {}
        }
    }

    pub(super) fn frame(&mut self, now: MonoUs, frame: Frame, out: &mut Vec<Effect>) {
        match &mut self.link {
            Link::Open(open) => open.heard_at = now,
            Link::Greeting(_) => {}
            // What still arrives of a connection that was given up.
            Link::Resting(_) | Link::Dialing | Link::Stopped(_) => return,
        }
        let Some(kind) = frame.known() else {
            if !frame.is_ignorable() {
                self.broken(now, "a frame of unknown type", out);
            }
            return;
        };
        if self.dispatch(now, kind, frame, out).is_err() {
            self.broken(now, "a frame that cannot be decoded", out);
        }
    }

    fn dispatch(
        &mut self,
        now: MonoUs,
        kind: FrameType,
        frame: Frame,
        out: &mut Vec<Effect>,
    ) -> Result<(), iris_proto::FormatError> {
        let open = self.is_open();
        let payload = frame.payload;
        match kind {
            FrameType::Challenge if !open => {
                self.challenge(now, &wire::Challenge::decode(payload)?.nonce, out);
            }
            FrameType::Welcome if !open => {
                self.welcome(now, wire::Welcome::decode(payload)?, out);
            }
            FrameType::Error => self.error(now, wire::Error::decode(payload)?, out),
            FrameType::GoAway => self.go_away(now, wire::GoAway::decode(payload)?),
            FrameType::SendAck if open => {
                self.send_ack(now, &wire::SendAck::decode(payload)?, out);
            }
            FrameType::SendNack if open => {
                self.send_nack(now, &wire::SendNack::decode(payload)?, out);
            }
            FrameType::Deliver if open => {
                self.deliver(now, wire::Deliver::decode(payload)?, out)?;
            }
            FrameType::CallResult if open => self.call_result(now, frame.corr, payload, out)?,
            FrameType::Page if open => self.page(frame.corr, payload, out)?,
            FrameType::LogPage if open => self.log_page(now, frame.corr, payload, out)?,
            FrameType::Receipt if open => {
                self.receipt(wire::Receipt::decode(payload)?, out)?;
            }
            FrameType::Signal if open => {
                self.signal(now, wire::Signal::decode(payload)?, out)?;
            }
            FrameType::Window if open => self.outbox.widen(wire::Window::decode(payload)?),
            FrameType::Ping => pong(payload, out),
            FrameType::Pong => {}
            FrameType::Challenge
            | FrameType::Welcome
            | FrameType::SendAck
            | FrameType::SendNack
            | FrameType::Deliver
            | FrameType::CallResult
            | FrameType::Page
            | FrameType::LogPage
            | FrameType::Receipt
            | FrameType::Signal
            | FrameType::Window
            | FrameType::Hello
            | FrameType::Send
            | FrameType::Ack
            | FrameType::Call
            | FrameType::Fetch
            | FrameType::Subscribe
            | FrameType::Unsubscribe
            | FrameType::AuthRefresh => self.broken(now, "a frame out of place", out),
        }
        Ok(())
    }

    fn challenge(&mut self, now: MonoUs, nonce: &Bytes, out: &mut Vec<Effect>) {
        let greeted = matches!(&self.link, Link::Greeting(greeting) if greeting.greeted);
        match Binding::try_from(&nonce[..]) {
            Ok(binding) if !greeted => self.hello(now, &binding, out),
            Ok(_) | Err(_) => self.broken(now, "a CHALLENGE that cannot be answered", out),
        }
    }

    fn welcome(&mut self, now: MonoUs, welcome: wire::Welcome, out: &mut Vec<Effect>) {
        if welcome.proto != PROTO {
            return self.stop(Stop::Upgrade, out);
        }
        if welcome.resume() == wire::Resume::SnapshotNeeded {
            self.start_from(&welcome, out);
            let why = Why::Snapshot;
            out.push(Effect::Event(Event::Disconnected { why, retry_in_ms: 0 }));
            return self.rest(now, 0, Target::Any, out);
        }
        if !self.resume_inbox(&welcome, out) {
            return self.broken(now, "another inbox than the one asked for", out);
        }
        if let Err(stop) = self.resume_sends(&welcome) {
            return self.stop(stop, out);
        }
        let frame_bytes_max = welcome.limits.map_or(0, |limits| limits.frame_bytes_max);
        if frame_bytes_max > 0 {
            self.frame_bytes_max = frame_bytes_max.clamp(FRAME_BYTES_MIN, FRAME_BYTES_HARD_MAX);
        }
        let advised = Some(welcome.keepalive_ms).filter(|ms| *ms > 0).unwrap_or(KEEPALIVE_MS);
        self.link = Link::Open(Open {
            since: now,
            keepalive_us: u64::from(advised.max(KEEPALIVE_MS_MIN)) * 1000,
            heard_at: now,
            pinged_at: now,
            useful: false,
            leave: None,
        });
        self.marks.say_again();
        self.greet_signals(out);
        self.counters.connects += 1;
        let head = iris_core::seq::InboxSeq(welcome.head);
        out.push(Effect::Event(Event::Connected { connection: welcome.connection_id, head }));
    }

    fn go_away(&mut self, now: MonoUs, go_away: wire::GoAway) {
        let wait_ms = self.rng.upto(u64::from(go_away.jitter_ms));
        let named = go_away.preferred_edges;
        let target = if named.is_empty() { Target::Elsewhere } else { Target::Named(named) };
        if let Link::Open(open) = &mut self.link
            && open.leave.is_none()
        {
            open.leave = Some((MonoUs(now.0 + wait_ms * 1000), target, go_away.code));
        }
    }

    fn error(&mut self, now: MonoUs, error: wire::Error, out: &mut Vec<Effect>) {
        let code = Code::from_number(error.code);
        let verdict = match error.verdict() {
            wire::Verdict::Unspecified => code.map_or(Verdict::Reconnect, Code::verdict),
            given => verdict_from_wire(given),
        };
        let target = match verdict {
            Verdict::Upgrade => return self.stop(Stop::Upgrade, out),
            Verdict::StayAway => return self.stop(Stop::Replaced, out),
            Verdict::Fatal => return self.stop(Stop::of(error.code, error.text), out),
            Verdict::ReconnectElsewhere => Target::Elsewhere,
            Verdict::RefreshToken => {
                self.token.spoil(now, &mut self.rng);
                Target::Any
            }
            Verdict::Reconnect | Verdict::Snapshot => Target::Any,
        };
        out.push(Effect::Hangup);
        let why = Why::Ended { code: error.code, text: error.text };
        self.end(now, why, (u64::from(error.retry_after_ms), target), out);
    }

    /// The server broke the protocol: this connection is of no use any more, another one may be.
    fn broken(&mut self, now: MonoUs, what: &'static str, out: &mut Vec<Effect>) {
        self.counters.malformed += 1;
        self.give_up(now, Why::Protocol(what), Target::Elsewhere, out);
    }
}

fn pong(payload: Bytes, out: &mut Vec<Effect>) {
    let mut bytes = bytes::BytesMut::new();
    Frame::new(FrameType::Pong, payload).encode(&mut bytes);
    out.push(Effect::Transmit(bytes.freeze()));
}

impl Stop {
    fn of(code: u32, text: String) -> Self {
        if (2000..3000).contains(&code) {
            Self::of_login(code, text)
        } else {
            Self::Refused { code, text }
        }
    }

    pub(super) fn of_login(code: u32, text: String) -> Self {
        if code == u32::from(Code::DeviceRevoked.number()) {
            Self::Revoked
        } else {
            Self::LoggedOut { code, text }
        }
    }
}

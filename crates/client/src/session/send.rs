//! Messages on their way out: bound to numbers, transmitted in order, repeated until they are decided.
//!
//! A number is transmitted only when its binding is on the disk, and always as the same bytes.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use iris_core::clock::MonoUs;
use iris_core::id::MsgId;
use iris_core::message::Bodies;
use iris_core::seq::ClientSeq;
use iris_proto::client as wire;
use iris_proto::client_frames::{about_to_wire, address_to_wire, change_to_wire};
use iris_proto::frame::{Frame, FrameType, HEADER_BYTES};
use prost::Message as _;

use crate::place::bytes_of;
use crate::store::Record;

use super::event::{Event, Outcome, Stop, Why};
use super::frames::encoded;
use super::input::{Effect, Ticket};
use super::{Draft, OUTGOING_BYTES_MAX, OUTGOING_MAX, Session};

/// A server that says nothing of a waiting message for so long is given up.
pub(super) const SEND_PATIENCE_US: u64 = 6_000_000;
/// SEND_NACKs in a row are waited for at least this long, doubling, whatever they say.
const NACK_PAUSE_MS: u64 = 5;
const NACK_PAUSE_MAX_MS: u64 = 1_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Undecided, ascending and dense.
    entries: VecDeque<Entry>,
    bytes: usize,
    next: ClientSeq,
    /// How many of the first entries the present connection has.
    sent: usize,
    sent_bytes: usize,
    /// Transmitted at least once, on whatever connection: up to here.
    ever_sent: ClientSeq,
    window_messages: usize,
    window_bytes: usize,
    paused_until: MonoUs,
    nacks_in_a_row: u32,
    /// When the server last spoke of sends, or the first of them went out.
    heard_at: MonoUs,
}

#[derive(Debug)]
struct Entry {
    client_seq: ClientSeq,
    msg_id: MsgId,
    /// The whole SEND frame.
    frame: Bytes,
    /// The write that binds it.
    ticket: Ticket,
}

impl Outbox {
    pub(super) fn new(next: ClientSeq, undecided: VecDeque<(ClientSeq, Bytes)>) -> Self {
        let mut outbox = Self {
            entries: VecDeque::new(),
            bytes: 0,
            next,
            sent: 0,
            sent_bytes: 0,
            ever_sent: ClientSeq(0),
            window_messages: 0,
            window_bytes: 0,
            paused_until: MonoUs(0),
            nacks_in_a_row: 0,
            heard_at: MonoUs(0),
        };
        for (client_seq, payload) in undecided {
            let msg_id = wire::Send::decode(payload.clone()).ok();
            let msg_id = msg_id.and_then(|send| MsgId::from_bytes(&send.msg_id).ok());
            let mut frame = BytesMut::new();
            Frame::new(FrameType::Send, payload).encode(&mut frame);
            // Whether these went out before is not known; they are on the disk.
            let msg_id = msg_id.unwrap_or(MsgId([0; 16]));
            outbox.push(Entry { client_seq, msg_id, frame: frame.freeze(), ticket: Ticket(0) });
            outbox.ever_sent = client_seq;
        }
        outbox
    }

    /// Gives the next number to a message. Answers it with the payload to store.
    pub(super) fn bind(&mut self, draft: &Draft, ticket: Ticket) -> (ClientSeq, Bytes) {
        let client_seq = self.next;
        let frame = encoded(FrameType::Send, None, &to_wire(client_seq, draft));
        let payload = frame.slice(HEADER_BYTES..);
        self.push(Entry { client_seq, msg_id: draft.msg_id, frame, ticket });
        (client_seq, payload)
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.frame.len();
        self.next = entry.client_seq.next();
        self.entries.push_back(entry);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= OUTGOING_MAX || self.bytes >= OUTGOING_BYTES_MAX
    }

    /// The lowest undecided number.
    fn first(&self) -> ClientSeq {
        self.entries.front().map_or(self.next, |entry| entry.client_seq)
    }

    /// The server serves the device and expects `expected` next. What is below is decided.
    fn resume(&mut self, expected: ClientSeq, window: wire::Window) -> Result<(), Stop> {
        let ours = self.next;
        if expected > ours {
            return Err(Stop::StateTooOld { expected, ours });
        }
        let ours = self.first();
        if expected < ours {
            return Err(Stop::ServerForgot { expected, ours });
        }
        self.window_messages = window.messages as usize;
        self.window_bytes = window.bytes as usize;
        self.paused_until = MonoUs(0);
        self.nacks_in_a_row = 0;
        self.rewind_to(usize::try_from(ours.until(expected)).unwrap_or(usize::MAX));
        Ok(())
    }

    /// The first `count` entries count as transmitted, the others do not.
    fn rewind_to(&mut self, count: usize) {
        self.sent = count.min(self.entries.len());
        self.sent_bytes = self.entries.iter().take(self.sent).map(|entry| entry.frame.len()).sum();
    }

    /// Transmits what the window takes. Answers how many had been transmitted before.
    pub(super) fn transmit(&mut self, now: MonoUs, stored: Ticket, out: &mut Vec<Effect>) -> u64 {
        let mut again = 0;
        if now < self.paused_until {
            return again;
        }
        if self.paused_until > MonoUs(0) {
            (self.paused_until, self.heard_at) = (MonoUs(0), now);
        }
        while let Some(entry) = self.entries.get(self.sent) {
            let bytes = self.sent_bytes + entry.frame.len();
            let within = self.sent < self.window_messages && bytes <= self.window_bytes;
            if entry.ticket > stored || !(within || self.sent == 0) {
                break;
            }
            if self.sent == 0 {
                self.heard_at = now;
            }
            again += u64::from(entry.client_seq <= self.ever_sent);
            self.ever_sent = self.ever_sent.max(entry.client_seq);
            out.push(Effect::Transmit(entry.frame.clone()));
            self.sent += 1;
            self.sent_bytes = bytes;
        }
        again
    }

    pub(super) fn wake_at(&self) -> Option<MonoUs> {
        let waiting = self.sent < self.entries.len() && self.paused_until > MonoUs(0);
        let paused = waiting.then_some(self.paused_until);
        let patience = self.gives_up_at();
        paused.into_iter().chain(patience).min()
    }

    fn gives_up_at(&self) -> Option<MonoUs> {
        let since = self.heard_at.max(self.paused_until);
        (self.sent > 0).then(|| MonoUs(since.0 + SEND_PATIENCE_US))
    }

    /// Everything up to `upto` is decided.
    fn decided(
        &mut self,
        now: MonoUs,
        upto: ClientSeq,
        refusals: &[wire::Refusal],
        out: &mut Vec<Effect>,
    ) -> Result<bool, Stop> {
        if upto >= self.next {
            return Err(Stop::AckedUnsent { acked: upto });
        }
        self.heard_at = now;
        let mut any = false;
        while self.first() <= upto {
            let Some(Entry { client_seq, msg_id, frame, .. }) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= frame.len();
            if self.sent > 0 {
                self.sent -= 1;
                self.sent_bytes -= frame.len();
            }
            let refused = refusals.iter().find(|refusal| refusal.client_seq == client_seq.0);
            let outcome = refused
                .map_or(Outcome::Accepted, |refusal| Outcome::Refused { code: refusal.code });
            out.push(Effect::Event(Event::Decided { client_seq, msg_id, outcome }));
            any = true;
        }
        if any {
            self.nacks_in_a_row = 0;
        }
        Ok(any)
    }

    /// `from` and everything above consumed nothing: it is sent again after the pause, in milliseconds.
    fn nacked(&mut self, now: MonoUs, from: ClientSeq, retry_after_ms: u32, jitter_ms: u64) -> u64 {
        self.heard_at = now;
        let keep = usize::try_from(self.first().until(from)).unwrap_or(usize::MAX);
        let mut pause_ms = u64::from(retry_after_ms) + jitter_ms;
        if keep < self.sent {
            self.rewind_to(keep);
            // The first complaint is believed as it is; a server that goes on complaining is spared.
            let doubled = NACK_PAUSE_MS << self.nacks_in_a_row.min(10);
            let least = if self.nacks_in_a_row == 0 { 0 } else { doubled };
            pause_ms = pause_ms.max(least.min(NACK_PAUSE_MAX_MS));
            self.nacks_in_a_row += 1;
        }
        self.paused_until = self.paused_until.max(MonoUs(now.0 + pause_ms * 1000));
        self.paused_until.us_since(now) / 1000
    }

    /// What the owner before asked to be spared for need not spare this one.
    pub(super) fn owner_changed(&mut self, now: MonoUs) {
        self.paused_until = self.paused_until.min(now);
        self.nacks_in_a_row = 0;
    }

    pub(super) fn widen(&mut self, window: wire::Window) {
        self.window_messages += window.messages as usize;
        self.window_bytes += window.bytes as usize;
    }

    /// Undecided messages get numbers from `first` on and keep their names.
    fn renumber(&mut self, first: ClientSeq, mut ticket: Ticket) -> Vec<(ClientSeq, Bytes)> {
        let before = std::mem::take(&mut self.entries);
        (self.bytes, self.next, self.ever_sent) = (0, first, ClientSeq(0));
        self.rewind_to(0);
        let mut bound = Vec::with_capacity(before.len());
        for entry in before {
            // What was encoded here decodes here.
            let payload = entry.frame.slice(HEADER_BYTES..);
            let Ok(mut send) = wire::Send::decode(payload) else {
                continue;
            };
            send.client_seq = self.next.0;
            let frame = encoded(FrameType::Send, None, &send);
            ticket = ticket.next();
            bound.push((self.next, frame.slice(HEADER_BYTES..)));
            self.push(Entry { client_seq: self.next, msg_id: entry.msg_id, frame, ticket });
        }
        bound
    }
}

impl Session {
    pub(super) fn resume_sends(&mut self, welcome: &wire::Welcome) -> Result<(), Stop> {
        let window = welcome.window.unwrap_or_default();
        self.outbox.resume(ClientSeq(welcome.next_client_seq), window)
    }

    pub(super) fn send_ack(&mut self, now: MonoUs, ack: &wire::SendAck, out: &mut Vec<Effect>) {
        let upto = ClientSeq(ack.client_seq);
        match self.outbox.decided(now, upto, &ack.refusals, out) {
            Ok(true) => {
                self.was_useful();
                self.persist(Record::Decided { upto }, out);
            }
            Ok(false) => {}
            Err(stop) => self.stop(stop, out),
        }
    }

    pub(super) fn send_nack(&mut self, now: MonoUs, nack: &wire::SendNack, out: &mut Vec<Effect>) {
        self.counters.nacks += 1;
        // Many devices are told the same at the same moment.
        let jitter_ms = self.rng.upto(u64::from(nack.retry_after_ms) / 4);
        let client_seq = ClientSeq(nack.client_seq);
        let pause_ms = self.outbox.nacked(now, client_seq, nack.retry_after_ms, jitter_ms);
        let retry_in_ms = u32::try_from(pause_ms).unwrap_or(u32::MAX);
        out.push(Effect::Event(Event::Nacked { client_seq, code: nack.code, retry_in_ms }));
    }

    /// A server that is silent about a waiting message is given up.
    pub(super) fn watch_sends(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        let overdue = self.outbox.gives_up_at().is_some_and(|at| at <= now);
        if overdue && self.is_open() {
            let text = "no word of a waiting message for 6 seconds".to_owned();
            self.give_up(now, Why::Lost(text), super::Target::Elsewhere, out);
        }
    }

    pub(super) fn renumber_sends(&mut self, first: ClientSeq, out: &mut Vec<Effect>) {
        let from = self.outbox.first();
        for (client_seq, send) in self.outbox.renumber(first, self.tickets.issued) {
            self.persist(Record::Bound { client_seq, send }, out);
        }
        out.push(Effect::Renumbered { from, to: first });
    }
}

fn to_wire(client_seq: ClientSeq, draft: &Draft) -> wire::Send {
    let (body, device_bodies) = match &draft.bodies {
        Bodies::Shared(body) => (body.clone(), Vec::new()),
        Bodies::PerDevice(bodies) => {
            let bodies = bodies.iter();
            let bodies = bodies
                .map(|(device, body)| wire::DeviceBody { device: device.0, body: body.clone() });
            (Bytes::new(), bodies.collect())
        }
    };
    wire::Send {
        client_seq: client_seq.0,
        msg_id: bytes_of(draft.msg_id.0),
        to: Some(address_to_wire(draft.to)),
        body,
        device_bodies,
        roster_version: draft.roster.0,
        expires_at_ms: draft.expires_at_ms,
        ephemeral: false,
        about: draft.about.as_ref().map(about_to_wire),
        change: draft.change.as_ref().map(change_to_wire),
    }
}

//! Where a client is attached: to one owner's stream at a time, or to none while its shard is between
//! owners.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use iris_core::clock::WallMs;
use iris_core::code::Code;
use iris_core::id::ShardId;
use iris_core::limits;
use iris_core::seq::InboxSeq;
use iris_proto::client;
use iris_proto::frame::{FrameType, encode_message};
use iris_proto::peer::{self, Attached, Closed, edge_item};
use prost::Message as _;
use tokio::time::Instant;

use super::super::carrier::Sink;
use super::super::hello::{Caller, PROTO};
use super::super::links::Link;
use super::frames::pass_on;
use super::{Conn, End};

/// A client whose shard is between owners is tried again so often.
const RETRY: Duration = Duration::from_millis(20);
/// And less often the longer it takes.
const RETRY_MAX: Duration = Duration::from_millis(250);
/// While no owner serves the client, its sends are answered after this long.
const OWNERLESS_PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Attachment {
    /// By which owners know it.
    number: u64,
    shard: Option<ShardId>,
    state: State,
    /// What the client said.
    said: Said,
    /// What the owner was told of that when it was asked.
    told: Said,
    /// Places up to here were handed to the client's socket.
    handed: InboxSeq,
    /// The client was told every change of a mark up to this version.
    marks: u64,
    stream_gen: u32,
    retry: Duration,
    /// Since when nobody serves the client, however often owners were asked meanwhile.
    unserved_since: Instant,
    /// The lowest number that came while nobody served the client, and has no answer.
    unanswered: Option<u64>,
    /// When the client said HELLO.
    begun: WallMs,
}

/// How far a client is, and its credit, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    /// Places up to here are on its disk.
    cursor: InboxSeq,
    window_messages: u32,
    window_bytes: u32,
}

enum State {
    /// No owner is known, or the one that is known turned the client away.
    Nowhere { retry_at: Instant },
    /// An owner was asked.
    Asked(Arc<Link>),
    /// An owner serves the client.
    Served(Arc<Link>),
}

impl Attachment {
    pub(super) fn new(caller: &Caller, (now, begun): (Instant, WallMs)) -> Self {
        let said = Said {
            cursor: caller.cursor,
            window_messages: caller.window_messages,
            window_bytes: caller.window_bytes,
        };
        Self {
            number: 0,
            shard: None,
            state: State::Nowhere { retry_at: now },
            said,
            told: said,
            handed: caller.cursor,
            marks: caller.marks,
            stream_gen: caller.stream_gen,
            retry: RETRY,
            unserved_since: now,
            unanswered: None,
            begun,
        }
    }

    fn link(&self) -> Option<&Arc<Link>> {
        match &self.state {
            State::Nowhere { .. } => None,
            State::Asked(link) | State::Served(link) => Some(link),
        }
    }

    /// Whether what came for this number is for the client still.
    pub(super) fn is_at(&self, number: u64) -> bool {
        self.link().is_some() && self.number == number
    }

    pub(super) fn is_nowhere(&self) -> bool {
        matches!(self.state, State::Nowhere { .. })
    }

    /// The number by which its owner knows it.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The stream of the owner that serves the client.
    pub(super) fn served(&self) -> Option<&Arc<Link>> {
        match &self.state {
            State::Served(link) => Some(link),
            State::Nowhere { .. } | State::Asked(_) => None,
        }
    }

    /// A send came while nobody serves the client. It goes nowhere: its client sends it again.
    pub(super) fn lacks_answer(&mut self, client_seq: u64) {
        let lowest = self.unanswered.get_or_insert(client_seq);
        *lowest = client_seq.min(*lowest);
    }

    /// When the client is told to send again, if no owner serves it before.
    pub(super) fn put_off_at(&self) -> Option<Instant> {
        self.unanswered.map(|_| self.unserved_since + OWNERLESS_PATIENCE)
    }

    /// The number from which on the client should send again, once that is due.
    pub(super) fn take_put_off(&mut self, now: Instant) -> Option<u64> {
        self.put_off_at().filter(|due| *due <= now)?;
        self.unanswered.take()
    }

    pub(super) fn is_congested(&self) -> bool {
        self.link().is_some_and(|link| link.is_congested())
    }

    pub(super) async fn caught_up(&self) {
        match self.link() {
            Some(link) => link.caught_up().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        match &self.state {
            State::Nowhere { retry_at } => Some(*retry_at),
            State::Asked(_) | State::Served(_) => None,
        }
    }

    /// The client has everything up to this place.
    pub(super) fn acked(&mut self, seq: InboxSeq) {
        self.said.cursor = self.said.cursor.max(seq);
    }

    /// The client takes more.
    pub(super) fn widened(&mut self, more: &client::Window) {
        let said = &mut self.said;
        let messages = said.window_messages.saturating_add(more.messages);
        let bytes = said.window_bytes.saturating_add(more.bytes);
        said.window_messages = messages.min(limits::WINDOW_MESSAGES_MAX);
        said.window_bytes = bytes.min(limits::WINDOW_BYTES_MAX);
    }

    /// What the client said while the owner was being asked, for the owner that now serves it.
    fn unsaid(&mut self) -> (Option<client::Ack>, Option<client::Window>) {
        let (said, told) = (self.said, self.told);
        self.told = said;
        let window = client::Window {
            messages: said.window_messages - told.window_messages,
            bytes: said.window_bytes - told.window_bytes,
        };
        let ack = client::Ack { inbox_seq: said.cursor.0 };
        let more = window.messages > 0 || window.bytes > 0;
        ((said.cursor > told.cursor).then_some(ack), more.then_some(window))
    }

    /// A frame was handed to the client.
    pub(super) fn handed(&mut self, frame: &peer::Frame) {
        self.handed = self.handed.max(InboxSeq(frame.last_inbox_seq));
        self.marks = self.marks.max(frame.marks);
    }
}

impl<W: Sink> Conn<'_, W> {
    /// Asks the owner of the client's shard to serve it, if one is known.
    pub(super) fn attach(&mut self, cause: &str) {
        if !self.attachment.is_nowhere() {
            return;
        }
        let account = self.caller.device.account;
        let shard = account.shard(self.shared.config.shard_count);
        self.attachment.shard = Some(shard);
        let found = self.shared.links.to_shard(shard);
        // Each time it has another number: what an owner says to an earlier attachment is not for this
        // one, though it comes by the same stream.
        let number = self.shared.next_conn();
        let joined = found.filter(|(link, _)| link.join(number, shard, Arc::clone(&self.mailbox)));
        let Some((link, _)) = joined else {
            let retry = self.attachment.retry;
            self.attachment.retry = (retry * 2).min(RETRY_MAX);
            if let State::Nowhere { retry_at } = &mut self.attachment.state {
                *retry_at = Instant::now() + retry;
            }
            return;
        };
        self.shared.metrics.attaches.with_label_values(&[cause]).inc();
        let attach = peer::Attach {
            shard: shard.into(),
            account: account.to_bytes().to_vec().into(),
            device: self.caller.device.device.0,
            cursor: self.attachment.said.cursor.0,
            delivered: self.attachment.handed.0,
            stream_gen: self.attachment.stream_gen,
            window_messages: self.attachment.said.window_messages,
            window_bytes: self.attachment.said.window_bytes,
            begun_ms: self.attachment.begun.0,
            marks: self.attachment.marks,
        };
        self.attachment.told = self.attachment.said;
        self.attachment.number = number;
        link.send(number, edge_item::Kind::Attach(attach), 64);
        self.attachment.state = State::Asked(link);
    }

    /// The owner serves the client: a new one gets WELCOME, one whose owner changed sends again.
    pub(super) fn attached(&mut self, attached: Attached, out: &mut BytesMut) -> Result<(), End> {
        let State::Asked(link) = &self.attachment.state else { return Ok(()) };
        let link = Arc::clone(link);
        self.attachment.state = State::Served(Arc::clone(&link));
        self.attachment.retry = RETRY;
        // Whatever had no answer is sent again from the number that the owner expects.
        self.attachment.unanswered = None;
        // Deliveries may come before this answer, and what the client said to them went nowhere.
        let (ack, window) = self.attachment.unsaid();
        if let Some(ack) = ack {
            let frame = peer_frame(FrameType::Ack, ack.encode_to_vec().into());
            link.send(self.attachment.number, edge_item::Kind::Frame(frame), 64);
        }
        if let Some(window) = window {
            let frame = peer_frame(FrameType::Window, window.encode_to_vec().into());
            link.send(self.attachment.number, edge_item::Kind::Frame(frame), 64);
        }
        if self.welcomed && attached.snapshot_needed {
            return Err((Code::CursorTooOld, "start again from a snapshot").into());
        }
        if self.welcomed {
            self.shared.metrics.resends.inc();
            let nack = client::SendNack {
                client_seq: attached.next_client_seq,
                code: Code::OwnerMoving.number().into(),
                ..client::SendNack::default()
            };
            encode_message(out, FrameType::SendNack, None, &nack);
            let kind = client::signal::Kind::OwnerChanged(client::OwnerChanged {});
            let signal = client::Signal { kind: Some(kind) };
            encode_message(out, FrameType::Signal, None, &signal);
            return Ok(());
        }
        self.welcomed = true;
        self.attachment.stream_gen = attached.stream_gen;
        self.attachment.handed = self.attachment.handed.max(InboxSeq(attached.start));
        self.shared.metrics.welcome_s.observe(self.hello_at.elapsed().as_secs_f64());
        encode_message(out, FrameType::Welcome, None, &self.welcome(&attached));
        for frame in std::mem::take(&mut self.early) {
            self.attachment.handed(&frame);
            pass_on(frame, out);
        }
        Ok(())
    }

    fn welcome(&self, attached: &Attached) -> client::Welcome {
        let resume = if attached.snapshot_needed {
            client::Resume::SnapshotNeeded
        } else {
            client::Resume::Ok
        };
        let keepalive = self.shared.config.keepalive.as_millis();
        client::Welcome {
            connection_id: self.id,
            server_time_ms: self.shared.clock.now().wall.0,
            proto: PROTO,
            resume: resume.into(),
            stream_gen: attached.stream_gen,
            start: attached.start,
            head: attached.head,
            floor: attached.floor,
            next_client_seq: attached.next_client_seq,
            keepalive_ms: u32::try_from(keepalive).unwrap_or(u32::MAX),
            limits: Some(client::Limits {
                frame_bytes_max: limits::FRAME_BYTES_MAX,
                body_bytes_max: u32::try_from(limits::BODY_BYTES_MAX).unwrap_or(u32::MAX),
                sends_in_flight_max: attached.window_messages,
            }),
            window: Some(client::Window {
                messages: attached.window_messages,
                bytes: attached.window_bytes,
            }),
        }
    }

    /// The owner ended its service: for good, unless the shard is only somewhere else or the store is
    /// away for a moment.
    pub(super) fn closed(&mut self, closed: Closed) -> Result<(), End> {
        let code = Code::of_any_version(closed.code).unwrap_or(Code::Protocol);
        match code {
            Code::OwnerMoving => {
                self.go_nowhere();
                Ok(())
            }
            code => {
                Err(End::Error { code, text: closed.text, retry_after_ms: closed.retry_after_ms })
            }
        }
    }

    /// The owner is gone or the shard moved: what was sent to it may be lost, so the client sends again.
    pub(super) fn leave_owner(&mut self, cause: &str, out: &mut BytesMut) {
        let served = self.attachment.served().is_some();
        self.go_nowhere();
        if !served {
            // Turned away by the owner that the routes name: they are about to change.
            return;
        }
        if cause == "lost" {
            // Nobody knows what the lost owner decided: everything without an answer is sent again,
            // once a new owner has it.
            put_off(0, 300, out);
        } else {
            // What was sent to the owner of before may have found the shard gone.
            self.attachment.lacks_answer(0);
        }
        self.attach(cause);
    }

    fn go_nowhere(&mut self) {
        self.detach();
        self.early.clear();
        let now = Instant::now();
        if self.attachment.served().is_some() {
            self.attachment.unserved_since = now;
        }
        let retry_at = now + self.attachment.retry;
        self.attachment.state = State::Nowhere { retry_at };
    }

    /// Leaves the stream that the client is on, if any.
    pub(super) fn detach(&self) {
        if let Some(link) = self.attachment.link() {
            link.leave(self.attachment.number);
            link.send(self.attachment.number, edge_item::Kind::Detach(peer::Detach {}), 32);
        }
    }
}

fn peer_frame(kind: FrameType, payload: Bytes) -> peer::Frame {
    peer::Frame { r#type: kind.number().into(), payload, ..peer::Frame::default() }
}

/// Tells the client that a number and all above it should be sent again later.
pub(super) fn put_off(client_seq: u64, retry_after_ms: u32, out: &mut BytesMut) {
    let nack = client::SendNack {
        client_seq,
        code: Code::OwnerMoving.number().into(),
        retry_after_ms,
        detail: String::new(),
    };
    encode_message(out, FrameType::SendNack, None, &nack);
}

//! The client's half of iris/1 as a state machine: what arrives goes in, what must be done comes out.
//!
//! No clock, no I/O, no randomness of its own: time is an argument, the seed too. The shell performs the
//! effects in order, tells what became of them, calls [`Session::settle`] after each batch of inputs and
//! at [`Session::wake_at`]. Whether a message was received, sent or decided is decided here alone.

mod call;
mod event;
mod frames;
mod input;
mod link;
mod logs;
mod marks;
mod receive;
mod rng;
mod send;
mod signals;
#[cfg(test)]
mod tests;
mod token;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use iris_core::clock::MonoUs;
use iris_core::group::Change;
use iris_core::id::{AccountId, DeviceNo, MsgId};
use iris_core::limits;
use iris_core::message::{About, Address, Bodies};
use iris_core::seq::{ClientSeq, ConvSeq, InboxSeq};

use crate::groups::Groups;
use crate::key::DeviceKey;

pub use call::{CallAnswer, CallId, CallOp, CalledOff, DeviceInfo, Fetch, LogFetch, LogPage, Page};
pub use event::{Event, Outcome, Stop, Why};
pub use input::{Effect, Input, Refresh, Target, Ticket};
pub use marks::Readers;

use call::Calls;
use link::Link;
use logs::Logs;
use marks::Marks;
use receive::Inbox;
use rng::{Backoff, Rng};
use send::Outbox;
use signals::Signals;
use token::TokenState;

/// Undecided messages of one device: beyond it nothing more is taken.
pub const OUTGOING_MAX: usize = 4096;
/// Bytes of such messages.
pub const OUTGOING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a client may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Credit for deliveries, in messages.
    pub window_messages: u32,
    /// Credit for deliveries, in bytes.
    pub window_bytes: u32,
    /// What HELLO says of the program.
    pub sdk: String,
}

impl Default for Config {
    fn default() -> Self {
        let sdk = concat!("iris-rust/", env!("CARGO_PKG_VERSION")).to_owned();
        Self { window_messages: 256, window_bytes: 256 * 1024, sdk }
    }
}

/// Who connects, and where the device stood when it last stopped.
#[derive(Debug, Clone)]
pub struct Start {
    /// The account.
    pub account: AccountId,
    /// The device.
    pub device: DeviceNo,
    /// Its key.
    pub key: Arc<DeviceKey>,
    /// An access token and for how many milliseconds it is good.
    pub access: Option<(String, u64)>,
    /// The stream that the cursor counts in.
    pub stream_gen: u32,
    /// The last place on the device's disk.
    pub cursor: InboxSeq,
    /// Every change of a mark up to this version is on the device's disk.
    pub marks: u64,
    /// The number that the next message gets.
    pub next_client_seq: ClientSeq,
    /// Bound and undecided messages, as SEND payloads.
    pub undecided: VecDeque<(ClientSeq, Bytes)>,
    /// What it knows of groups.
    pub groups: Groups,
    /// For jitter.
    pub seed: u64,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// To whom.
    pub to: Address,
    /// The client's name for it.
    pub msg_id: MsgId,
    /// Its ciphertexts.
    pub bodies: Bodies,
    /// Wall-clock milliseconds after which nobody needs it; 0 for never.
    pub expires_at_ms: u64,
    /// What it does to an earlier message, if it is not one of its own.
    pub about: Option<About>,
    /// What it changes in the group that it goes to.
    pub change: Option<Change>,
    /// The version of that group's roster that it was written for: with another one it is refused; 0
    /// for any.
    pub roster: ConvSeq,
}

/// Why a message was not taken. It has no number and was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// Bodies above the limits of the protocol.
    #[error(
        "a body is at most {} bytes, all bodies of a message {}",
        limits::BODY_BYTES_MAX,
        limits::BODIES_BYTES_MAX
    )]
    TooLarge,
    /// A change above the limits of the protocol, or of no group.
    #[error(
        "a change of a group names at most {} accounts of the group's tenant, and its settings have \
         at most {} bytes",
        limits::GROUP_CHANGE_MEMBERS_MAX,
        limits::GROUP_INFO_BYTES_MAX
    )]
    BadChange,
    /// Too many messages wait to be decided.
    #[error("{OUTGOING_MAX} messages wait already")]
    Full,
}

/// What happened so often, since the session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Connections that were served.
    pub connects: u64,
    /// Gaps in the inbox: a defect of the server each.
    pub gaps: u64,
    /// Places of groups that were skipped.
    pub group_gaps: u64,
    /// Places that came again and were dropped by their number.
    pub redelivered: u64,
    /// SENDs that were transmitted again.
    pub resent: u64,
    /// SEND_NACKs.
    pub nacks: u64,
    /// Frames that were not what they should be.
    pub malformed: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    config: Config,
    account: AccountId,
    device: DeviceNo,
    key: Arc<DeviceKey>,
    rng: Rng,
    backoff: Backoff,
    link: Link,
    token: TokenState,
    outbox: Outbox,
    inbox: Inbox,
    logs: Logs,
    marks: Marks,
    signals: Signals,
    calls: Calls,
    tickets: Tickets,
    frame_bytes_max: u32,
    counters: Counters,
}

/// Writes to the device's disk: numbered, and done in order.
#[derive(Debug, Default)]
struct Tickets {
    issued: Ticket,
    stored: Ticket,
}

impl Session {
    /// A session that connects with the first [`Session::settle`]. Its clock begins here, at 0.
    pub fn new(config: Config, start: Start) -> Self {
        let mut rng = Rng::new(start.seed);
        let token = TokenState::new(start.access, &mut rng);
        Self {
            config,
            account: start.account,
            device: start.device,
            key: start.key,
            backoff: Backoff::default(),
            link: Link::first(),
            token,
            outbox: Outbox::new(start.next_client_seq, start.undecided),
            inbox: Inbox::new(start.stream_gen, start.cursor),
            logs: Logs::new(start.groups),
            marks: Marks::new(start.marks),
            signals: Signals::default(),
            calls: Calls::default(),
            tickets: Tickets::default(),
            frame_bytes_max: limits::FRAME_BYTES_MAX,
            counters: Counters::default(),
            rng,
        }
    }

    /// Binds the next number to a message; it is transmitted once that is on the disk.
    ///
    /// # Errors
    /// When the message cannot be sent at all; nothing has changed then.
    pub fn submit(
        &mut self,
        draft: &Draft,
        out: &mut Vec<Effect>,
    ) -> Result<ClientSeq, Unsendable> {
        if !draft.bodies.within_limits() {
            return Err(Unsendable::TooLarge);
        }
        if let Some(change) = &draft.change {
            let Address::Group(group) = draft.to else { return Err(Unsendable::BadChange) };
            change.check(group).map_err(|_| Unsendable::BadChange)?;
        }
        if self.is_full() {
            return Err(Unsendable::Full);
        }
        let (client_seq, send) = self.outbox.bind(draft, self.tickets.issued.next());
        self.persist(crate::store::Record::Bound { client_seq, send }, out);
        Ok(client_seq)
    }

    /// Whether [`Session::submit`] would refuse any message.
    pub fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    /// Takes an input; appends to `out` what must be done about it.
    pub fn step(&mut self, now: MonoUs, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Connected { binding } => self.connected(now, binding, out),
            Input::Unreachable { text } => self.unreachable(now, text, out),
            Input::Lost { text } => self.lost(now, text, out),
            Input::Frame(frame) => self.frame(now, frame, out),
            Input::Stored { upto } => self.stored(upto, out),
            Input::StoreFailed => self.stop(Stop::StoreFailed, out),
            Input::Consumed { places, bytes } => self.inbox.consumed(places, bytes),
            Input::LogTaken(count) => self.logs.taken(count),
            Input::Call { id, op, patience_ms } => self.calls.add(now, id, &op, patience_ms, out),
            Input::Read { with, upto, who } => self.marks.read(with, upto, who),
            Input::Watch { account, on } => self.signals.watch(account, on),
            Input::Typing { to, kind } => self.type_to(to, kind, out),
            Input::Away(away) => self.look_away(away, out),
            Input::Tokens { access, valid_ms } => self.refreshed(now, access, valid_ms, out),
            Input::NoTokens(why) => self.not_refreshed(now, why, out),
            Input::Reconnect => self.reconnect(now, out),
        }
    }

    /// Does what is due: call it after every batch of inputs and at [`Session::wake_at`].
    pub fn settle(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        self.watch_token(now, out);
        self.watch_link(now, out);
        self.watch_sends(now, out);
        self.watch_rest(now, out);
        self.calls.expire(now, out);
        if self.is_open() {
            self.signals.transmit(&mut self.calls, now);
            self.read_logs(now, out);
            self.calls.transmit(now, out);
            self.inbox.acknowledge(out);
            self.marks.transmit(out);
            self.counters.resent += self.outbox.transmit(now, self.tickets.stored, out);
        }
    }

    /// When [`Session::settle`] has something to do though nothing else happens.
    pub fn wake_at(&self) -> Option<MonoUs> {
        let sends = self.is_open().then(|| self.outbox.wake_at()).flatten();
        let calls = self.calls.wake_at(self.is_open());
        let logs = self.is_open().then(|| self.logs.wake_at()).flatten();
        let times = [self.link_wake_at(), self.token_wake_at(), sends, calls, logs];
        times.into_iter().flatten().min()
    }

    /// Whether the server serves this device now.
    pub fn is_open(&self) -> bool {
        matches!(self.link, Link::Open(_))
    }

    /// Why the session does not try any more.
    pub fn stopped(&self) -> Option<&Stop> {
        match &self.link {
            Link::Stopped(stop) => Some(stop),
            Link::Resting(_) | Link::Dialing | Link::Greeting(_) | Link::Open(_) => None,
        }
    }

    /// How many messages are undecided.
    pub fn undecided(&self) -> usize {
        self.outbox.len()
    }

    /// In how many conversations the server does not know yet what was read.
    pub fn unsaid_reads(&self) -> usize {
        self.marks.unsaid()
    }

    /// The last place that was received.
    pub fn cursor(&self) -> InboxSeq {
        self.inbox.cursor()
    }

    /// What this device knows of the groups of its account.
    pub fn groups(&self) -> &Groups {
        &self.logs.known
    }

    /// The largest frame that the server may send.
    pub fn frame_bytes_max(&self) -> u32 {
        self.frame_bytes_max
    }

    /// What happened so often.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn persist(&mut self, record: crate::store::Record, out: &mut Vec<Effect>) -> Ticket {
        self.tickets.issued = self.tickets.issued.next();
        out.push(Effect::Persist { ticket: self.tickets.issued, record });
        self.tickets.issued
    }

    fn stored(&mut self, upto: Ticket, out: &mut Vec<Effect>) {
        self.tickets.stored = self.tickets.stored.max(upto);
        self.inbox.stored(upto, out);
        self.logs.stored(upto, out);
        self.marks.stored(upto);
    }
}

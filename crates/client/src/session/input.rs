//! What goes into a session and what comes out.

use bytes::Bytes;
use iris_core::clock::Hlc;
use iris_core::id::AccountId;
use iris_core::message::Address;
use iris_core::seq::ClientSeq;
use iris_proto::frame::Frame;

use crate::key::Binding;
use crate::store::Record;

use super::call::{CallAnswer, CallId, CallOp, CalledOff};
use super::event::Event;
use super::marks::Readers;

/// Names a write to the device's disk: dense, from 1; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

impl Ticket {
    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What happens to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The dial reached an edge.
    Connected {
        /// The TLS exporter's bytes; nothing where the server sends CHALLENGE.
        binding: Option<Binding>,
    },
    /// The dial reached nobody.
    Unreachable {
        /// Why, in words.
        text: String,
    },
    /// The connection ended, or what came over it are no frames.
    Lost {
        /// Why, in words.
        text: String,
    },
    /// A frame arrived.
    Frame(Frame),
    /// Writes up to this one are on the disk.
    Stored {
        /// The last of them.
        upto: Ticket,
    },
    /// The disk refused.
    StoreFailed,
    /// The application took places that it was told of.
    Consumed {
        /// How many.
        places: usize,
        /// Their weight.
        bytes: usize,
    },
    /// The application took so many messages of large groups that it was told of.
    LogTaken(usize),
    /// Ask the server something.
    Call {
        /// Names the answer.
        id: CallId,
        /// What.
        op: CallOp,
        /// For how long to try, across reconnects.
        patience_ms: u64,
    },
    /// A person read what is in a conversation.
    Read {
        /// With whom.
        with: AccountId,
        /// Up to the message of this clock.
        upto: Hlc,
        /// Who may know.
        who: Readers,
    },
    /// Be told whether somebody is there, from now on, or not any more.
    Watch {
        /// Who.
        account: AccountId,
        /// Whether.
        on: bool,
    },
    /// The person writes something, or stops.
    Typing {
        /// To whom.
        to: Address,
        /// What: the application's business, 1 for text; 0 when they stopped.
        kind: u32,
    },
    /// The person looks away, or at the application again.
    Away(bool),
    /// New tokens are on the disk.
    Tokens {
        /// The access token.
        access: String,
        /// For how many milliseconds it is good.
        valid_ms: u64,
    },
    /// No new tokens.
    NoTokens(Refresh),
    /// A person asks: give up the present connection, if any, and connect now.
    Reconnect,
}

/// Why there are no new tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refresh {
    /// Refused with this code.
    Refused {
        /// The code.
        code: u32,
        /// When to try again, where that may help.
        retry_after_ms: u32,
        /// In words.
        text: String,
    },
    /// Nobody answered.
    Unreachable {
        /// In words.
        text: String,
    },
}

/// Which edge to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The one that worked last, else any.
    Any,
    /// Another one, where there is one.
    Elsewhere,
    /// One of these, which the server named; then any other.
    Named(Vec<String>),
}

/// What a session wants done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Connect; then `Connected` or `Unreachable`.
    Dial(Target),
    /// Give the connection, or the dial, up. Nothing more is heard of it.
    Hangup,
    /// Write these bytes to the connection.
    Transmit(Bytes),
    /// Write to the disk; then `Stored`. Records without [`Effect::is_urgent`] may wait for others.
    Persist {
        /// Names it.
        ticket: Ticket,
        /// What.
        record: Record,
    },
    /// Use the refresh token, store what comes; then `Tokens` or `NoTokens`.
    RefreshTokens,
    /// The answer to a call.
    Called {
        /// Which.
        id: CallId,
        /// The answer.
        answer: Result<CallAnswer, CalledOff>,
    },
    /// Undecided messages have new numbers: each is further by as much as `to` is from `from`.
    Renumbered {
        /// The number of the first before.
        from: ClientSeq,
        /// Its number now.
        to: ClientSeq,
    },
    /// Tell the application.
    Event(Event),
}

impl Effect {
    /// Whether something waits for this write: a transmission, an ack, a dial.
    pub fn is_urgent(&self) -> bool {
        match self {
            // What is lost of these the server tells again.
            Self::Persist { record, .. } => {
                !matches!(record, Record::Decided { .. } | Record::Marked { .. })
            }
            Self::Dial(_)
            | Self::Hangup
            | Self::Transmit(_)
            | Self::RefreshTokens
            | Self::Called { .. }
            | Self::Renumbered { .. }
            | Self::Event(_) => false,
        }
    }
}

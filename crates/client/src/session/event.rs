//! What a session tells its application.

use iris_core::code::Code;
use iris_core::id::{AccountId, MsgId};
use iris_core::mark::Mark;
use iris_core::seq::{ClientSeq, InboxSeq};
use iris_core::signal::{Presence, Typing};

use crate::groups::Skipped;
use crate::place::Place;

/// Something that the application may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server serves this device from now on.
    Connected {
        /// The server's number for the connection.
        connection: u64,
        /// The newest place of the inbox.
        head: InboxSeq,
    },
    /// It does not any more; the session comes back by itself.
    Disconnected {
        /// Why.
        why: Why,
        /// When it tries again.
        retry_in_ms: u64,
    },
    /// One place of the inbox, in order, each once; it is on the disk.
    Placed(Place),
    /// One place of a large group, in its order, each once; it is on the disk. It has no place in an
    /// inbox.
    Logged(Place),
    /// Messages are gone from the server before they were read: those up to this place.
    Missed {
        /// The last of them.
        upto: InboxSeq,
    },
    /// A message was decided.
    Decided {
        /// Its number.
        client_seq: ClientSeq,
        /// Its name.
        msg_id: MsgId,
        /// What became of it.
        outcome: Outcome,
    },
    /// The server could not take a message yet; it is sent again.
    Nacked {
        /// From which number on.
        client_seq: ClientSeq,
        /// Why.
        code: u32,
        /// When it is sent again: never before the server wants it.
        retry_in_ms: u32,
    },
    /// The device told the server that everything up to here is on its disk.
    Acked {
        /// The last place.
        upto: InboxSeq,
    },
    /// A place of the inbox was skipped: a defect of the server. The session connects again.
    Gap {
        /// The place that should have come.
        expected: InboxSeq,
        /// The one that came.
        found: InboxSeq,
    },
    /// A place of a group was skipped: a defect of the server, or messages that are past their retention.
    GroupGap(Skipped),
    /// A conversation was received or read further; values that are 0 say nothing new.
    Marked {
        /// With whom.
        with: AccountId,
        /// How far.
        mark: Mark,
    },
    /// Somebody who is watched came, left, or does not show it.
    Presence {
        /// Who.
        account: AccountId,
        /// What.
        presence: Presence,
    },
    /// Somebody writes something, or stopped.
    Typing(Typing),
    /// The session does not try any more, until a person does something about it.
    Stopped(Stop),
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable and will be delivered.
    Accepted,
    /// It was refused for good.
    Refused {
        /// Why.
        code: u32,
    },
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The network, or silence.
    Lost(String),
    /// No edge could be reached.
    Unreachable(String),
    /// The server ended it.
    Ended {
        /// Its code.
        code: u32,
        /// Its words.
        text: String,
    },
    /// The server asked to leave.
    Leaving {
        /// Its code.
        code: u32,
    },
    /// A place of the inbox was skipped.
    Gap,
    /// The inbox goes on elsewhere.
    Snapshot,
    /// The server broke the protocol.
    Protocol(&'static str),
    /// A person asked for it.
    Asked,
}

/// Why a session does not try any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The device is not let in: it must log in again.
    #[error("the server does not let this device in ({}): log in again", said(*code, text))]
    LoggedOut {
        /// The server's code.
        code: u32,
        /// Its words.
        text: String,
    },
    /// The device lost its access.
    #[error("this device was revoked: log in again, as a new device")]
    Revoked,
    /// Another connection of this device took over.
    #[error(
        "another process uses this device's identity and took over the connection: stop it, or \
         log in with a profile of its own"
    )]
    Replaced,
    /// The program is too old.
    #[error("the server does not speak this version of the protocol any more: upgrade")]
    Upgrade,
    /// The server says that this program is wrong.
    #[error("the server refuses what this client does ({}): this is a defect, please report it", said(*code, text))]
    Refused {
        /// Its code.
        code: u32,
        /// Its words.
        text: String,
    },
    /// The server expects a number that was never bound here.
    #[error(
        "the server has messages of this device up to {}, but here the next number is {ours}: the \
         local state was restored from an older copy, or two copies of it are in use. Log in again \
         with a fresh profile", expected.prev()
    )]
    StateTooOld {
        /// The number that the server expects.
        expected: ClientSeq,
        /// The number that would be bound next.
        ours: ClientSeq,
    },
    /// The server expects a number that it has acknowledged before.
    #[error(
        "the server expects message {expected} again, though it acknowledged it before: it lost \
         acknowledged messages. This is a defect, please report it"
    )]
    ServerForgot {
        /// The number that the server expects.
        expected: ClientSeq,
        /// The lowest number that is undecided here.
        ours: ClientSeq,
    },
    /// The server acknowledged a number that was never sent.
    #[error("the server acknowledged message {acked}, which was never sent: this is a defect")]
    AckedUnsent {
        /// That number.
        acked: ClientSeq,
    },
    /// The disk refuses.
    #[error("the local state cannot be written: see the disk, then start again")]
    StoreFailed,
}

fn said(code: u32, text: &str) -> String {
    match Code::from_number(code) {
        Some(name) if text.is_empty() => format!("{code} {name:?}"),
        Some(_) | None => format!("{code} {text}"),
    }
}

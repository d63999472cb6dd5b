//! Why something asked of the client was not done, in words that say what to do.

use crate::key::KeyError;
use crate::session::{CalledOff, Stop, Unsendable};
use crate::store::StoreError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refuses; trying the same again does not help.
    #[error("{text} ({code})")]
    Refused {
        /// A code of the protocol.
        code: u32,
        /// The server's words.
        text: String,
    },
    /// The server cannot now.
    #[error("{text} ({code}): try again in {retry_after_ms} ms")]
    TryLater {
        /// A code of the protocol.
        code: u32,
        /// The server's words.
        text: String,
        /// When.
        retry_after_ms: u32,
    },
    /// No edge could be reached, or none answered.
    #[error("no edge could be reached: {0}")]
    Unreachable(String),
    /// What is configured cannot work.
    #[error("{0}")]
    Config(String),
    /// The device was neither registered nor logged in.
    #[error("this device has no account yet: register or log in first")]
    NotLoggedIn,
    /// The device has an account already.
    #[error("this device belongs to {handle} already: use another profile for another account")]
    LoggedIn {
        /// To whom.
        handle: String,
    },
    /// Nobody let this device in while it asked.
    #[error(
        "no device of {handle} let this one in: enter its link code on one of them, and try again"
    )]
    NotLinked {
        /// Whose.
        handle: String,
    },
    /// The local state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The device key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The message cannot be sent at all.
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
    /// A question without answer.
    #[error("no answer: {0}")]
    CalledOff(CalledOff),
    /// The session does not go on; what became of the message is not known.
    #[error(transparent)]
    Stopped(#[from] Stop),
    /// The client was closed; what became of the message is not known, and it is sent again when the
    /// device is opened again.
    #[error("the client was closed")]
    Closed,
    /// The server's answer is not one.
    #[error("the server's answer makes no sense: {0}")]
    Malformed(String),
}

impl ClientError {
    /// Whether the same may work later, without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::TryLater { .. } | Self::Unreachable(_) => true,
            Self::CalledOff(off) => *off == CalledOff::TimedOut,
            Self::Refused { .. }
            | Self::Config(_)
            | Self::NotLoggedIn
            | Self::LoggedIn { .. }
            | Self::NotLinked { .. }
            | Self::Store(_)
            | Self::Key(_)
            | Self::Unsendable(_)
            | Self::Stopped(_)
            | Self::Closed
            | Self::Malformed(_) => false,
        }
    }

    /// Whether the device must log in before anything works.
    pub fn needs_login(&self) -> bool {
        match self {
            Self::NotLoggedIn => true,
            Self::Refused { code, .. } => (2000..3000).contains(code),
            Self::Stopped(stop) => matches!(stop, Stop::LoggedOut { .. } | Stop::Revoked),
            _ => false,
        }
    }
}

impl From<CalledOff> for ClientError {
    fn from(off: CalledOff) -> Self {
        match off {
            CalledOff::Refused { code, text } => Self::Refused { code, text },
            CalledOff::TimedOut
            | CalledOff::TooMany
            | CalledOff::Stopped
            | CalledOff::Malformed => Self::CalledOff(off),
        }
    }
}

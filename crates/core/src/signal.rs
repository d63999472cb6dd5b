//! Signals: what is worth telling only now. They have no number and no place in any log; one that is
//! lost is not missed.

use crate::clock::WallMs;
use crate::id::{AccountId, DeviceNo};
use crate::message::Address;

/// What one shard signals to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Somebody writes something, or stops.
    Typing(Typing),
    /// An account wants to know whether another one is there, for a while, or does not any more.
    Watch {
        /// Who wants to know.
        by: AccountId,
        /// About whom.
        of: AccountId,
        /// Whether they still want to.
        on: bool,
    },
    /// Whether an account is there, for those who watch it.
    Presence {
        /// Whose presence.
        of: AccountId,
        /// Who is told.
        to: Vec<AccountId>,
        /// What.
        presence: Presence,
    },
}

/// Somebody writes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Typing {
    /// Who.
    pub from: AccountId,
    /// On which device.
    pub device: DeviceNo,
    /// To whom.
    pub to: Address,
    /// What: the client's business; 0 when they stopped.
    pub kind: u32,
}

/// Whether somebody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// They are.
    Online,
    /// They are not; since then.
    Offline(WallMs),
    /// They do not show it.
    Hidden,
}

impl Signal {
    /// The account that it is about or for: its shard takes the signal.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Typing(typing) => match typing.to {
                Address::Account(account) => Some(account),
                Address::Group(_) => None,
            },
            Self::Watch { of, .. } => Some(*of),
            Self::Presence { to, .. } => to.first().copied(),
        }
    }
}

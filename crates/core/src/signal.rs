//! Signals: what is worth telling only now. They have no number and no place in any log; one that is
//! lost is not missed.

use crate::clock::WallMs;
use crate::id::{AccountId, DeviceNo, GroupId, ShardId};
use crate::message::Address;
use crate::seq::{ConvSeq, OutboxSeq};

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
    /// Somebody writes something to a group of these.
    TypingInGroup {
        /// What.
        typing: Typing,
        /// Who is told: members on one shard.
        to: Vec<AccountId>,
    },
    /// Members of a large group are there, on a shard that wants to know its newest place for a while,
    /// or does not any more.
    WatchGroup {
        /// The shard.
        by: ShardId,
        /// The group.
        group: GroupId,
        /// Whether it still wants to.
        on: bool,
    },
    /// Everything of a large group up to here may be read, for those who watch it.
    Head {
        /// Which group.
        group: GroupId,
        /// The shard that is told.
        to: ShardId,
        /// Up to where.
        head: ConvSeq,
        /// It counts once items of the group's shard below this number are taken by the one that is told:
        /// they have every change of who is in it up to there.
        items: OutboxSeq,
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

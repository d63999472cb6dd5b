//! A message as its sender wrote it, and a notice of its refusal.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::{Hlc, WallMs};
use crate::code::Code;
use crate::group::{Change, InGroup, Place, Reach};
use crate::id::{AccountId, DeviceNo, GroupId, MsgId, ShardCount, ShardId};
use crate::limits;
use crate::mark::Receipt;
use crate::seq::{ClientSeq, ConvSeq};

/// To whom a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A person.
    Account(AccountId),
    /// A group.
    Group(GroupId),
}

impl Address {
    /// The shard that takes messages for this address.
    pub fn shard(self, count: ShardCount) -> ShardId {
        match self {
            Self::Account(account) => account.shard(count),
            Self::Group(group) => group.shard(count),
        }
    }
}

/// The ciphertexts of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bodies {
    /// One for every device.
    Shared(Bytes),
    /// One for each device that the sender knew of.
    PerDevice(Vec<(DeviceNo, Bytes)>),
}

impl Bodies {
    /// What `device` gets; nothing when the sender did not know it.
    pub fn of_device(&self, device: DeviceNo) -> Option<&Bytes> {
        match self {
            Self::Shared(body) => Some(body),
            Self::PerDevice(bodies) => {
                bodies.iter().find(|(d, _)| *d == device).map(|(_, body)| body)
            }
        }
    }

    /// All bytes together.
    pub fn len(&self) -> usize {
        match self {
            Self::Shared(body) => body.len(),
            Self::PerDevice(bodies) => bodies.iter().map(|(_, body)| body.len()).sum(),
        }
    }

    /// Whether there is not a byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every bound of [`limits`] holds.
    pub fn within_limits(&self) -> bool {
        match self {
            Self::Shared(body) => body.len() <= limits::BODY_BYTES_MAX,
            Self::PerDevice(bodies) => {
                bodies.len() <= limits::DEVICES_MAX
                    && bodies.iter().all(|(_, body)| body.len() <= limits::BODY_BYTES_MAX)
                    && self.len() <= limits::BODIES_BYTES_MAX
            }
        }
    }
}

/// A message, with the clock that its sender's shard gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who wrote it.
    pub sender: AccountId,
    /// On which device.
    pub sender_device: DeviceNo,
    /// Under which number of that device.
    pub client_seq: ClientSeq,
    /// Names it everywhere.
    pub msg_id: MsgId,
    /// To whom.
    pub to: Address,
    /// Its ciphertexts.
    pub bodies: Bodies,
    /// Wall-clock milliseconds after which nobody needs it; 0 for never.
    pub expires_at_ms: u64,
    /// When the sender's shard accepted it.
    pub clock: Hlc,
    /// What it does to an earlier message, if it is not one of its own.
    pub about: Option<About>,
    /// What a message to a group carries besides; nothing for one to an account.
    pub group: Option<Box<InGroup>>,
}

/// What a message does to an earlier one of its conversation. The new text, or the reaction, is in the
/// bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// What.
    pub act: Act,
    /// Who wrote the earlier one.
    pub author: AccountId,
    /// The earlier one.
    pub msg_id: MsgId,
    /// Its clock.
    pub clock: Hlc,
    /// Its place in its group; 0 in a conversation of two.
    pub place: ConvSeq,
}

/// What may be done to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Its text is another one.
    Edit,
    /// It is erased for everybody.
    Delete,
    /// Somebody reacts to it.
    React,
}

impl Message {
    /// The message that this one erases.
    pub fn erases(&self) -> Option<&About> {
        self.about.as_ref().filter(|about| about.act == Act::Delete)
    }

    /// The conversation that it belongs to, as `account` sees it: with whom, or in which group.
    pub fn conversation(&self, account: AccountId) -> Address {
        match self.to {
            Address::Account(to) if to == account && self.sender != account => {
                Address::Account(self.sender)
            }
            to => to,
        }
    }

    /// Its place in its group's order, once it has one.
    pub fn place(&self) -> Option<Place> {
        self.group.as_ref().and_then(|group| group.place)
    }

    /// What it changes in its group.
    pub fn change(&self) -> Option<&Change> {
        self.group.as_ref().and_then(|group| group.change.as_ref())
    }

    /// Whether rows hold its body once for the whole group, not in each inbox.
    pub fn is_kept_apart(&self) -> bool {
        self.place().is_some_and(|place| place.reach != Reach::Inline)
    }

    /// Itself without its body: what the sender's inbox has of a message to a group until the group
    /// gave it its place.
    #[must_use]
    pub fn without_body(&self) -> Self {
        Self { bodies: Bodies::Shared(Bytes::new()), ..self.clone() }
    }

    /// Whether nobody needs it any more.
    pub fn is_expired(&self, now: WallMs) -> bool {
        self.expires_at_ms != 0 && self.expires_at_ms <= now.0
    }

    /// Roughly what it weighs in memory, on the wire and in a row.
    pub fn weight(&self) -> usize {
        96 + self.bodies.len() + self.group.as_ref().map_or(0, |group| group.weight())
    }
}

/// A message that its destination refused, on its way back to the sender's devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// The sender.
    pub account: AccountId,
    /// The device that sent.
    pub device: DeviceNo,
    /// Its number.
    pub client_seq: ClientSeq,
    /// The message.
    pub msg_id: MsgId,
    /// Why.
    pub code: Code,
}

/// What one shard's outbox carries to another shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parcel {
    /// For an inbox.
    Message(Arc<Message>),
    /// Back to a sender.
    Notice(Notice),
    /// Back to a sender, too: how far somebody received and read.
    Receipt(Receipt),
    /// For the inboxes of a group's members on one shard.
    ForMembers(Arc<Message>, Vec<AccountId>),
    /// Back to a group: these could not be members, whom the message at this place brought in.
    Declined(GroupId, ConvSeq, Vec<AccountId>),
}

impl Parcel {
    /// The accounts that it is for.
    pub fn accounts(&self) -> Vec<AccountId> {
        match self {
            Self::Message(message) => match message.to {
                Address::Account(account) => vec![account],
                Address::Group(_) => Vec::new(),
            },
            Self::Notice(notice) => vec![notice.account],
            Self::Receipt(receipt) => vec![receipt.to],
            Self::ForMembers(_, members) => members.clone(),
            Self::Declined(..) => Vec::new(),
        }
    }

    /// The group that it is for.
    pub fn group(&self) -> Option<GroupId> {
        match self {
            Self::Message(message) => match message.to {
                Address::Account(_) => None,
                Address::Group(group) => Some(group),
            },
            Self::Declined(group, _, _) => Some(*group),
            Self::Notice(_) | Self::Receipt(_) | Self::ForMembers(..) => None,
        }
    }

    /// Roughly what it weighs.
    pub fn weight(&self) -> usize {
        match self {
            Self::Message(message) => message.weight(),
            Self::Notice(_) | Self::Receipt(_) => 64,
            Self::ForMembers(message, members) => message.weight() + 18 * members.len(),
            Self::Declined(_, _, members) => 64 + 18 * members.len(),
        }
    }
}

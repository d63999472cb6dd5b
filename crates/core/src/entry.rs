//! Log entries: what was decided for one shard at one position.
//!
//! An entry holds the numbers, the clock and the outcome, never the request, so that a replay decides
//! nothing again, whatever the time or the version of the code.

use std::sync::Arc;

use crate::clock::{Hlc, WallMs};
use crate::code::Code;
use crate::group::Heir;
use crate::id::{AccountId, DeviceNo, GroupId, PublicKey, ShardId};
use crate::mark::Receipt;
use crate::message::{Address, Message, Notice};
use crate::relation::Wish;
use crate::seq::{ClientSeq, Epoch, InboxSeq, OutboxSeq, ShardSeq};

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// For which shard.
    pub shard: ShardId,
    /// Under which ownership.
    pub epoch: Epoch,
    /// At which position.
    pub seq: ShardSeq,
    /// The shard's clock.
    pub clock: Hlc,
    /// What.
    pub op: Op,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// An account came to be.
    AccountCreated {
        /// Which.
        account: AccountId,
    },
    /// A device joined its account.
    DeviceAdded {
        /// The account.
        account: AccountId,
        /// Its number in the account.
        device: DeviceNo,
        /// The key that it proves itself by.
        key: PublicKey,
        /// What its owner calls it.
        name: String,
        /// It is given the inbox behind this place; nothing in entries of versions before, whose devices
        /// began at the head.
        start: Option<InboxSeq>,
    },
    /// A device lost its access for ever.
    DeviceRevoked {
        /// The account.
        account: AccountId,
        /// Which of its devices.
        device: DeviceNo,
    },
    /// A refresh token was used: only these two generations are good now.
    RefreshRotated {
        /// The account.
        account: AccountId,
        /// Which of its devices.
        device: DeviceNo,
        /// The generation handed out by this decision.
        current: u32,
        /// The generation that asked for it: good until `current` is used.
        previous: u32,
    },
    /// A message was accepted from its sender.
    Sent {
        /// The message.
        message: Arc<Message>,
        /// Its place in the sender's own inbox.
        inbox_seq: InboxSeq,
        /// Where it goes next.
        slot: Slot,
    },
    /// A send was refused for good; its number is consumed.
    SendRefused {
        /// The sender.
        account: AccountId,
        /// The device.
        device: DeviceNo,
        /// The number.
        client_seq: ClientSeq,
        /// Why.
        code: Code,
    },
    /// An item of another shard's outbox was taken.
    Received {
        /// The other shard.
        from: ShardId,
        /// The item's number.
        outbox_seq: OutboxSeq,
        /// What became of it.
        outcome: Received,
    },
    /// An account wishes something of others.
    Wished {
        /// The account.
        account: AccountId,
        /// What.
        wish: Wish,
    },
    /// An account received and read what another one wrote.
    Marked {
        /// Who received and read.
        account: AccountId,
        /// Who wrote.
        with: AccountId,
        /// Up to where it was read, for the account's other devices, and the version of that change.
        own_read: Option<(Hlc, u64)>,
        /// What the other one is told.
        receipt: Option<(Receipt, Slot)>,
    },
    /// What may be lost without harm, written once a flush.
    Progress(Progress),
}

/// A place in the outbox towards one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The destination.
    pub to: ShardId,
    /// The number, dense for the pair of shards.
    pub seq: OutboxSeq,
}

/// The members of a group on one shard, and the outbox towards it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The item.
    pub slot: Slot,
    /// For whom.
    pub members: Vec<AccountId>,
}

/// What became of an item from another shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// It has a place in an inbox.
    Delivered {
        /// Whose.
        account: AccountId,
        /// Which.
        inbox_seq: InboxSeq,
        /// The message.
        message: Arc<Message>,
    },
    /// It was refused, and a notice goes back.
    Refused {
        /// The notice.
        notice: Notice,
        /// Its place in the outbox back.
        slot: Slot,
    },
    /// It was a notice, and has a place in its sender's inbox.
    Noticed {
        /// Which.
        inbox_seq: InboxSeq,
        /// The notice.
        notice: Notice,
    },
    /// It was a receipt, and is the account's mark of this version.
    Marked {
        /// The receipt.
        receipt: Receipt,
        /// The version.
        version: u64,
    },
    /// It had no effect: it was for an account that is gone, or by somebody who is blocked.
    Dropped,
    /// A group took it, or made it itself.
    Ordered {
        /// The message, with its place.
        message: Arc<Message>,
        /// The members who get it, by the outboxes that bring it to them.
        targets: Vec<Target>,
        /// Who becomes an admin by it.
        heir: Heir,
    },
    /// It has a place in the inboxes of these members of its group.
    Shared {
        /// The message.
        message: Arc<Message>,
        /// Whose, and which.
        places: Vec<(AccountId, InboxSeq)>,
        /// Those who cannot be members, and the place in the outbox by which their group is told.
        declined: Option<(Vec<AccountId>, Slot)>,
    },
}

/// Cursors, confirmations and floors that moved since the last such entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Devices that have everything up to a place on their own disks.
    pub cursors: Vec<(AccountId, DeviceNo, InboxSeq)>,
    /// Outboxes confirmed by their destination up to a number.
    pub confirmations: Vec<(ShardId, OutboxSeq)>,
    /// Inboxes whose retention has passed up to a place.
    pub floors: Vec<(AccountId, InboxSeq)>,
    /// Accounts whose last device left, and when.
    pub seen: Vec<(AccountId, WallMs)>,
}

impl Progress {
    /// Whether nothing moved.
    pub fn is_empty(&self) -> bool {
        self.cursors.is_empty()
            && self.confirmations.is_empty()
            && self.floors.is_empty()
            && self.seen.is_empty()
    }
}

impl Entry {
    /// Roughly its bytes in a block: an upper bound, as a block's limit is checked by it.
    pub fn weight(&self) -> usize {
        48 + match &self.op {
            Op::AccountCreated { .. } => 24,
            Op::DeviceAdded { name, .. } => 72 + name.len(),
            Op::DeviceRevoked { .. } | Op::RefreshRotated { .. } | Op::SendRefused { .. } => 48,
            Op::Sent { message, .. } => 24 + message_weight(message),
            Op::Received { outcome, .. } => match outcome {
                Received::Delivered { message, .. } => 48 + message_weight(message),
                Received::Refused { .. } | Received::Noticed { .. } => 96,
                Received::Marked { .. } => 80,
                Received::Dropped => 8,
                Received::Ordered { message, targets, heir: _ } => {
                    let members: usize = targets.iter().map(|target| target.members.len()).sum();
                    48 + message_weight(message) + 18 * members + 24 * targets.len()
                }
                Received::Shared { message, places, declined } => {
                    let declined = declined.as_ref().map_or(0, |(who, _)| 24 + 18 * who.len());
                    24 + message_weight(message) + 32 * places.len() + declined
                }
            },
            Op::Wished { .. } => 56,
            Op::Marked { .. } => 144,
            Op::Progress(progress) => {
                40 * progress.cursors.len()
                    + 20 * progress.confirmations.len()
                    + 36 * (progress.floors.len() + progress.seen.len())
            }
        }
    }

    /// The accounts whose state this entry changes.
    pub fn accounts(&self) -> Vec<AccountId> {
        match &self.op {
            Op::AccountCreated { account }
            | Op::DeviceAdded { account, .. }
            | Op::DeviceRevoked { account, .. }
            | Op::RefreshRotated { account, .. }
            | Op::SendRefused { account, .. }
            | Op::Wished { account, .. }
            | Op::Marked { account, .. } => vec![*account],
            Op::Sent { message, .. } => vec![message.sender],
            Op::Received { outcome, .. } => match outcome {
                Received::Delivered { account, .. } => vec![*account],
                Received::Noticed { notice, .. } => vec![notice.account],
                Received::Marked { receipt, .. } => vec![receipt.to],
                Received::Shared { places, .. } => places.iter().map(|place| place.0).collect(),
                Received::Refused { .. } | Received::Dropped | Received::Ordered { .. } => {
                    Vec::new()
                }
            },
            Op::Progress(progress) => {
                let mut accounts: Vec<_> = progress.cursors.iter().map(|c| c.0).collect();
                accounts.extend(progress.floors.iter().map(|f| f.0));
                accounts.extend(progress.seen.iter().map(|s| s.0));
                accounts.sort_unstable();
                accounts.dedup();
                accounts
            }
        }
    }
}

impl Entry {
    /// The group whose state this entry changes.
    pub fn group(&self) -> Option<GroupId> {
        match &self.op {
            Op::Received { outcome: Received::Ordered { message, .. }, .. } => match message.to {
                Address::Group(group) => Some(group),
                Address::Account(_) => None,
            },
            _ => None,
        }
    }
}

fn message_weight(message: &Message) -> usize {
    let per_body = match (&message.bodies, message.to) {
        (crate::message::Bodies::Shared(_), Address::Account(_) | Address::Group(_)) => 8,
        (crate::message::Bodies::PerDevice(bodies), _) => 12 * bodies.len(),
    };
    let about = if message.about.is_some() { 64 } else { 0 };
    let group = message.group.as_ref().map_or(0, |group| group.weight());
    128 + per_body + about + group + message.bodies.len()
}

//! Histories: what clients and processes saw, one event after the other.
//!
//! A history comes from the simulator, from `iris soak`, or from a test on a cluster; the checkers do
//! not care. As a file it is one JSON object a line. Whatever is named in it has a number of its own;
//! every message has a body of its own, so that nothing is taken for something else.

mod file;
mod index;

use serde::{Deserialize, Serialize};

pub use file::{ReadError, read, write};
pub use index::{Block, DeviceLog, Index, Placed, Sending};

/// An account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountNo(pub u32);

/// A group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupNo(pub u32);

/// A message, wherever it is: the sender put the number into its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageNo(pub u64);

/// An owner session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionNo(pub u32);

/// A device of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Device {
    /// Whose it is.
    pub account: AccountNo,
    /// Which of the account's.
    pub device: u32,
}

/// To whom a message goes, as its sender says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A person.
    Account(AccountNo),
    /// A group.
    Group(GroupNo),
}

/// A lane of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// Whose it is.
    pub session: SessionNo,
    /// Which of the session's.
    pub lane: u8,
}

/// A message as a device has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Its name.
    pub message: MessageNo,
    /// Which device sent it.
    pub from: Device,
    /// To whom.
    pub to: Target,
    /// The clock that orders the conversation.
    pub clock: u64,
    /// Its number in the group; nothing in a conversation of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conv_seq: Option<u64>,
    /// A hash of its body; 0 where the device is not told the body of what it sent itself.
    pub body: u64,
}

/// What is at a place of an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A message to the account or one of its groups.
    Message(Message),
    /// A copy of what the account sent, for its own devices.
    Own(Message),
    /// A message of the account was refused at its destination.
    Notice {
        /// Which.
        message: MessageNo,
        /// Why.
        code: u32,
    },
    /// Erased, expired, or not for this device.
    Hole,
}

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Accepted and durable.
    Accepted,
    /// Refused for good.
    Refused(u32),
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, in microseconds of a clock that the whole history shares.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. The first group is what clients see; the checkers find every loss by that alone. The
/// others explain it, and say what the run consisted of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A device begins behind a place of its account's inbox.
    Linked {
        /// Which.
        device: Device,
        /// The stream whose places count.
        stream: u32,
        /// The last place that it is not given.
        start: u64,
    },
    /// A device lost its access: nothing more is owed to it.
    Revoked {
        /// Which.
        device: Device,
    },
    /// A message got its number on the device's disk and is sent for the first time.
    Send {
        /// By which device.
        by: Device,
        /// The device's number for it.
        number: u64,
        /// The message.
        message: MessageNo,
        /// To whom.
        to: Target,
        /// A hash of the body.
        body: u64,
        /// When nobody needs it any more, in this history's clock; 0 for never.
        #[serde(default)]
        expires_at: u64,
    },
    /// The same, sent again.
    SendAgain {
        /// By which device.
        by: Device,
        /// Its number.
        number: u64,
    },
    /// The device is told what became of a send; every time that it is told.
    Decided {
        /// Which device.
        by: Device,
        /// Its number.
        number: u64,
        /// What.
        outcome: Outcome,
    },
    /// The device is told to send a number, and all above, again: nothing is decided.
    PutOff {
        /// Which device.
        by: Device,
        /// The lowest number.
        number: u64,
        /// Why.
        code: u32,
    },
    /// The device's connection ended: what waits for an answer gets none on it.
    Disconnected {
        /// Which device.
        by: Device,
    },
    /// A place is on a device's disk.
    Applied {
        /// Which device.
        by: Device,
        /// The stream that places count in.
        stream: u32,
        /// Which place.
        place: u64,
        /// What is there.
        item: Item,
    },
    /// A place that the device had came again.
    Repeated {
        /// Which device.
        by: Device,
        /// The stream that places count in.
        stream: u32,
        /// Which place.
        place: u64,
        /// What is there.
        item: Item,
    },
    /// A device was handed a place behind one that it does not have.
    Gap {
        /// Which device.
        by: Device,
        /// The one it should have been.
        expected: u64,
        /// The one that it was.
        found: u64,
    },
    /// A device was told that places are past their retention.
    Skipped {
        /// Which device.
        by: Device,
        /// The stream from now on.
        stream: u32,
        /// The last place that is gone.
        floor: u64,
    },
    /// A device has everything up to the head of its account's inbox.
    Drained {
        /// Which device.
        by: Device,
        /// The stream that places count in.
        stream: u32,
        /// The head.
        head: u64,
    },
    /// A person read a conversation up to a clock.
    Read {
        /// On which device.
        by: Device,
        /// Which conversation: the other person, or the group.
        conversation: Target,
        /// Up to where.
        clock: u64,
        /// Whether the other side may know.
        private: bool,
    },
    /// A device is told how far somebody else received and read what it sent.
    Receipt {
        /// Which device.
        by: Device,
        /// Who received and read.
        of: AccountNo,
        /// Everything up to this clock is on a device of theirs.
        delivered: u64,
        /// Everything up to this clock was read.
        read: u64,
    },
    /// A device is told whether somebody is there.
    Presence {
        /// Which device.
        by: Device,
        /// Whose presence.
        of: AccountNo,
        /// Whether they are there.
        online: bool,
    },
    /// An account is there with its first device, or gone with its last.
    Here {
        /// Which.
        account: AccountNo,
        /// Whether it is.
        here: bool,
    },
    /// A device watches whether an account is there, or does not any more.
    Watches {
        /// Which device.
        by: Device,
        /// Whom.
        of: AccountNo,
        /// Whether it does.
        on: bool,
    },
    /// An account blocks another one, or does not any more: as its device was told.
    Blocks {
        /// Who.
        account: AccountNo,
        /// Whom.
        whom: AccountNo,
        /// Whether it does.
        on: bool,
        /// When it was asked for.
        asked_at: u64,
    },
    /// A device of an account has it on its disk that a message was erased for everybody.
    Erased {
        /// Whose device.
        account: AccountNo,
        /// Which message.
        message: MessageNo,
    },
    /// A device has a place of a group at which somebody came in, or went out: whoever goes gets that
    /// place, and nothing behind it.
    Member {
        /// Which device.
        by: Device,
        /// The group.
        group: GroupNo,
        /// The place.
        conv_seq: u64,
        /// Who.
        account: AccountNo,
        /// Whether they came.
        joined: bool,
    },
    /// A device has it that messages of a group behind this place are not in inboxes: they are read from
    /// the group's log.
    Pulls {
        /// The group.
        group: GroupNo,
        /// The place.
        behind: u64,
    },
    /// A device has a place of a group that erases one of its messages.
    ErasedInGroup {
        /// The group.
        group: GroupNo,
        /// What is erased.
        message: MessageNo,
        /// The place of what erases it.
        conv_seq: u64,
    },
    /// At the end, when nothing is under way any more, a row of a group's log has the body of a message
    /// that was erased.
    BodyKept {
        /// The group.
        group: GroupNo,
        /// Which message.
        message: MessageNo,
    },
    /// A page of a large group's log, in the order in which it came.
    LogPage {
        /// Which device.
        by: Device,
        /// The group.
        group: GroupNo,
        /// The place behind which it was asked for.
        behind: u64,
        /// The newest place that the device was told of before it asked; 0 for none.
        told: u64,
        /// Whether there may be more behind it.
        more: bool,
        /// The messages; their bodies are 0 where they have none.
        messages: Vec<Message>,
    },
    /// A device has everything of a large group's log up to its head.
    LogDrained {
        /// Which device.
        by: Device,
        /// The group.
        group: GroupNo,
        /// The head.
        head: u64,
    },
    /// History was read; when it was asked for, and what came.
    Fetched {
        /// By which device.
        by: Device,
        /// When it was asked for.
        asked_at: u64,
        /// Of which conversation: the other person, or the group.
        conversation: Target,
        /// No message with this clock or a higher one is missing, of those that the account had when
        /// it asked; nothing where history is not kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        whole_from: Option<u64>,
        /// The messages, with their bodies.
        messages: Vec<MessageNo>,
    },

    /// A session claimed an epoch of a shard.
    Claimed {
        /// The shard.
        shard: u32,
        /// The epoch.
        epoch: u32,
        /// The session.
        session: SessionNo,
    },
    /// A session released its epoch of a shard.
    Released {
        /// The shard.
        shard: u32,
        /// The epoch.
        epoch: u32,
    },
    /// A fence was written, durably.
    Fenced {
        /// Whose.
        session: SessionNo,
    },
    /// A lane released blocks: what they hold may be told.
    LetGo {
        /// Which lane.
        lane: Lane,
        /// The first block that was not released.
        upto: u64,
        /// When the fence read began that allowed it.
        read_began: u64,
    },
    /// A lane's end was decided, as somebody learned it.
    Sealed {
        /// Which lane.
        lane: Lane,
        /// The first block that does not exist.
        end: u64,
    },
    /// The sealed part of a lane was read: the hash of its last block, which holds all before.
    SealedRead {
        /// Which lane.
        lane: Lane,
        /// The hash.
        hash: String,
    },

    /// A planned move began.
    MoveBegan {
        /// Of which shard.
        shard: u32,
    },
    /// A planned move ended.
    MoveEnded {
        /// Of which shard.
        shard: u32,
    },
    /// Who should own a shard changed.
    Desired {
        /// Which shard.
        shard: u32,
        /// Every session that should own it.
        owners: Vec<SessionNo>,
        /// Whether a declared move or a recorded failover is the reason.
        declared: bool,
    },
    /// Something was broken on purpose.
    Fault {
        /// What.
        kind: String,
    },
    /// Nothing is broken any more: from now on everything must settle.
    Healed,
    /// Everything that people look at said that it is well.
    Ready,
    /// The history ends.
    End,
    /// Something bounded was looked at.
    Gauge {
        /// What.
        name: String,
        /// How much it was.
        value: f64,
        /// How much it may be.
        max: f64,
    },
    /// An act that must be in the audit log.
    Audited {
        /// Names the act.
        act: String,
    },
    /// An entry of the audit log, as read at the end.
    AuditEntry {
        /// Its number.
        seq: u64,
        /// The hash that it says the entry before has.
        prev: String,
        /// Its own hash.
        hash: String,
        /// The act.
        act: String,
    },
    /// A canary was found where no plaintext may be.
    CanaryFound {
        /// Where.
        place: String,
    },
    /// Something was looked through for canaries.
    CanarySearched {
        /// What.
        place: String,
        /// How many bytes.
        bytes: u64,
    },
}

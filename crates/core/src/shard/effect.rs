//! What comes out of a shard.

use std::sync::Arc;

use crate::account::InboxItem;
use crate::code::Code;
use crate::entry::Entry;
use crate::group::{Membership, RosterPage};
use crate::id::{AccountId, DeviceNo, GroupId, PublicKey, ShardId};
use crate::mark::Mark;
use crate::message::Message;
use crate::relation::Relations;
use crate::seq::{ClientSeq, ConvSeq, InboxSeq, OutboxSeq};
use crate::signal::{Presence, Signal, Typing};

use super::hot::Conn;
use super::input::{Fetch, HistoryPoint, LinkNo, Token};
use super::outbox::OutboxItem;
use super::pulls::LogFetch;

/// What a shard wants done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Put this into the lane's open block.
    Append(Entry),
    /// Tell a client; waits for nothing but a valid fence read.
    ToConn {
        /// Which.
        conn: Conn,
        /// What.
        what: ToConn,
    },
    /// Answer a question of the directory; waits for nothing but a valid fence read.
    Answer {
        /// Which.
        token: Token,
        /// The answer.
        answer: DirectoryAnswer,
    },
    /// Read an account's row.
    Load(AccountId),
    /// Read an inbox: the places in `after+1 ..= upto`, as many as `INBOX_LOAD_BYTES` hold.
    LoadInbox {
        /// Whose.
        account: AccountId,
        /// The last place that is not wanted.
        after: InboxSeq,
        /// The last place that is.
        upto: InboxSeq,
    },
    /// Read the places `after+1 ..= upto` of an inbox, as [`Effect::LoadInbox`] does, for the receipts
    /// that nobody made of them.
    ReadForReceipts {
        /// Whose inbox.
        account: AccountId,
        /// The last place that is not wanted.
        after: InboxSeq,
        /// The last place that is.
        upto: InboxSeq,
    },
    /// Read the marks of an account with versions above `above`, behind the conversation `after`.
    LoadMarks {
        /// Whose.
        account: AccountId,
        /// For whom.
        conn: Conn,
        /// The version that the device knows.
        above: u64,
        /// The last conversation that was read.
        after: Option<AccountId>,
    },
    /// Read a page of history.
    Fetch {
        /// Whose.
        account: AccountId,
        /// Who asked.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// What.
        fetch: Fetch,
    },
    /// Read a group: its row and its whole roster.
    LoadGroup(GroupId),
    /// Read a part of a group's roster, for a member.
    ReadRoster {
        /// Who asked.
        account: AccountId,
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// Which group.
        group: GroupId,
        /// Behind whom.
        after: Option<AccountId>,
    },
    /// Read a part of a group's log, for a member.
    ReadLog {
        /// Who asked.
        account: AccountId,
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// What.
        fetch: LogFetch,
    },
    /// Signal to another shard. May be lost.
    Signal {
        /// Which.
        to: ShardId,
        /// What.
        signal: Signal,
    },
    /// Push released items to another shard, in order.
    Push {
        /// The destination.
        to: ShardId,
        /// The items.
        items: Vec<OutboxItem>,
    },
    /// Tell a source that every item up to `upto` is committed here.
    Confirm {
        /// The link that it pushes by; nothing within one lane.
        link: Option<LinkNo>,
        /// The source.
        from: ShardId,
        /// Up to where.
        upto: OutboxSeq,
    },
    /// Tell a source which item is wanted next.
    Expect {
        /// The link that it pushes by; nothing within one lane.
        link: Option<LinkNo>,
        /// The source.
        from: ShardId,
        /// The one that is wanted.
        next: OutboxSeq,
    },
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToConn {
    /// It is served from now on.
    Attached(Attached),
    /// Every number up to this one is decided.
    SendAck {
        /// The number.
        client_seq: ClientSeq,
        /// The refused ones among those that were not told before.
        refusals: Vec<(ClientSeq, Code)>,
    },
    /// This number and all above it consumed nothing.
    SendNack {
        /// The number.
        client_seq: ClientSeq,
        /// Why.
        code: Code,
        /// When to send again.
        retry_after_ms: u32,
    },
    /// Contiguous places of the inbox.
    Deliver {
        /// For which device the bodies are.
        device: DeviceNo,
        /// Never empty.
        items: Vec<InboxItem>,
    },
    /// Marks that changed.
    Marks {
        /// With whom, and how far.
        marks: Vec<(AccountId, Mark)>,
        /// The device now knows every change up to this version; nothing when more follow first.
        version: Option<u64>,
    },
    /// Somebody whom it watches is there, or is not.
    Presence {
        /// Who.
        of: AccountId,
        /// Whether.
        presence: Presence,
    },
    /// Somebody writes something to it, or to a group of its account.
    Typing(Typing),
    /// A large group has messages up to this place that it may read.
    Head {
        /// Which group.
        group: GroupId,
        /// Up to where.
        head: ConvSeq,
    },
    /// A page of a large group's log, in its order.
    LogPage {
        /// Its correlation id.
        corr: u32,
        /// For which device the bodies are.
        device: DeviceNo,
        /// The messages.
        messages: Vec<Arc<Message>>,
        /// Whether there may be more behind them.
        more: bool,
    },
    /// A page of history, newest first.
    Page {
        /// Its correlation id.
        corr: u32,
        /// For which device the bodies are.
        device: DeviceNo,
        /// The messages.
        items: Vec<InboxItem>,
        /// Older ones are before this point, if there may be any.
        next: Option<HistoryPoint>,
    },
    /// The answer to a call.
    Result {
        /// Its correlation id.
        corr: u32,
        /// The answer.
        answer: CallAnswer,
    },
    /// The end of this connection's service.
    Closed {
        /// Why.
        code: Code,
        /// In words.
        text: &'static str,
    },
}

/// The state of the account's streams when the connection was attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The cursor names what is not here any more: start again from the floor.
    pub snapshot_needed: bool,
    /// The generation of the inbox's numbers.
    pub stream_gen: u32,
    /// Deliveries begin behind this place.
    pub start: InboxSeq,
    /// The newest place.
    pub head: InboxSeq,
    /// The last place that is past its retention.
    pub floor: InboxSeq,
    /// The number that the device's next send must carry.
    pub next_client_seq: ClientSeq,
}

/// The answer to a call of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallAnswer {
    /// The devices of the account.
    Devices(Vec<DeviceSummary>),
    /// The account has this device.
    Linked(DeviceNo),
    /// It is done.
    Done,
    /// What the account wishes of others.
    Wishes(Box<Relations>),
    /// The groups that the account is in, or was in of late.
    Groups(Vec<(GroupId, Membership)>),
    /// Who is in a group.
    Roster(Box<RosterPage>),
    /// It was refused.
    Refused(Code, &'static str),
}

/// A device, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSummary {
    /// Its number.
    pub device: DeviceNo,
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: PublicKey,
    /// Whether it lost its access.
    pub revoked: bool,
    /// Since when, wall-clock milliseconds.
    pub added_at_ms: u64,
}

/// The answer to a question of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryAnswer {
    /// Issue tokens for this device.
    Tokens {
        /// The device.
        device: DeviceNo,
        /// Its name in the account's list of devices.
        name: String,
        /// Its key.
        key: PublicKey,
        /// The generation of the refresh token to issue.
        refresh: u32,
    },
    /// Issue nothing.
    Refused(Code, &'static str),
}

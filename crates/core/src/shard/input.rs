//! What goes into a shard and what comes out.

use crate::account::{Account, InboxItem};
use crate::clock::WallMs;
use crate::code::Code;
use crate::entry::Entry;
use crate::id::{AccountId, DeviceNo, MsgId, PublicKey, ShardId};
use crate::message::{Address, Bodies, Parcel};
use crate::seq::{ClientSeq, InboxSeq, OutboxSeq, ShardSeq};

use super::hot::Conn;
use super::outbox::OutboxItem;

/// A stream between this process and another, as the shell numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkNo(pub u32);

/// Names a question of the directory until its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A device's connection asks to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// The connection.
    pub conn: Conn,
    /// The account that the token names.
    pub account: AccountId,
    /// The device that the token names.
    pub device: DeviceNo,
    /// Everything up to here is on the device's disk.
    pub cursor: InboxSeq,
    /// Everything up to here is there or on its way: deliveries begin behind it.
    pub delivered: InboxSeq,
    /// The stream that the cursor counts in; 0 for a device that has nothing.
    pub stream_gen: u32,
    /// Credit in messages.
    pub window_messages: u32,
    /// Credit in bytes.
    pub window_bytes: u32,
    /// When the client said HELLO, by its edge's clock: the newest connection of a device is the live
    /// one. An edge attaches a connection again and again, and may not know that its client left.
    pub begun: WallMs,
}

/// A message as a client sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// The device's number for it.
    pub client_seq: ClientSeq,
    /// The client's name for it.
    pub msg_id: MsgId,
    /// To whom.
    pub to: Address,
    /// Its ciphertexts.
    pub bodies: Bodies,
    /// Wall-clock milliseconds after which nobody needs it; 0 for never.
    pub expires_at_ms: u64,
}

/// What happens to a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A device's connection asks to be served.
    Attach(Attach),
    /// A connection ended.
    Detach {
        /// Which.
        conn: Conn,
    },
    /// A client sends.
    Send {
        /// On which connection.
        conn: Conn,
        /// What.
        send: Send,
    },
    /// A device has everything up to here on its own disk.
    Ack {
        /// On which connection.
        conn: Conn,
        /// Up to where.
        seq: InboxSeq,
    },
    /// A device grants more credit.
    Window {
        /// On which connection.
        conn: Conn,
        /// In messages.
        messages: u32,
        /// In bytes.
        bytes: u32,
    },
    /// A connection that took no more can take again.
    Writable {
        /// Which.
        conn: Conn,
    },
    /// A client asks for the devices of its account.
    ListDevices {
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
    },
    /// A client revokes a device of its account.
    RevokeDevice {
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// Which device.
        device: DeviceNo,
    },
    /// Somebody who proved to own the account adds a device, or finds it by its key.
    Open {
        /// Names the answer.
        token: Token,
        /// The account; it is created where it does not exist.
        account: AccountId,
        /// The device's key.
        key: PublicKey,
        /// Its name.
        name: String,
    },
    /// A device uses a refresh token.
    Refresh {
        /// Names the answer.
        token: Token,
        /// The account.
        account: AccountId,
        /// The device.
        device: DeviceNo,
        /// The generation that the token carries.
        generation: u32,
    },
    /// The store has, or does not have, the account asked for.
    Loaded {
        /// Which.
        account: AccountId,
        /// Its row.
        state: Option<Account>,
    },
    /// The store did not answer.
    LoadFailed {
        /// For which account.
        account: AccountId,
    },
    /// The store's answer to [`Effect::LoadInbox`]; fewer items than there are is fine.
    InboxLoaded {
        /// Whose inbox.
        account: AccountId,
        /// The `after` of the question.
        asked: InboxSeq,
        /// Ascending; nothing when the store did not answer.
        items: Option<Vec<InboxItem>>,
    },
    /// Another shard pushes an item of its outbox.
    Parcel {
        /// The link it came by; nothing within one lane.
        link: Option<LinkNo>,
        /// The source.
        from: ShardId,
        /// The item's number.
        seq: OutboxSeq,
        /// The item.
        parcel: Parcel,
    },
    /// A destination can be reached: push to it from the first unconfirmed item on.
    PeerReady {
        /// Which.
        to: ShardId,
    },
    /// A destination has committed every item up to a number.
    Confirmed {
        /// Which.
        to: ShardId,
        /// Up to where.
        upto: OutboxSeq,
    },
    /// A destination wants an item that is not the next one pushed.
    Expected {
        /// Which.
        to: ShardId,
        /// The one that it wants.
        next: OutboxSeq,
    },
    /// Positions below are released.
    Released {
        /// The first that is not.
        upto: ShardSeq,
    },
}

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
    /// It is done.
    Done,
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
        /// Its key.
        key: PublicKey,
        /// The generation of the refresh token to issue.
        refresh: u32,
    },
    /// Issue nothing.
    Refused(Code, &'static str),
}

//! What goes into a shard.

use std::sync::Arc;

use crate::account::{Account, InboxItem};
use crate::clock::{Hlc, WallMs};
use crate::group::{Change, Group, RosterPage};
use crate::id::{AccountId, DeviceNo, GroupId, MsgId, PublicKey, ShardId};
use crate::mark::Mark;
use crate::message::{About, Address, Bodies, Message, Parcel};
use crate::relation::Wish;
use crate::seq::{ClientSeq, ConvSeq, InboxSeq, OutboxSeq, ShardSeq};
use crate::signal::Signal;

use super::hot::Conn;
use super::pulls::LogFetch;

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
    /// The device knows every change of a mark up to this version.
    pub marks: u64,
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
    /// What it does to an earlier message.
    pub about: Option<About>,
    /// What it changes in the group that it goes to.
    pub change: Option<Change>,
    /// The roster of that group that it was written for; 0 for any.
    pub roster: ConvSeq,
}

/// Which page of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// Of which conversation.
    pub conversation: Address,
    /// Only messages before this point; the newest where there is none.
    pub before: Option<HistoryPoint>,
    /// At most so many.
    pub limit: u32,
}

/// Where in a conversation a page ends: its messages are in the order of their clocks, and of their
/// places where two have one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryPoint {
    /// A message's clock.
    pub clock: Hlc,
    /// Its place.
    pub place: InboxSeq,
}

/// A page of history, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryPage {
    /// In any order. What was erased or has expired may be missing.
    pub items: Vec<InboxItem>,
    /// The last point that was looked at, if there are older ones.
    pub next: Option<HistoryPoint>,
}

/// A part of an account's marks, as the store has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MarksPage {
    /// In the order of the conversations.
    pub marks: Vec<(AccountId, Mark)>,
    /// Behind which conversation the next part begins; nothing when this was the last one.
    pub next: Option<AccountId>,
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
    /// A person read a conversation up to a clock.
    Read {
        /// On which connection.
        conn: Conn,
        /// Which conversation.
        conversation: Address,
        /// Up to where.
        upto: Hlc,
        /// Only the account's own devices may know.
        private: bool,
    },
    /// A person writes something to somebody, or stops.
    Types {
        /// On which connection.
        conn: Conn,
        /// To whom.
        to: Address,
        /// What; 0 when they stopped.
        kind: u32,
    },
    /// A person looks away from a device, or at it.
    Away {
        /// On which connection.
        conn: Conn,
        /// Whether they look away.
        away: bool,
    },
    /// A device watches the presence of accounts, or does not any more.
    Subscribe {
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// Whose.
        accounts: Vec<AccountId>,
        /// Whether it does.
        on: bool,
    },
    /// A client asks for a page of history.
    Fetch {
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// Which.
        fetch: Fetch,
    },
    /// A client asks which groups its person is in.
    ListGroups {
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
    },
    /// A client asks who is in a group.
    Roster {
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// Which group.
        group: GroupId,
        /// Behind whom, in the order of their ids.
        after: Option<AccountId>,
    },
    /// A client reads the log of a large group.
    FetchLog {
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// What of it.
        fetch: LogFetch,
    },
    /// A person wishes something of others.
    Wish {
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// What.
        wish: Wish,
    },
    /// A client asks what its person wishes.
    ListWishes {
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
    },
    /// Another shard signals.
    Signal(Signal),
    /// A client asks for the devices of its account.
    ListDevices {
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
    },
    /// A client asks something that this version does not know.
    AskUnknown {
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
    /// A client vouches for a new device of its account.
    LinkDevice {
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// The new device's key.
        key: PublicKey,
        /// Its name.
        name: String,
    },
    /// A device that another one vouched for, and that proved to hold its key, asks for its first tokens.
    OpenLinked {
        /// Names the answer.
        token: Token,
        /// The account.
        account: AccountId,
        /// The device's key.
        key: PublicKey,
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
    /// The store has an account, and nobody can understand its rows.
    AccountDamaged {
        /// Which.
        account: AccountId,
    },
    /// The store's answer to [`super::Effect::LoadInbox`]; fewer items than there are is fine.
    InboxLoaded {
        /// Whose inbox.
        account: AccountId,
        /// The `after` of the question.
        asked: InboxSeq,
        /// Ascending; nothing when the store did not answer.
        items: Option<Vec<InboxItem>>,
    },
    /// The store's answer to [`super::Effect::ReadForReceipts`].
    ReceiptsRead {
        /// Whose inbox.
        account: AccountId,
        /// The `after` of the question.
        after: InboxSeq,
        /// Ascending; nothing when the store did not answer.
        items: Option<Vec<InboxItem>>,
    },
    /// The store's answer to [`super::Effect::LoadMarks`].
    MarksLoaded {
        /// Whose.
        account: AccountId,
        /// For whom.
        conn: Conn,
        /// A part of them; nothing when the store did not answer.
        page: Option<MarksPage>,
    },
    /// The store's answer to [`super::Effect::Fetch`].
    Fetched {
        /// Whose history.
        account: AccountId,
        /// Who asked.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// What was asked for.
        fetch: Fetch,
        /// Nothing when the store did not answer.
        page: Option<HistoryPage>,
    },
    /// The store has, or does not have, the group asked for.
    GroupLoaded {
        /// Which.
        group: GroupId,
        /// Its rows.
        state: Option<Box<Group>>,
    },
    /// The store did not answer.
    GroupLoadFailed {
        /// For which group.
        group: GroupId,
    },
    /// The store has a group, and nobody can understand its rows.
    GroupDamaged {
        /// Which.
        group: GroupId,
    },
    /// The store's answer to [`super::Effect::ReadRoster`].
    RosterRead {
        /// Who asked.
        account: AccountId,
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// Of which group.
        group: GroupId,
        /// Nothing when the store did not answer; nothing in it when it has no such group.
        page: Option<Option<RosterPage>>,
    },
    /// The store's answer to [`super::Effect::ReadLog`].
    LogRead {
        /// Who asked.
        account: AccountId,
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// What was asked for.
        fetch: LogFetch,
        /// In the order of their places; nothing when the store did not answer.
        messages: Option<Vec<Arc<Message>>>,
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

impl Input {
    /// The connection that it came by, if it came by one.
    pub fn conn_mut(&mut self) -> Option<&mut Conn> {
        match self {
            Self::Attach(attach) => Some(&mut attach.conn),
            Self::Detach { conn }
            | Self::Send { conn, .. }
            | Self::Ack { conn, .. }
            | Self::Window { conn, .. }
            | Self::Writable { conn }
            | Self::Read { conn, .. }
            | Self::Types { conn, .. }
            | Self::Away { conn, .. }
            | Self::Subscribe { conn, .. }
            | Self::Fetch { conn, .. }
            | Self::ListGroups { conn, .. }
            | Self::Roster { conn, .. }
            | Self::FetchLog { conn, .. }
            | Self::Wish { conn, .. }
            | Self::ListWishes { conn, .. }
            | Self::ListDevices { conn, .. }
            | Self::AskUnknown { conn, .. }
            | Self::RevokeDevice { conn, .. }
            | Self::LinkDevice { conn, .. } => Some(conn),
            Self::Fetched { .. }
            | Self::GroupLoaded { .. }
            | Self::GroupLoadFailed { .. }
            | Self::GroupDamaged { .. }
            | Self::RosterRead { .. }
            | Self::LogRead { .. }
            | Self::Signal(_)
            | Self::Open { .. }
            | Self::OpenLinked { .. }
            | Self::Refresh { .. }
            | Self::Loaded { .. }
            | Self::LoadFailed { .. }
            | Self::AccountDamaged { .. }
            | Self::InboxLoaded { .. }
            | Self::ReceiptsRead { .. }
            | Self::MarksLoaded { .. }
            | Self::Parcel { .. }
            | Self::PeerReady { .. }
            | Self::Confirmed { .. }
            | Self::Expected { .. }
            | Self::Released { .. } => None,
        }
    }
}

//! What a lane wants its shell to do.

use crate::entry::Entry;
use crate::id::{AccountId, GroupId, ShardId};
use crate::lane::Formed;
use crate::seq::{BlockSeq, InboxSeq, OutboxSeq, ShardSeq};
use crate::shard::{
    Conn, DirectoryAnswer, Fetch, Flush, LinkNo, LogFetch, OutboxItem, ToConn, Token,
};
use crate::signal::Signal;

/// One thing to do. The order of actions of one kind and target is the order in time.
#[derive(Debug)]
pub enum Action {
    /// Encode this block once and write it until the write succeeds; then `Engine::written`.
    Write(Formed),
    /// Write these rows, then the checkpoint; then `Engine::flushed`.
    Materialize {
        /// The shard.
        shard: ShardId,
        /// The rows.
        flush: Flush,
        /// Where a replay behind this checkpoint starts.
        block: BlockSeq,
    },
    /// Read an account; then `Input::Loaded` or `Input::LoadFailed`.
    Load {
        /// The shard.
        shard: ShardId,
        /// The account.
        account: AccountId,
    },
    /// Read the places `after+1 ..= upto`; then `Input::InboxLoaded`.
    LoadInbox {
        /// The shard.
        shard: ShardId,
        /// Whose inbox.
        account: AccountId,
        /// The last place that is not wanted.
        after: InboxSeq,
        /// The last place that is.
        upto: InboxSeq,
    },
    /// Read the places `after+1 ..= upto`; then `Input::ReceiptsRead`.
    ReadForReceipts {
        /// The shard.
        shard: ShardId,
        /// Whose inbox.
        account: AccountId,
        /// The last place that is not wanted.
        after: InboxSeq,
        /// The last place that is.
        upto: InboxSeq,
    },
    /// Read marks with versions above `above`, behind `after`; then `Input::MarksLoaded`.
    LoadMarks {
        /// The shard.
        shard: ShardId,
        /// Whose.
        account: AccountId,
        /// For whom.
        conn: Conn,
        /// The version that the device knows.
        above: u64,
        /// The last conversation that was read.
        after: Option<AccountId>,
    },
    /// Read a page of history; then `Input::Fetched`.
    Fetch {
        /// The shard.
        shard: ShardId,
        /// Whose.
        account: AccountId,
        /// Who asked.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// What.
        fetch: Fetch,
    },
    /// Read a group with its roster; then `Input::GroupLoaded` or `Input::GroupLoadFailed`.
    LoadGroup {
        /// The shard.
        shard: ShardId,
        /// The group.
        group: GroupId,
    },
    /// Read a part of a group's roster; then `Input::RosterRead`.
    ReadRoster {
        /// The shard of whoever asked.
        shard: ShardId,
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
    /// Read a part of a group's log; then `Input::LogRead`.
    ReadLog {
        /// The shard of whoever asked.
        shard: ShardId,
        /// Who asked.
        account: AccountId,
        /// On which connection.
        conn: Conn,
        /// The correlation id of the answer.
        corr: u32,
        /// What.
        fetch: LogFetch,
    },
    /// Signal to a shard of another lane or session, if it can be reached now.
    Signal {
        /// Which.
        to: ShardId,
        /// What.
        signal: Signal,
    },
    /// Tell a client.
    ToConn {
        /// The shard that tells.
        shard: ShardId,
        /// The connection.
        conn: Conn,
        /// What.
        what: ToConn,
    },
    /// Answer a question of the directory.
    Answer {
        /// The question.
        token: Token,
        /// The answer.
        answer: DirectoryAnswer,
    },
    /// Push items to a shard of another lane or session.
    Push {
        /// The source.
        shard: ShardId,
        /// The destination.
        to: ShardId,
        /// The items, in order.
        items: Vec<OutboxItem>,
    },
    /// Tell a source that its items up to `upto` are committed.
    Confirm {
        /// The destination: this side.
        shard: ShardId,
        /// The source's link; nothing for another lane of this session.
        link: Option<LinkNo>,
        /// The source.
        from: ShardId,
        /// Up to where.
        upto: OutboxSeq,
    },
    /// Tell a source which item is wanted.
    Expect {
        /// The destination: this side.
        shard: ShardId,
        /// The source's link; nothing for another lane of this session.
        link: Option<LinkNo>,
        /// The source.
        from: ShardId,
        /// The one that is wanted.
        next: OutboxSeq,
    },
    /// A shard is ready to be released.
    Drained(Drained),
}

/// A shard of which everything is released, and which takes nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    /// Which.
    pub shard: ShardId,
    /// No entry of it is in this block or above.
    pub end_block: BlockSeq,
    /// Its last position.
    pub last_seq: ShardSeq,
    /// Everything up to here is in derived rows.
    pub checkpoint: ShardSeq,
    /// Its entries behind that, in order.
    pub tail: Vec<Entry>,
    /// Sends that were refused while it drained.
    pub refused: u32,
    /// For how long it has refused them, in microseconds.
    pub stopped_us: u64,
}

/// Numbers of a lane, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Shards in service.
    pub shards: usize,
    /// Accounts in memory.
    pub accounts: usize,
    /// Attached connections.
    pub connections: usize,
    /// The next block.
    pub next_block: BlockSeq,
    /// Blocks below are released.
    pub released: BlockSeq,
    /// Blocks below hold nothing that only the log has.
    pub materialized: BlockSeq,
    /// How long the oldest unreleased block waits.
    pub oldest_pending_ms: u64,
    /// Whether answers may leave.
    pub fence_valid: bool,
}

impl Action {
    /// Whether it says nothing of the shard's state, so that it may leave without a valid fence read:
    /// a refusal that consumes nothing.
    pub(super) fn is_free(&self) -> bool {
        match self {
            Self::ToConn { what, .. } => match what {
                ToConn::SendNack { code, .. } => !code.consumes(),
                ToConn::Closed { code, .. } => code.number() >= 5000,
                ToConn::Attached(_)
                | ToConn::SendAck { .. }
                | ToConn::Deliver { .. }
                | ToConn::Marks { .. }
                | ToConn::Presence { .. }
                | ToConn::Typing(_)
                | ToConn::Head { .. }
                | ToConn::LogPage { .. }
                | ToConn::Page { .. }
                | ToConn::Result { .. } => false,
            },
            Self::Write(_)
            | Self::Materialize { .. }
            | Self::Load { .. }
            | Self::LoadInbox { .. }
            | Self::LoadGroup { .. }
            | Self::ReadRoster { .. }
            | Self::ReadLog { .. }
            | Self::ReadForReceipts { .. }
            | Self::LoadMarks { .. }
            | Self::Fetch { .. }
            | Self::Drained(_) => true,
            Self::Signal { .. }
            | Self::Answer { .. }
            | Self::Push { .. }
            | Self::Confirm { .. }
            | Self::Expect { .. } => false,
        }
    }
}

//! What a store did, told to whoever counts: one call for each operation, with its outcome and how
//! long it took. Never fails an operation, and never waits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use iris_core::account::{Account, InboxItem};
use iris_core::group::{Group, RosterPage};
use iris_core::id::{AccountId, GroupId, LaneId, SessionId, ShardId};
use iris_core::message::Message;
use iris_core::seq::{BlockSeq, Epoch, InboxSeq};
use iris_core::shard::{Fetch, Flush, HistoryPage, LogFetch, MarksPage, OutboxItem};
use iris_core::takeover::EpochRow;
use iris_proto::stored_rows::PeerNumbers;
use tokio::time::Instant;

use crate::apart;
use crate::{
    Cas, Checkpoint, ControlStore, DamagedRow, DerivedStore, DirectoryStore, HandleClaim,
    HandleKey, HandleRecord, HealthStore, LogRow, LogStore, ShardRef, StoreError, StoreReport,
    Suspect,
};

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// What a store can be asked.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($(#[$doc])* $name,)*
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As a label.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

operations! {
    /// [`LogStore::append`].
    Append = "append",
    /// [`LogStore::fenced`].
    ReadFence = "read_fence",
    /// [`LogStore::suspect`].
    WriteSuspect = "write_suspect",
    /// [`LogStore::suspects`].
    ReadSuspects = "read_suspects",
    /// [`LogStore::fence`].
    WriteFence = "write_fence",
    /// [`LogStore::open_session`].
    OpenSession = "open_session",
    /// [`LogStore::open_chunk`].
    OpenChunk = "open_chunk",
    /// [`LogStore::lanes`].
    ReadLanes = "read_lanes",
    /// [`LogStore::tail`].
    ReadTail = "read_tail",
    /// [`LogStore::read`].
    ReadLog = "read_log",
    /// [`ControlStore::epoch_head`].
    ReadHead = "read_head",
    /// [`ControlStore::head_to_follow`].
    ReadHeadToFollow = "read_head_to_follow",
    /// [`ControlStore::heads`].
    ReadHeads = "read_heads",
    /// [`ControlStore::epochs_from`].
    ReadEpochs = "read_epochs",
    /// [`ControlStore::claim`].
    Claim = "claim",
    /// [`ControlStore::release`].
    Release = "release",
    /// [`ControlStore::seal`].
    Seal = "seal",
    /// [`ControlStore::sealed`].
    ReadSeal = "read_seal",
    /// [`DerivedStore::account`].
    ReadAccount = "read_account",
    /// [`DerivedStore::inbox`].
    ReadInbox = "read_inbox",
    /// [`DerivedStore::history`].
    ReadHistory = "read_history",
    /// [`DerivedStore::marks`].
    ReadMarks = "read_marks",
    /// [`DerivedStore::group`].
    ReadGroup = "read_group",
    /// [`DerivedStore::roster`].
    ReadRoster = "read_roster",
    /// [`DerivedStore::group_log`].
    ReadGroupLog = "read_group_log",
    /// [`DerivedStore::peers`].
    ReadPeers = "read_peers",
    /// [`DerivedStore::outbox`].
    ReadOutbox = "read_outbox",
    /// [`DerivedStore::checkpoint`].
    ReadCheckpoint = "read_checkpoint",
    /// [`DerivedStore::materialize`].
    Materialize = "materialize",
    /// [`DirectoryStore::claim_handle`].
    ClaimHandle = "claim_handle",
    /// [`DirectoryStore::handle`].
    ReadHandle = "read_handle",
    /// [`HealthStore::report`].
    Report = "report",
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Done,
    /// A compare-and-swap answered that its condition did not hold.
    Refused,
    /// [`StoreError::Unavailable`].
    Unavailable,
    /// [`StoreError::Unknown`].
    Unknown,
    /// An error that trying again cannot help.
    Failed,
}

impl Outcome {
    /// As a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }

    fn of<T>(answer: &Result<T, StoreError>) -> Self {
        match answer {
            Ok(_) => Self::Done,
            Err(StoreError::Unavailable(_)) => Self::Unavailable,
            Err(StoreError::Unknown(_)) => Self::Unknown,
            Err(StoreError::Corrupt(_) | StoreError::Schema(_) | StoreError::Denied(_)) => {
                Self::Failed
            }
        }
    }
}

/// A table whose rows are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Blocks of the log.
    SessionLog,
    /// Accounts.
    AccountState,
    /// Runs of inboxes.
    Inbox,
    /// Where the messages of conversations lie.
    ConversationIndex,
    /// How far conversations were received and read.
    ConversationMark,
    /// Groups.
    GroupState,
    /// Who is in them.
    GroupMember,
    /// What was said in those that are not small.
    GroupLog,
    /// What shards know of each other.
    ShardPeer,
    /// Items without confirmation.
    Outbox,
    /// Checkpoints.
    ShardCheckpoint,
}

impl Table {
    /// As a label: the table's own name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SessionLog => "session_log",
            Self::AccountState => "account_state",
            Self::Inbox => "inbox",
            Self::ConversationIndex => "conversation_index",
            Self::ConversationMark => "conversation_mark",
            Self::GroupState => "group_state",
            Self::GroupMember => "group_member",
            Self::GroupLog => "group_log",
            Self::ShardPeer => "shard_peer",
            Self::Outbox => "outbox",
            Self::ShardCheckpoint => "shard_checkpoint",
        }
    }
}

/// Whoever counts. Every method must return at once.
pub trait StoreObserver: Send + Sync + 'static {
    /// An operation ended.
    fn ended(&self, operation: Operation, outcome: Outcome, took: Duration);

    /// Rows were written, of together so many bytes of payload; 0 bytes where they are not counted.
    fn wrote(&self, table: Table, rows: usize, bytes: usize);
}

/// A store with an observer.
#[derive(Debug)]
pub struct Observed<S, O> {
    store: S,
    observer: O,
}

impl<S, O: StoreObserver> Observed<S, O> {
    /// Every operation of `store`, seen by `observer`.
    pub fn new(store: S, observer: O) -> Self {
        Self { store, observer }
    }

    async fn watch<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let answer = call.await;
        self.observer.ended(operation, Outcome::of(&answer), begun.elapsed());
        answer
    }

    async fn compare(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<Cas, StoreError>> + Send,
    ) -> Result<Cas, StoreError> {
        let begun = Instant::now();
        let answer = call.await;
        let outcome = match answer {
            Ok(Cas::Refused) => Outcome::Refused,
            _ => Outcome::of(&answer),
        };
        self.observer.ended(operation, outcome, begun.elapsed());
        answer
    }
}

#[async_trait]
impl<S: ControlStore, O: StoreObserver> ControlStore for Observed<S, O> {
    async fn epoch_head(&self, shard: ShardRef) -> Result<Option<EpochRow>, StoreError> {
        self.watch(Operation::ReadHead, self.store.epoch_head(shard)).await
    }

    async fn head_to_follow(&self, shard: ShardRef) -> Result<Option<EpochRow>, StoreError> {
        self.watch(Operation::ReadHeadToFollow, self.store.head_to_follow(shard)).await
    }

    async fn heads(
        &self,
        shards: &[ShardRef],
    ) -> Result<Vec<(ShardRef, Option<EpochRow>)>, StoreError> {
        self.watch(Operation::ReadHeads, self.store.heads(shards)).await
    }

    async fn epochs_from(&self, shard: ShardRef, from: Epoch) -> Result<Vec<EpochRow>, StoreError> {
        self.watch(Operation::ReadEpochs, self.store.epochs_from(shard, from)).await
    }

    async fn epochs_between(
        &self,
        shard: ShardRef,
        from: Epoch,
        below: Epoch,
    ) -> Result<Vec<EpochRow>, StoreError> {
        self.watch(Operation::ReadEpochs, self.store.epochs_between(shard, from, below)).await
    }

    async fn claim(&self, shard: ShardRef, row: EpochRow) -> Result<Cas, StoreError> {
        self.compare(Operation::Claim, self.store.claim(shard, row)).await
    }

    async fn release(
        &self,
        shard: ShardRef,
        epoch: Epoch,
        released_block: BlockSeq,
    ) -> Result<Cas, StoreError> {
        self.compare(Operation::Release, self.store.release(shard, epoch, released_block)).await
    }

    async fn seal(&self, lane: LaneId, end: BlockSeq) -> Result<BlockSeq, StoreError> {
        self.watch(Operation::Seal, self.store.seal(lane, end)).await
    }

    async fn sealed(&self, lane: LaneId) -> Result<Option<BlockSeq>, StoreError> {
        self.watch(Operation::ReadSeal, self.store.sealed(lane)).await
    }
}

#[async_trait]
impl<S: LogStore, O: StoreObserver> LogStore for Observed<S, O> {
    async fn open_session(&self, session: SessionId, lanes: u8) -> Result<(), StoreError> {
        self.watch(Operation::OpenSession, self.store.open_session(session, lanes)).await
    }

    async fn lanes(&self, session: SessionId) -> Result<Option<u8>, StoreError> {
        self.watch(Operation::ReadLanes, self.store.lanes(session)).await
    }

    async fn open_chunk(&self, lane: LaneId, chunk: u64) -> Result<(), StoreError> {
        self.watch(Operation::OpenChunk, self.store.open_chunk(lane, chunk)).await
    }

    async fn append(&self, lane: LaneId, row: &LogRow) -> Result<(), StoreError> {
        self.watch(Operation::Append, self.store.append(lane, row)).await?;
        self.observer.wrote(Table::SessionLog, 1, row.block.len());
        Ok(())
    }

    async fn tail(&self, lane: LaneId, limit: usize) -> Result<Vec<LogRow>, StoreError> {
        self.watch(Operation::ReadTail, self.store.tail(lane, limit)).await
    }

    async fn read(
        &self,
        lane: LaneId,
        from: BlockSeq,
        end: BlockSeq,
        limit: usize,
    ) -> Result<Vec<LogRow>, StoreError> {
        self.watch(Operation::ReadLog, self.store.read(lane, from, end, limit)).await
    }

    async fn fence(&self, session: SessionId, by: SessionId) -> Result<(), StoreError> {
        self.watch(Operation::WriteFence, self.store.fence(session, by)).await
    }

    async fn fenced(&self, session: SessionId) -> Result<Option<SessionId>, StoreError> {
        self.watch(Operation::ReadFence, self.store.fenced(session)).await
    }

    async fn suspect(&self, shard: ShardId, suspect: &Suspect) -> Result<(), StoreError> {
        self.watch(Operation::WriteSuspect, self.store.suspect(shard, suspect)).await
    }

    async fn suspects(&self, shard: ShardId) -> Result<Vec<Suspect>, StoreError> {
        self.watch(Operation::ReadSuspects, self.store.suspects(shard)).await
    }
}

#[async_trait]
impl<S: DerivedStore, O: StoreObserver> DerivedStore for Observed<S, O> {
    async fn account(&self, account: AccountId) -> Result<Option<Account>, StoreError> {
        self.watch(Operation::ReadAccount, self.store.account(account)).await
    }

    async fn inbox(
        &self,
        account: AccountId,
        after: InboxSeq,
        upto: InboxSeq,
        bytes_max: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        self.watch(Operation::ReadInbox, self.store.inbox(account, after, upto, bytes_max)).await
    }

    async fn history(&self, account: AccountId, fetch: Fetch) -> Result<HistoryPage, StoreError> {
        self.watch(Operation::ReadHistory, self.store.history(account, fetch)).await
    }

    async fn marks(
        &self,
        account: AccountId,
        above: u64,
        after: Option<AccountId>,
    ) -> Result<MarksPage, StoreError> {
        self.watch(Operation::ReadMarks, self.store.marks(account, above, after)).await
    }

    async fn group(&self, group: GroupId) -> Result<Option<Group>, StoreError> {
        self.watch(Operation::ReadGroup, self.store.group(group)).await
    }

    async fn roster(
        &self,
        group: GroupId,
        after: Option<AccountId>,
    ) -> Result<Option<RosterPage>, StoreError> {
        self.watch(Operation::ReadRoster, self.store.roster(group, after)).await
    }

    async fn group_log(&self, fetch: LogFetch) -> Result<Vec<Arc<Message>>, StoreError> {
        self.watch(Operation::ReadGroupLog, self.store.group_log(fetch)).await
    }

    async fn peers(&self, shard: ShardId) -> Result<Vec<(ShardId, PeerNumbers)>, StoreError> {
        self.watch(Operation::ReadPeers, self.store.peers(shard)).await
    }

    async fn outbox(
        &self,
        shard: ShardId,
        peers: &[(ShardId, PeerNumbers)],
    ) -> Result<Vec<(ShardId, OutboxItem)>, StoreError> {
        self.watch(Operation::ReadOutbox, self.store.outbox(shard, peers)).await
    }

    async fn checkpoint(&self, shard: ShardId) -> Result<Option<Checkpoint>, StoreError> {
        self.watch(Operation::ReadCheckpoint, self.store.checkpoint(shard)).await
    }

    async fn materialize(
        &self,
        shard: ShardRef,
        flush: &Flush,
        checkpoint: Checkpoint,
    ) -> Result<Vec<DamagedRow>, StoreError> {
        let write = self.store.materialize(shard, flush, checkpoint);
        let damaged = self.watch(Operation::Materialize, write).await?;
        let weight = |run: &iris_core::shard::InboxRun| -> usize {
            run.items.iter().map(|item| apart::stripped(item).weight()).sum()
        };
        let inbox = flush.inbox.iter().map(weight).sum();
        let logs = flush.logs.iter().map(|row| row.message.weight()).sum();
        let members = flush.groups.iter().map(|row| row.members.len()).sum();
        let outbox = flush.outbox.iter().map(|row| row.item.parcel.weight()).sum();
        self.observer.wrote(Table::Inbox, flush.inbox.len(), inbox);
        self.observer.wrote(Table::ConversationIndex, flush.index.len(), 0);
        self.observer.wrote(Table::ConversationMark, flush.marks.len(), 0);
        self.observer.wrote(Table::GroupLog, flush.logs.len(), logs);
        self.observer.wrote(Table::GroupMember, members, 0);
        self.observer.wrote(Table::GroupState, flush.groups.len(), 0);
        self.observer.wrote(Table::Outbox, flush.outbox.len(), outbox);
        self.observer.wrote(Table::AccountState, flush.accounts.len(), 0);
        self.observer.wrote(Table::ShardPeer, flush.peers.len(), 0);
        self.observer.wrote(Table::ShardCheckpoint, 1, 0);
        Ok(damaged)
    }
}

#[async_trait]
impl<S: DirectoryStore, O: StoreObserver> DirectoryStore for Observed<S, O> {
    async fn claim_handle(
        &self,
        key: &HandleKey,
        record: &HandleRecord,
    ) -> Result<HandleClaim, StoreError> {
        let begun = Instant::now();
        let answer = self.store.claim_handle(key, record).await;
        let outcome = match answer {
            Ok(HandleClaim::Taken(_)) => Outcome::Refused,
            _ => Outcome::of(&answer),
        };
        self.observer.ended(Operation::ClaimHandle, outcome, begun.elapsed());
        answer
    }

    async fn handle(&self, key: &HandleKey) -> Result<Option<HandleRecord>, StoreError> {
        self.watch(Operation::ReadHandle, self.store.handle(key)).await
    }
}

#[async_trait]
impl<S: HealthStore, O: StoreObserver> HealthStore for Observed<S, O> {
    async fn report(&self) -> Result<StoreReport, StoreError> {
        self.watch(Operation::Report, self.store.report()).await
    }
}

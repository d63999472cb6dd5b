//! What a flush writes: rows of the derived tables, as values.

use std::sync::Arc;

use crate::account::{Account, InboxItem};
use crate::clock::{Hlc, LogicalTimestamp};
use crate::group::{Group, Member};
use crate::id::{AccountId, GroupId, MsgId, ShardId};
use crate::mark::Mark;
use crate::message::{Address, Message};
use crate::seq::{ConvSeq, InboxSeq, OutboxSeq, ShardSeq};

use super::super::erase::Erasure;
use super::super::outbox::OutboxItem;

/// Derived rows of one shard at one position. They are written once the shard released everything
/// below `after`; then the checkpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flush {
    /// Everything below must be released first.
    pub after: ShardSeq,
    /// Accounts, as they are after their last change.
    pub accounts: Vec<AccountRow>,
    /// Runs of inboxes.
    pub inbox: Vec<InboxRun>,
    /// Where the messages of conversations lie in them.
    pub index: Vec<IndexRow>,
    /// Marks; what is 0 in one is not written.
    pub marks: Vec<MarkRow>,
    /// Messages whose bodies leave the rows, once all of these are written.
    pub erasures: Vec<Erasure>,
    /// Groups, as they are after their last change.
    pub groups: Vec<GroupRow>,
    /// Messages for groups' logs.
    pub logs: Vec<LogRow>,
    /// Messages whose bodies leave the logs, once those are written.
    pub log_erasures: Vec<LogErasure>,
    /// What is known of other shards.
    pub peers: Vec<PeerRow>,
    /// Old items without confirmation.
    pub outbox: Vec<OutboxRow>,
    /// Everything up to here is in derived rows behind this flush.
    pub checkpoint: ShardSeq,
    /// The shard's clock.
    pub clock: Hlc,
    /// The write timestamp of the checkpoint.
    pub timestamp: LogicalTimestamp,
}

impl Flush {
    /// One without rows.
    pub fn empty(
        after: ShardSeq,
        checkpoint: ShardSeq,
        clock: Hlc,
        timestamp: LogicalTimestamp,
    ) -> Self {
        Self {
            after,
            accounts: Vec::new(),
            inbox: Vec::new(),
            index: Vec::new(),
            marks: Vec::new(),
            erasures: Vec::new(),
            groups: Vec::new(),
            logs: Vec::new(),
            log_erasures: Vec::new(),
            peers: Vec::new(),
            outbox: Vec::new(),
            checkpoint,
            clock,
            timestamp,
        }
    }
}

/// A row of `account_state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// The key.
    pub account: AccountId,
    /// The value.
    pub state: Account,
    /// Whether the wishes in it changed: they have a column of their own.
    pub relations: bool,
    /// Whether its memberships changed: so have they.
    pub memberships: bool,
    /// Its write timestamp.
    pub timestamp: LogicalTimestamp,
}

/// The rows of `group_state` and `group_member` of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRow {
    /// The key.
    pub group: GroupId,
    /// The group without its members, who have rows of their own.
    pub state: Group,
    /// Members that changed; nothing for one who is not in it.
    pub members: Vec<(AccountId, Option<Member>)>,
    /// The write timestamp of all of them.
    pub timestamp: LogicalTimestamp,
}

/// A row of `group_log`: a message that inboxes refer to, or that members read there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Whose log.
    pub group: GroupId,
    /// With its place.
    pub message: Arc<Message>,
    /// Its write timestamp, the same whoever writes it: [`crate::group::stamp`].
    pub timestamp: LogicalTimestamp,
}

/// A message whose body leaves a group's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogErasure {
    /// Whose log.
    pub group: GroupId,
    /// Its place.
    pub place: ConvSeq,
    /// Who wrote it.
    pub author: AccountId,
    /// Its name: another message at the place is left alone.
    pub msg_id: MsgId,
    /// The write timestamp of what takes its place, greater than that of every whole row there.
    pub timestamp: LogicalTimestamp,
}

/// A row of `conversation_index`: where a message of a conversation lies in an account's inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexRow {
    /// Whose inbox.
    pub account: AccountId,
    /// Which conversation.
    pub conversation: Address,
    /// The message's clock.
    pub clock: Hlc,
    /// Its place in the inbox.
    pub place: InboxSeq,
    /// Its write timestamp.
    pub timestamp: LogicalTimestamp,
}

/// A row of `conversation_mark`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkRow {
    /// Whose mark.
    pub account: AccountId,
    /// Of the conversation with whom.
    pub with: AccountId,
    /// The value.
    pub mark: Mark,
}

/// A row of `inbox`: contiguous places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxRun {
    /// Whose inbox.
    pub account: AccountId,
    /// Never empty.
    pub items: Vec<InboxItem>,
    /// Its write timestamp.
    pub timestamp: LogicalTimestamp,
}

/// A row of `shard_peer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRow {
    /// The other shard.
    pub peer: ShardId,
    /// The number of the next item to it.
    pub out_next: OutboxSeq,
    /// Items up to here are committed there; their rows can go.
    pub out_confirmed: OutboxSeq,
    /// The number of the next item from it.
    pub in_next: OutboxSeq,
    /// The position that this reflects.
    pub pos: ShardSeq,
    /// Whether rows of confirmed items exist.
    pub forget_items: bool,
    /// Its write timestamp.
    pub timestamp: LogicalTimestamp,
}

/// A row of `outbox`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// The destination.
    pub to: ShardId,
    /// The item.
    pub item: OutboxItem,
    /// Its write timestamp.
    pub timestamp: LogicalTimestamp,
}

impl Flush {
    /// How many rows it has, the checkpoint's included.
    pub fn rows(&self) -> usize {
        let of_accounts = self.accounts.len() + self.inbox.len() + self.index.len();
        let of_groups: usize = self.groups.iter().map(|group| 1 + group.members.len()).sum();
        let of_shard = self.peers.len() + self.outbox.len() + 1;
        of_accounts + self.marks.len() + of_groups + self.logs.len() + of_shard
    }
}

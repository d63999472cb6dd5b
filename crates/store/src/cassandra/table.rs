//! The tables, one file each: key, statements, and what goes in and comes out.

pub(super) mod account_state;
pub(super) mod conversation_index;
pub(super) mod conversation_mark;
pub(super) mod group_log;
pub(super) mod group_member;
pub(super) mod group_state;
pub(super) mod handle;
pub(super) mod inbox;
pub(super) mod outbox;
pub(super) mod session_fence;
pub(super) mod session_lane;
pub(super) mod session_log;
pub(super) mod session_seal;
pub(super) mod shard_checkpoint;
pub(super) mod shard_epoch;
pub(super) mod shard_peer;
pub(super) mod shard_suspect;

use account_state::AccountState;
use conversation_index::ConversationIndex;
use conversation_mark::ConversationMark;
use group_log::GroupLog;
use group_member::GroupMember;
use group_state::GroupState;
use handle::Handle;
use inbox::Inbox;
use outbox::Outbox;
use session_fence::SessionFence;
use session_lane::SessionLane;
use session_log::SessionLog;
use session_seal::SessionSeal;
use shard_checkpoint::ShardCheckpoint;
use shard_epoch::ShardEpoch;
use shard_peer::ShardPeer;
use shard_suspect::ShardSuspect;

use super::CassandraConfig;
use super::client::Client;
use crate::StoreError;

/// Every table, prepared.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) shard_epoch: ShardEpoch,
    pub(super) session_seal: SessionSeal,
    pub(super) session_fence: SessionFence,
    pub(super) session_lane: SessionLane,
    pub(super) session_log: SessionLog,
    pub(super) shard_suspect: ShardSuspect,
    pub(super) shard_checkpoint: ShardCheckpoint,
    pub(super) account_state: AccountState,
    pub(super) inbox: Inbox,
    pub(super) conversation_index: ConversationIndex,
    pub(super) conversation_mark: ConversationMark,
    pub(super) group_state: GroupState,
    pub(super) group_member: GroupMember,
    pub(super) group_log: GroupLog,
    pub(super) shard_peer: ShardPeer,
    pub(super) outbox: Outbox,
    pub(super) handle: Handle,
}

impl Tables {
    pub(super) async fn prepare(
        client: &Client,
        config: &CassandraConfig,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            shard_epoch: ShardEpoch::prepare(client).await?,
            session_seal: SessionSeal::prepare(client).await?,
            session_fence: SessionFence::prepare(client).await?,
            session_lane: SessionLane::prepare(client).await?,
            session_log: SessionLog::prepare(client, config.log_ttl_s()?).await?,
            shard_suspect: ShardSuspect::prepare(client).await?,
            shard_checkpoint: ShardCheckpoint::prepare(client).await?,
            account_state: AccountState::prepare(client).await?,
            inbox: Inbox::prepare(client, config.inbox_ttl_s()?).await?,
            conversation_index: ConversationIndex::prepare(client, config.inbox_ttl_s()?).await?,
            conversation_mark: ConversationMark::prepare(client).await?,
            group_state: GroupState::prepare(client).await?,
            group_member: GroupMember::prepare(client).await?,
            group_log: GroupLog::prepare(client, config.inbox_ttl_s()?).await?,
            shard_peer: ShardPeer::prepare(client).await?,
            outbox: Outbox::prepare(client).await?,
            handle: Handle::prepare(client).await?,
        })
    }
}

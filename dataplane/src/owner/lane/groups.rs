//! What a lane asks of the store about groups.

use std::sync::Arc;

use iris_core::group::{Group, RosterPage};
use iris_core::id::{AccountId, GroupId, ShardId};
use iris_core::message::Message;
use iris_core::shard::{Conn, Input, LogFetch};
use iris_store::StoreError;

use super::super::metrics::OwnerMetrics;
use super::Lane;
use super::jobs::Done;

/// The end of such a job.
pub(super) enum OfGroup {
    /// A group was read, or not.
    Loaded { group: GroupId, state: Result<Option<Group>, StoreError> },
    /// A part of a roster was read, or not.
    Roster { asked: Asked, group: GroupId, page: Result<Option<RosterPage>, StoreError> },
    /// A part of a log was read, or not.
    Log { asked: Asked, fetch: LogFetch, messages: Result<Vec<Arc<Message>>, StoreError> },
}

/// Who waits for the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) account: AccountId,
    pub(super) conn: Conn,
    pub(super) corr: u32,
}

impl Lane {
    pub(super) fn load_group(&self, shard: ShardId, group: GroupId) {
        let store = Arc::clone(&self.deps.store);
        let permits = Arc::clone(&self.deps.load_permits);
        self.jobs.push(Box::pin(async move {
            let _permit = permits.acquire().await;
            let state = store.group(group).await;
            Done::OfGroup { shard, done: OfGroup::Loaded { group, state } }
        }));
    }

    pub(super) fn read_roster(
        &self,
        shard: ShardId,
        asked: Asked,
        (group, after): (GroupId, Option<AccountId>),
    ) {
        let store = Arc::clone(&self.deps.store);
        let permits = Arc::clone(&self.deps.load_permits);
        self.jobs.push(Box::pin(async move {
            let _permit = permits.acquire().await;
            let page = store.roster(group, after).await;
            Done::OfGroup { shard, done: OfGroup::Roster { asked, group, page } }
        }));
    }

    pub(super) fn read_log(&self, shard: ShardId, asked: Asked, fetch: LogFetch) {
        let store = Arc::clone(&self.deps.store);
        let permits = Arc::clone(&self.deps.load_permits);
        self.jobs.push(Box::pin(async move {
            let _permit = permits.acquire().await;
            let messages = store.group_log(fetch).await;
            Done::OfGroup { shard, done: OfGroup::Log { asked, fetch, messages } }
        }));
    }

    pub(super) fn finish_of_group(&mut self, shard: ShardId, done: OfGroup) {
        let input = match done {
            OfGroup::Loaded { group, state } => group_read(&self.deps.metrics, shard, group, state),
            OfGroup::Roster { asked: Asked { account, conn, corr }, group, page } => {
                if let Err(error) = &page {
                    tracing::warn!(%error, %shard, "a roster could not be read");
                }
                Input::RosterRead { account, conn, corr, group, page: page.ok() }
            }
            OfGroup::Log { asked: Asked { account, conn, corr }, fetch, messages } => {
                if let Err(error) = &messages {
                    tracing::warn!(%error, %shard, "a group's log could not be read");
                }
                Input::LogRead { account, conn, corr, fetch, messages: messages.ok() }
            }
        };
        self.feed(shard, input);
    }
}

/// As of an account: see `account_read`.
pub(super) fn group_read(
    metrics: &OwnerMetrics,
    shard: ShardId,
    group: GroupId,
    state: Result<Option<Group>, StoreError>,
) -> Input {
    match state {
        Ok(state) => Input::GroupLoaded { group, state: state.map(Box::new) },
        Err(error @ StoreError::Corrupt(_)) => {
            metrics.damaged.with_label_values(&["group"]).inc();
            tracing::error!(%error, %shard, %group, "a group cannot be understood");
            Input::GroupDamaged { group }
        }
        Err(error) => {
            tracing::warn!(%error, %shard, "a group could not be read");
            Input::GroupLoadFailed { group }
        }
    }
}

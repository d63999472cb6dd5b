//! Groups, and messages whose bodies inboxes have from their groups' logs.

use std::sync::Arc;

use iris_core::account::InboxItem;
use iris_core::group::{Group, RosterPage};
use iris_core::id::{AccountId, GroupId};
use iris_core::message::Message;
use iris_core::seq::InboxSeq;
use iris_core::shard::LogFetch;

use super::CassandraStore;
use crate::{StoreError, apart};

/// Bodies that are looked up at once, for a page that may be full before the last of them.
const BODIES_AT_ONCE: usize = 64;

/// A group with its whole roster.
pub(super) async fn whole(
    store: &CassandraStore,
    group: GroupId,
) -> Result<Option<Group>, StoreError> {
    let CassandraStore { client, tables, .. } = store;
    // In the order in which they are written turned around: nobody is missing who should be there.
    let Some(state) = tables.group_state.read(client, group).await? else { return Ok(None) };
    let (members, _) = tables.group_member.read(client, group, None, usize::MAX).await?;
    Ok(Some(Group { members, ..state }))
}

/// A part of a group's roster.
pub(super) async fn roster(
    store: &CassandraStore,
    group: GroupId,
    after: Option<AccountId>,
) -> Result<Option<RosterPage>, StoreError> {
    let CassandraStore { client, tables, .. } = store;
    let Some(state) = tables.group_state.read(client, group).await? else { return Ok(None) };
    let members = tables.group_member.read(client, group, after, apart::ROSTER_PAGE);
    let (members, next) = members.await?;
    let Group { pos: _, head, version, reach, settings, members: _ } = state;
    let members = members.into_iter().collect();
    Ok(Some(RosterPage { head, version, reach, settings, members, next }))
}

/// A part of a group's log.
pub(super) async fn log(
    store: &CassandraStore,
    fetch: LogFetch,
) -> Result<Vec<Arc<Message>>, StoreError> {
    let CassandraStore { client, tables, .. } = store;
    let LogFetch { group, after, upto, limit } = fetch;
    // Every place up to the head had its row before the head did: what is missing there has expired.
    let Some(state) = tables.group_state.read(client, group).await? else { return Ok(Vec::new()) };
    let upto = upto.map_or(state.head, |upto| upto.min(state.head));
    let found = tables.group_log.read(client, group, (after, upto), limit).await?;
    Ok(found.into_iter().map(apart::shown).collect())
}

/// A page of an inbox: see [`crate::DerivedStore::inbox`].
pub(super) async fn inbox(
    store: &CassandraStore,
    account: AccountId,
    range: (InboxSeq, InboxSeq),
    bytes_max: usize,
) -> Result<Vec<InboxItem>, StoreError> {
    let CassandraStore { client, tables, .. } = store;
    let mut left = tables.inbox.read(client, account, range, bytes_max).await?;
    if left.iter().all(|item| apart::reference(item).is_none()) {
        return Ok(left);
    }
    let mut page = apart::Page::new(bytes_max);
    while !left.is_empty() {
        let others = left.split_off(left.len().min(BODIES_AT_ONCE));
        let mut items = std::mem::replace(&mut left, others);
        let bodies = tables.group_log.bodies(client, apart::references(&items)).await?;
        apart::join_all(&mut items, &bodies);
        if !items.into_iter().all(|item| page.takes(item)) {
            break;
        }
    }
    Ok(page.into_items())
}

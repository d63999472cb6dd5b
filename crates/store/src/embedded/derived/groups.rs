//! Groups: their state, their rosters, their logs.

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_core::account::InboxItem;
use iris_core::group::{Group, Member, RosterPage, stamp};
use iris_core::id::{AccountId, GroupId};
use iris_core::message::Message;
use iris_core::seq::ConvSeq;
use iris_core::shard::{Flush, GroupRow, LogErasure, LogFetch};
use iris_proto::stored_groups;

use super::super::codec::{Packed, Parts, Tag};
use super::super::disk::{Batch, Disk};
use super::{corrupt, put, stamped, stored};
use crate::apart::{self, Logged};
use crate::{DamagedRow, StoreError, Table};

pub(super) fn write_logs(disk: &Disk, batch: &mut Batch, flush: &Flush) -> Result<(), StoreError> {
    for row in &flush.logs {
        let Some(place) = row.message.place() else { continue };
        let message = stored_groups::encode_log_message(&row.message);
        let key = log_key(row.group, place.seq);
        put(disk, batch, &key, &message, row.timestamp)?;
    }
    Ok(())
}

/// Takes the bodies of erased messages out of their rows. Answers those that cannot be understood:
/// nobody can tell whose they are, and they stay.
pub(super) fn erase(disk: &Disk, erasures: &[LogErasure]) -> Result<Vec<DamagedRow>, StoreError> {
    let (mut batch, mut damaged) = (disk.batch(), Vec::new());
    for erasure in erasures {
        let message = match logged(disk, erasure.group, erasure.place) {
            Ok(Some(Logged { message, .. })) => message,
            Ok(None) => continue,
            Err(StoreError::Corrupt(why)) => {
                let row = format!("place {} of group {}", erasure.place, erasure.group);
                damaged.push(DamagedRow { table: Table::GroupLog, row, why });
                continue;
            }
            Err(error) => return Err(error),
        };
        if message.sender == erasure.author && message.msg_id == erasure.msg_id {
            let value = stored_groups::encode_log_message(&message.without_body());
            let key = log_key(erasure.group, erasure.place);
            put(disk, &mut batch, &key, &value, erasure.timestamp)?;
        }
    }
    disk.commit(batch)?;
    Ok(damaged)
}

pub(super) fn write(disk: &Disk, batch: &mut Batch, groups: &[GroupRow]) -> Result<(), StoreError> {
    for row in groups {
        let state = stored_groups::encode_group(&row.state);
        put(disk, batch, &state_key(row.group), &state, row.timestamp)?;
        for (account, member) in &row.members {
            let (role, since) = match member {
                Some(Member { role, since }) => (stored_groups::role_number(*role), since.0),
                None => (0, 0),
            };
            let value = Packed::value().u8(role).u64(since);
            let key = member_key(row.group, *account);
            put(disk, batch, &key, value.bytes(), row.timestamp)?;
        }
    }
    Ok(())
}

pub(super) fn whole(disk: &Disk, group: GroupId) -> Result<Option<Group>, StoreError> {
    let Some(state) = state(disk, group)? else { return Ok(None) };
    let (members, _) = members(disk, group, None, usize::MAX)?;
    Ok(Some(Group { members, ..state }))
}

pub(super) fn roster(
    disk: &Disk,
    group: GroupId,
    after: Option<AccountId>,
) -> Result<Option<RosterPage>, StoreError> {
    let Some(state) = state(disk, group)? else { return Ok(None) };
    let (members, next) = members(disk, group, after, apart::ROSTER_PAGE)?;
    let Group { pos: _, head, version, reach, settings, members: _ } = state;
    let members = members.into_iter().collect();
    Ok(Some(RosterPage { head, version, reach, settings, members, next }))
}

pub(super) fn log(disk: &Disk, fetch: LogFetch) -> Result<Vec<Arc<Message>>, StoreError> {
    let LogFetch { group, after, upto, limit } = fetch;
    let Some(state) = state(disk, group)? else { return Ok(Vec::new()) };
    let upto = upto.map_or(state.head, |upto| upto.min(state.head));
    if upto <= after {
        return Ok(Vec::new());
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let rows = disk.range(&log_key(group, after.next()), &log_key(group, upto)).take(limit);
    rows.map(|row| decoded(&row?.1).map(apart::shown)).collect()
}

/// An item of an inbox with its body, wherever that is.
pub(super) fn joined(disk: &Disk, mut item: InboxItem) -> Result<InboxItem, StoreError> {
    if let Some((group, place)) = apart::reference(&item) {
        apart::join(&mut item, logged(disk, group, place)?.as_ref());
    }
    Ok(item)
}

fn state(disk: &Disk, group: GroupId) -> Result<Option<Group>, StoreError> {
    let state = stored(disk, &state_key(group))?;
    state.map(|(_, state)| stored_groups::decode_group(state).map_err(corrupt)).transpose()
}

/// The members behind `after`, `count` of them at most; and behind whom more may be.
fn members(
    disk: &Disk,
    group: GroupId,
    after: Option<AccountId>,
    count: usize,
) -> Result<(BTreeMap<AccountId, Member>, Option<AccountId>), StoreError> {
    let mut members = BTreeMap::new();
    let of_group = Packed::key(Tag::GroupMember).raw(&group.to_bytes());
    for row in disk.all(&of_group) {
        let (key, value) = row?;
        let mut parts = Parts::of(&key);
        let _tag_group = parts.array::<17>()?;
        let account = AccountId::from_bytes(&parts.rest());
        let account = account.map_err(|error| StoreError::Corrupt(error.to_string()))?;
        if after.is_some_and(|after| account <= after) {
            continue;
        }
        let (_, value) = stamped(&value)?;
        let mut parts = Parts::of(&value);
        let member = stored_groups::member_of(parts.u8()?, parts.u64()?).map_err(corrupt)?;
        let Some(member) = member else { continue };
        members.insert(account, member);
        if members.len() == count {
            return Ok((members, Some(account)));
        }
    }
    Ok((members, None))
}

fn logged(disk: &Disk, group: GroupId, place: ConvSeq) -> Result<Option<Logged>, StoreError> {
    disk.get(&log_key(group, place))?.map(|value| decoded(&value)).transpose()
}

fn decoded(value: &[u8]) -> Result<Logged, StoreError> {
    let (written, message) = stamped(value)?;
    let message = stored_groups::decode_log_message(message).map_err(corrupt)?;
    Ok(Logged { message, is_gone: stamp::is_erased(written) })
}

fn state_key(group: GroupId) -> Packed {
    Packed::key(Tag::GroupState).raw(&group.to_bytes())
}

fn member_key(group: GroupId, account: AccountId) -> Packed {
    Packed::key(Tag::GroupMember).raw(&group.to_bytes()).raw(&account.to_bytes())
}

pub(super) fn log_key(group: GroupId, place: ConvSeq) -> Packed {
    Packed::key(Tag::GroupLog).raw(&group.to_bytes()).u64(place.0)
}

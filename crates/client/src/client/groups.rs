//! Groups: making them, changing them, reading who is in them and what a large one said.

use aws_lc_rs::rand;
use bytes::Bytes;
use iris_core::group::{Change, Membership, RosterPage, Settings};
use iris_core::id::{AccountId, GroupId, TenantNo};
use iris_core::message::Address;
use tokio::sync::oneshot;

use crate::driver::Command;
use crate::error::ClientError;
use crate::groups::Groups;
use crate::key::KeyError;
use crate::session::{CallAnswer, CallOp, CalledOff, Draft, LogFetch, LogPage};

use super::{Handle, Receipt};

/// An id for a new group of a tenant. All else of it is random, the key too: so groups spread over all
/// shards.
///
/// # Errors
/// When the system has no randomness.
#[expect(clippy::unwrap_in_result, reason = "16 bytes are a group's id")]
pub fn new_group_id(tenant: TenantNo) -> Result<GroupId, ClientError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
    bytes[2..6].copy_from_slice(&tenant.0.to_be_bytes());
    Ok(GroupId::from_bytes(&bytes).expect("16 bytes are a group's id"))
}

impl Handle {
    /// Makes a group with these members and this account as its admin, under a new id. Members beyond
    /// the first 256 are added by changes of their own.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn create_group(
        &self,
        members: Vec<AccountId>,
        settings: Settings,
    ) -> Result<(GroupId, Receipt), ClientError> {
        let group = new_group_id(self.login.account.tenant())?;
        let receipt = self.change_group(group, Change::Create(members, settings)).await?;
        Ok((group, receipt))
    }

    /// Changes a group. What the receipt says is that the change is on its way for good; that the group
    /// took it is seen when it comes back with its place, and that it did not by a notice.
    ///
    /// # Errors
    /// When the client is closed, or the change names more than 256 accounts.
    pub async fn change_group(
        &self,
        group: GroupId,
        change: Change,
    ) -> Result<Receipt, ClientError> {
        let mut draft = Draft::to(Address::Group(group), Bytes::new())?;
        draft.change = Some(change);
        self.send_draft(draft).await
    }

    /// The groups that this account is in, and those that it left of late.
    ///
    /// # Errors
    /// When there is no answer in 20 seconds.
    pub async fn list_groups(&self) -> Result<Vec<(GroupId, Membership)>, ClientError> {
        let CallAnswer::Groups(groups) = self.call(CallOp::ListGroups).await? else {
            return Err(CalledOff::Malformed.into());
        };
        Ok(groups)
    }

    /// Some of who is in a group, in the order of their ids, from behind `after` on.
    ///
    /// # Errors
    /// Code 4101 when this account is not in it; otherwise when there is no answer in 20 seconds.
    pub async fn list_members(
        &self,
        group: GroupId,
        after: Option<AccountId>,
    ) -> Result<RosterPage, ClientError> {
        let CallAnswer::Roster(page) = self.call(CallOp::ListMembers(group, after)).await? else {
            return Err(CalledOff::Malformed.into());
        };
        Ok(*page)
    }

    /// A page of a large group's log, oldest first, whether or not it was told before.
    ///
    /// # Errors
    /// Code 4101 when this account was never in it; otherwise when there is no answer in 20 seconds.
    pub async fn read_log(&self, fetch: LogFetch) -> Result<LogPage, ClientError> {
        let CallAnswer::Log(page) = self.call(CallOp::ReadLog(fetch)).await? else {
            return Err(CalledOff::Malformed.into());
        };
        Ok(page)
    }

    /// What this device knows of groups: how far it is in each, and what was skipped.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn known_groups(&self) -> Result<Groups, ClientError> {
        let (reply, groups) = oneshot::channel();
        self.commands.send(Command::Groups { reply }).await.map_err(|_| ClientError::Closed)?;
        groups.await.map_err(|_| ClientError::Closed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use iris_core::id::ShardCount;

    use super::*;

    #[test]
    fn new_groups_are_of_the_tenant_and_spread() {
        let tenant = TenantNo(0x0102_0304);
        let groups: Vec<_> = (0..200).map(|_| new_group_id(tenant).unwrap()).collect();
        assert!(groups.iter().all(|group| group.tenant() == tenant));
        let count = ShardCount::new(64).unwrap();
        let shards: BTreeSet<_> = groups.iter().map(|group| group.shard(count)).collect();
        assert!(shards.len() > 48, "{} of 64 shards", shards.len());
        let ids: BTreeSet<_> = groups.into_iter().collect();
        assert_eq!(ids.len(), 200);
    }
}

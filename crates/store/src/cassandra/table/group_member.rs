//! `group_member`: who is in a group, a partition for each group.
//!
//! Never deletes: who left has the role 0, so that a late row of an earlier owner loses against it as
//! against any other.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use iris_core::group::Member;
use iris_core::id::{AccountId, GroupId};
use iris_core::shard::GroupRow;
use iris_proto::stored_groups;

use crate::StoreError;
use crate::cassandra::client::{Client, Kind, Statement, undecodable};
use crate::cassandra::derived::{DerivedStatement, Slots, Stamped};
use crate::cassandra::value::{bigint, number, present};

/// Rows of one page, of about 40 bytes each.
const PAGE: i32 = 4096;
/// Roughly what a row weighs.
const BYTES: usize = 48;

type Row = (Vec<u8>, Option<i8>, Option<i64>);

#[derive(Debug)]
pub(in crate::cassandra) struct GroupMember {
    insert: DerivedStatement,
    read: Statement,
}

impl GroupMember {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        let columns = ["group", "account", "role", "since"];
        let read = "SELECT account, role, since FROM {keyspace}.group_member \
                    WHERE group = ? AND account > ?";
        Ok(Self {
            insert: DerivedStatement::insert(client, "group_member", &columns, false).await?,
            read: client.prepare(Kind::Read, read).await?,
        })
    }

    pub(in crate::cassandra) async fn write(
        &self,
        client: &Client,
        slots: &Slots,
        rows: &[GroupRow],
    ) -> Result<(), StoreError> {
        let mut partitions = Vec::with_capacity(rows.len());
        for row in rows {
            let mut partition = Vec::with_capacity(row.members.len());
            for (account, member) in &row.members {
                let (role, since) = match member {
                    Some(Member { role, since }) => (stored_groups::role_number(*role), since.0),
                    None => (0, 0),
                };
                let role = role.cast_signed();
                let key = (row.group.to_bytes(), account.to_bytes());
                let values = (key.0, key.1, role, bigint("place", since)?);
                partition.push(Stamped { values, timestamp: row.timestamp, bytes: BYTES });
            }
            partitions.push(partition);
        }
        self.insert.write(client, slots, partitions).await
    }

    /// The members of a group behind `after`, ascending, `count` of them at most; and behind whom more
    /// may be.
    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        group: GroupId,
        after: Option<AccountId>,
        count: usize,
    ) -> Result<(BTreeMap<AccountId, Member>, Option<AccountId>), StoreError> {
        let (mut members, mut next) = (BTreeMap::new(), None);
        let take = |(account, role, since): Row| {
            let account = AccountId::from_bytes(&account).map_err(undecodable)?;
            let role = number("role", present("role", role)?)?;
            let since = number("since", present("since", since)?)?;
            let member = stored_groups::member_of(role, since).map_err(undecodable)?;
            let Some(member) = member else { return Ok(ControlFlow::Continue(())) };
            members.insert(account, member);
            if members.len() < count {
                return Ok(ControlFlow::Continue(()));
            }
            next = Some(account);
            Ok(ControlFlow::Break(()))
        };
        let page = PAGE.min(i32::try_from(count).unwrap_or(PAGE));
        let after = after.map(|after| after.to_bytes().to_vec()).unwrap_or_default();
        client.pages(&self.read, page, (group.to_bytes(), after), take).await?;
        Ok((members, next))
    }
}

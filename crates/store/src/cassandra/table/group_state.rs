//! `group_state`: a group without its members, as it is after its last change.

use bytes::Bytes;
use iris_core::group::Group;
use iris_core::id::GroupId;
use iris_core::shard::GroupRow;
use iris_proto::stored_groups;

use crate::StoreError;
use crate::cassandra::client::{Client, Kind, Statement, first, undecodable};
use crate::cassandra::derived::{DerivedStatement, Slots, Stamped};
use crate::cassandra::value::present;

#[derive(Debug)]
pub(in crate::cassandra) struct GroupState {
    insert: DerivedStatement,
    read: Statement,
}

impl GroupState {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        let columns = ["group", "state"];
        let read = "SELECT state FROM {keyspace}.group_state WHERE group = ?";
        Ok(Self {
            insert: DerivedStatement::insert(client, "group_state", &columns, false).await?,
            read: client.prepare(Kind::Read, read).await?,
        })
    }

    pub(in crate::cassandra) async fn write(
        &self,
        client: &Client,
        slots: &Slots,
        rows: &[GroupRow],
    ) -> Result<(), StoreError> {
        let stamped = |row: &GroupRow| {
            let state = stored_groups::encode_group(&row.state);
            let bytes = state.len();
            vec![Stamped { values: (row.group.to_bytes(), state), timestamp: row.timestamp, bytes }]
        };
        self.insert.write(client, slots, rows.iter().map(stamped).collect()).await
    }

    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        group: GroupId,
    ) -> Result<Option<Group>, StoreError> {
        let result = client.read(&self.read, (group.to_bytes(),)).await?;
        let Some((state,)) = first::<(Option<Bytes>,)>(&result)? else { return Ok(None) };
        stored_groups::decode_group(present("state", state)?).map(Some).map_err(undecodable)
    }
}

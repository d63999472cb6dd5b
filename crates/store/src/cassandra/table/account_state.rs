//! `account_state`: an account as it is after its last change. What it wishes of others, and which
//! groups it is in, are in columns of their own, which are written only when they change.

use bytes::Bytes;
use iris_core::account::Account;
use iris_core::id::AccountId;
use iris_core::shard::AccountRow;
use iris_proto::{stored_groups, stored_relations, stored_rows};
use scylla::value::MaybeUnset;

use crate::StoreError;
use crate::cassandra::client::{Client, Kind, Statement, first, undecodable};
use crate::cassandra::derived::{DerivedStatement, Stamped, Together};
use crate::cassandra::value::present;

type Columns = (Option<Bytes>, Option<Bytes>, Option<Bytes>);

#[derive(Debug)]
pub(in crate::cassandra) struct AccountState {
    insert: DerivedStatement,
    read: Statement,
}

impl AccountState {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        let columns = ["account", "state", "relations", "memberships"];
        let read = "SELECT state, relations, memberships FROM {keyspace}.account_state \
                    WHERE account = ?";
        Ok(Self {
            insert: DerivedStatement::insert(client, "account_state", &columns, false).await?,
            read: client.prepare(Kind::Read, read).await?,
        })
    }

    /// Adds an account's row to what is written to its partition. A column that did not change is not
    /// in it.
    pub(in crate::cassandra) fn add<'a>(&'a self, row: &AccountRow, together: &mut Together<'a>) {
        let AccountRow { account, state, relations, memberships, timestamp } = row;
        let relations = relations.then(|| stored_relations::encode_relations(&state.relations));
        let memberships = memberships.then(|| stored_groups::encode_memberships(&state.groups));
        let values = (
            account.to_bytes(),
            stored_rows::encode_account(state),
            relations.map_or(MaybeUnset::Unset, MaybeUnset::Set),
            memberships.map_or(MaybeUnset::Unset, MaybeUnset::Set),
        );
        let bytes = values.1.len();
        together.add(&self.insert, Stamped { values, timestamp: *timestamp, bytes });
    }

    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        account: AccountId,
    ) -> Result<Option<Account>, StoreError> {
        let result = client.read(&self.read, (account.to_bytes(),)).await?;
        let row = first::<Columns>(&result)?;
        let Some((state, relations, memberships)) = row else { return Ok(None) };
        let state = present("state", state)?;
        let mut account = stored_rows::decode_account(state).map_err(undecodable)?;
        if let Some(relations) = relations {
            account.relations =
                stored_relations::decode_relations(relations).map_err(undecodable)?;
        }
        if let Some(memberships) = memberships {
            account.groups = stored_groups::decode_memberships(memberships).map_err(undecodable)?;
        }
        Ok(Some(account))
    }
}

//! `account_state`: an account as it is after its last change. What it wishes of others is in a column
//! of its own, which is written only when that changes.

use bytes::Bytes;
use iris_core::account::Account;
use iris_core::id::AccountId;
use iris_core::shard::AccountRow;
use iris_proto::{stored_relations, stored_rows};

use crate::StoreError;
use crate::cassandra::client::{Client, Kind, Statement, first, undecodable};
use crate::cassandra::derived::{DerivedStatement, Slots, Stamped};
use crate::cassandra::value::present;

#[derive(Debug)]
pub(in crate::cassandra) struct AccountState {
    insert: DerivedStatement,
    insert_relations: DerivedStatement,
    read: Statement,
}

impl AccountState {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        let (table, columns) = ("account_state", ["account", "state", "relations"]);
        let read = "SELECT state, relations FROM {keyspace}.account_state WHERE account = ?";
        Ok(Self {
            insert: DerivedStatement::insert(client, table, &columns[..2], false).await?,
            insert_relations: DerivedStatement::insert(client, table, &columns, false).await?,
            read: client.prepare(Kind::Read, read).await?,
        })
    }

    pub(in crate::cassandra) async fn write(
        &self,
        client: &Client,
        slots: &Slots,
        rows: &[AccountRow],
    ) -> Result<(), StoreError> {
        let alone = rows.iter().filter(|row| !row.relations).map(|row| {
            let state = stored_rows::encode_account(&row.state);
            let bytes = state.len();
            let values = (row.account.to_bytes(), state);
            vec![Stamped { values, timestamp: row.timestamp, bytes }]
        });
        let together = rows.iter().filter(|row| row.relations).map(|row| {
            let state = stored_rows::encode_account(&row.state);
            let relations = stored_relations::encode_relations(&row.state.relations);
            let bytes = state.len() + relations.len();
            let values = (row.account.to_bytes(), state, relations);
            vec![Stamped { values, timestamp: row.timestamp, bytes }]
        });
        tokio::try_join!(
            self.insert.write(client, slots, alone.collect()),
            self.insert_relations.write(client, slots, together.collect()),
        )?;
        Ok(())
    }

    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        account: AccountId,
    ) -> Result<Option<Account>, StoreError> {
        let result = client.read(&self.read, (account.to_bytes(),)).await?;
        let row = first::<(Option<Bytes>, Option<Bytes>)>(&result)?;
        let Some((state, relations)) = row else { return Ok(None) };
        let state = present("state", state)?;
        let mut account = stored_rows::decode_account(state).map_err(undecodable)?;
        if let Some(relations) = relations {
            account.relations =
                stored_relations::decode_relations(relations).map_err(undecodable)?;
        }
        Ok(Some(account))
    }
}

//! `account_state`: an account as it is after its last change.

use bytes::Bytes;
use iris_core::account::Account;
use iris_core::id::AccountId;
use iris_core::shard::AccountRow;
use iris_proto::stored_rows;

use crate::StoreError;
use crate::cassandra::client::{Client, Kind, Statement, first, undecodable};
use crate::cassandra::derived::{DerivedStatement, Slots, Stamped};
use crate::cassandra::value::present;

#[derive(Debug)]
pub(in crate::cassandra) struct AccountState {
    insert: DerivedStatement,
    read: Statement,
}

impl AccountState {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        let columns = ["account", "state"];
        let read = "SELECT state FROM {keyspace}.account_state WHERE account = ?";
        Ok(Self {
            insert: DerivedStatement::insert(client, "account_state", &columns, false).await?,
            read: client.prepare(Kind::Read, read).await?,
        })
    }

    pub(in crate::cassandra) async fn write(
        &self,
        client: &Client,
        slots: &Slots,
        rows: &[AccountRow],
    ) -> Result<(), StoreError> {
        let stamped = |row: &AccountRow| {
            let state = stored_rows::encode_account(&row.state);
            let bytes = state.len();
            let values = (row.account.to_bytes(), state);
            vec![Stamped { values, timestamp: row.timestamp, bytes }]
        };
        self.insert.write(client, slots, rows.iter().map(stamped).collect()).await
    }

    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        account: AccountId,
    ) -> Result<Option<Account>, StoreError> {
        let result = client.read(&self.read, (account.to_bytes(),)).await?;
        let row = first::<(Option<Bytes>,)>(&result)?;
        let Some((state,)) = row else { return Ok(None) };
        stored_rows::decode_account(present("state", state)?).map(Some).map_err(undecodable)
    }
}

//! `handle`: names that people chose, each claimed once.

use bytes::Bytes;
use iris_core::id::AccountId;

use crate::cassandra::client::{Client, Kind, Statement, first, undecodable};
use crate::cassandra::value::{bigint, number, present};
use crate::{Cas, HandleClaim, HandleKey, HandleRecord, StoreError};

type Columns = (Option<Bytes>, Option<String>, Option<i64>);

#[derive(Debug)]
pub(in crate::cassandra) struct Handle {
    claim: Statement,
    read: Statement,
}

impl Handle {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        Ok(Self {
            claim: client
                .prepare(
                    Kind::Cas,
                    "INSERT INTO {keyspace}.handle \
                     (tenant, handle, account, password, created_at_ms) VALUES (?, ?, ?, ?, ?) \
                     IF NOT EXISTS",
                )
                .await?,
            read: client
                .prepare(
                    Kind::SerialRead,
                    "SELECT account, password, created_at_ms FROM {keyspace}.handle \
                     WHERE tenant = ? AND handle = ?",
                )
                .await?,
        })
    }

    pub(in crate::cassandra) async fn claim(
        &self,
        client: &Client,
        key: &HandleKey,
        record: &HandleRecord,
    ) -> Result<HandleClaim, StoreError> {
        let values = (
            key.tenant.as_str(),
            key.handle.as_str(),
            record.account.to_bytes(),
            record.password.as_str(),
            bigint("created_at_ms", record.created_at_ms)?,
        );
        let swap = client.compare(&self.claim, values).await?;
        match swap.outcome {
            Cas::Applied => Ok(HandleClaim::Claimed),
            Cas::Refused => {
                let account = swap.found("account").and_then(|value| value.into_blob());
                let password = swap.found("password").and_then(|value| value.into_string());
                let created = swap.found("created_at_ms").and_then(|value| value.as_bigint());
                record_of((account.map(Bytes::from), password, created)).map(HandleClaim::Taken)
            }
        }
    }

    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        key: &HandleKey,
    ) -> Result<Option<HandleRecord>, StoreError> {
        let values = (key.tenant.as_str(), key.handle.as_str());
        let result = client.read(&self.read, values).await?;
        let row = first::<Columns>(&result)?;
        row.map(record_of).transpose()
    }
}

fn record_of((account, password, created): Columns) -> Result<HandleRecord, StoreError> {
    let account = present("account", account)?;
    Ok(HandleRecord {
        account: AccountId::from_bytes(&account).map_err(undecodable)?,
        password: present("password", password)?,
        created_at_ms: number("created_at_ms", present("created_at_ms", created)?)?,
    })
}

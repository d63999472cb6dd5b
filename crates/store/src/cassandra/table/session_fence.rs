//! `session_fence`: who fenced a session. A flag that is only ever raised: whichever successor's
//! write is the newest, the session is fenced.
//!
//! Never expires and is never deleted while its session can live.

use iris_core::id::SessionId;
use uuid::Uuid;

use crate::StoreError;
use crate::cassandra::client::{Client, Kind, Statement, first};
use crate::cassandra::value::present;

#[derive(Debug)]
pub(in crate::cassandra) struct SessionFence {
    raise: Statement,
    read: Statement,
}

impl SessionFence {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        Ok(Self {
            raise: client
                .prepare(
                    Kind::Write,
                    "INSERT INTO {keyspace}.session_fence (session, fenced_by) VALUES (?, ?)",
                )
                .await?,
            read: client
                .prepare(
                    Kind::FenceRead,
                    "SELECT fenced_by FROM {keyspace}.session_fence WHERE session = ?",
                )
                .await?,
        })
    }

    pub(in crate::cassandra) async fn raise(
        &self,
        client: &Client,
        session: SessionId,
        by: SessionId,
    ) -> Result<(), StoreError> {
        client.write(&self.raise, (session.uuid(), by.uuid())).await
    }

    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        session: SessionId,
    ) -> Result<Option<SessionId>, StoreError> {
        let result = client.read(&self.read, (session.uuid(),)).await?;
        match first::<(Option<Uuid>,)>(&result)? {
            None => Ok(None),
            Some((by,)) => Ok(Some(SessionId::from_uuid(present("fenced_by", by)?))),
        }
    }
}

//! `session_lane`: how many lanes a session has, and the newest chunk of each.
//!
//! The chunk is a register that only grows: its write timestamp is its own number, so that a late
//! write of a lower chunk loses, however late, and a write may be repeated.

use iris_core::id::{LaneId, SessionId};

use crate::StoreError;
use crate::cassandra::client::{Client, Kind, Statement, first};
use crate::cassandra::value::{bigint, lane, number};

#[derive(Debug)]
pub(in crate::cassandra) struct SessionLane {
    open: Statement,
    lanes: Statement,
    raise: Statement,
    newest: Statement,
}

impl SessionLane {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        Ok(Self {
            open: client
                .prepare(
                    Kind::Write,
                    "INSERT INTO {keyspace}.session_lane (session, lanes) VALUES (?, ?)",
                )
                .await?,
            lanes: client
                .prepare(
                    Kind::Read,
                    "SELECT lanes FROM {keyspace}.session_lane WHERE session = ? LIMIT 1",
                )
                .await?,
            raise: client
                .prepare(
                    Kind::Write,
                    "INSERT INTO {keyspace}.session_lane (session, lane, chunk) VALUES (?, ?, ?) \
                     USING TIMESTAMP ?",
                )
                .await?,
            newest: client
                .prepare(
                    Kind::Read,
                    "SELECT chunk FROM {keyspace}.session_lane WHERE session = ? AND lane = ?",
                )
                .await?,
        })
    }

    pub(in crate::cassandra) async fn open(
        &self,
        client: &Client,
        session: SessionId,
        lanes: u8,
    ) -> Result<(), StoreError> {
        client.write(&self.open, (session.uuid(), i32::from(lanes))).await
    }

    pub(in crate::cassandra) async fn lanes(
        &self,
        client: &Client,
        session: SessionId,
    ) -> Result<Option<u8>, StoreError> {
        let result = client.read(&self.lanes, (session.uuid(),)).await?;
        let row = first::<(Option<i32>,)>(&result)?;
        row.and_then(|(lanes,)| lanes).map(|lanes| number("lanes", lanes)).transpose()
    }

    pub(in crate::cassandra) async fn raise(
        &self,
        client: &Client,
        of: LaneId,
        chunk: u64,
    ) -> Result<(), StoreError> {
        let chunk = bigint("chunk", chunk)?;
        let timestamp = chunk.saturating_add(1);
        client.write(&self.raise, (of.session.uuid(), lane(of.lane), chunk, timestamp)).await
    }

    pub(in crate::cassandra) async fn newest(
        &self,
        client: &Client,
        of: LaneId,
    ) -> Result<Option<u64>, StoreError> {
        let result = client.read(&self.newest, (of.session.uuid(), lane(of.lane))).await?;
        let row = first::<(Option<i64>,)>(&result)?;
        row.and_then(|(chunk,)| chunk).map(|chunk| number("chunk", chunk)).transpose()
    }
}

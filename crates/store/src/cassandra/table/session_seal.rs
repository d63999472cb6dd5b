//! `session_seal`: where each lane of a dead session ends, decided once.

use iris_core::id::LaneId;
use iris_core::seq::BlockSeq;

use crate::cassandra::client::{Client, Kind, Statement, first};
use crate::cassandra::value::{bigint, lane, number, present};
use crate::{Cas, StoreError};

#[derive(Debug)]
pub(in crate::cassandra) struct SessionSeal {
    decide: Statement,
    read: Statement,
}

impl SessionSeal {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        Ok(Self {
            decide: client
                .prepare(
                    Kind::Cas,
                    "INSERT INTO {keyspace}.session_seal (session, lane, end_block) \
                     VALUES (?, ?, ?) IF NOT EXISTS",
                )
                .await?,
            read: client
                .prepare(
                    Kind::SerialRead,
                    "SELECT end_block FROM {keyspace}.session_seal WHERE session = ? AND lane = ?",
                )
                .await?,
        })
    }

    /// Decides, and answers what is decided.
    pub(in crate::cassandra) async fn decide(
        &self,
        client: &Client,
        of: LaneId,
        end: BlockSeq,
    ) -> Result<BlockSeq, StoreError> {
        let values = (of.session.uuid(), lane(of.lane), bigint("block", end.0)?);
        let swap = client.compare(&self.decide, values).await?;
        match swap.outcome {
            Cas::Applied => Ok(end),
            Cas::Refused => {
                let decided = swap.found("end_block").and_then(|value| value.as_bigint());
                Ok(BlockSeq(number("end_block", present("end_block", decided)?)?))
            }
        }
    }

    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        of: LaneId,
    ) -> Result<Option<BlockSeq>, StoreError> {
        let result = client.read(&self.read, (of.session.uuid(), lane(of.lane))).await?;
        match first::<(Option<i64>,)>(&result)? {
            None => Ok(None),
            Some((end,)) => {
                let end = number("end_block", present("end_block", end)?)?;
                Ok(Some(BlockSeq(end)))
            }
        }
    }
}

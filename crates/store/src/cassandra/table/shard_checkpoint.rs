//! `shard_checkpoint`: up to where a shard's derived rows reflect its log.

use iris_core::clock::{Hlc, LogicalTimestamp};
use iris_core::id::ShardId;
use iris_core::seq::{BlockSeq, Epoch, ShardSeq};

use crate::cassandra::client::{Client, Kind, Statement, first};
use crate::cassandra::derived::{DerivedStatement, Slots, Stamped};
use crate::cassandra::value::{bigint, number, present, shard};
use crate::{Checkpoint, StoreError};

type Columns = (Option<i64>, Option<i64>, Option<i64>, Option<i64>);

#[derive(Debug)]
pub(in crate::cassandra) struct ShardCheckpoint {
    insert: DerivedStatement,
    read: Statement,
}

impl ShardCheckpoint {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        let columns = ["shard", "epoch", "pos", "block", "clock"];
        let read = "SELECT epoch, pos, block, clock FROM {keyspace}.shard_checkpoint \
                    WHERE shard = ?";
        Ok(Self {
            insert: DerivedStatement::insert(client, "shard_checkpoint", &columns, false).await?,
            read: client.prepare(Kind::Read, read).await?,
        })
    }

    pub(in crate::cassandra) async fn write(
        &self,
        client: &Client,
        slots: &Slots,
        of: ShardId,
        checkpoint: Checkpoint,
        timestamp: LogicalTimestamp,
    ) -> Result<(), StoreError> {
        let values = (
            shard(of),
            i64::from(checkpoint.epoch.0),
            bigint("position", checkpoint.pos.0)?,
            bigint("block", checkpoint.block.0)?,
            bigint("clock", checkpoint.clock.0)?,
        );
        let row = Stamped { values, timestamp, bytes: 40 };
        self.insert.write(client, slots, vec![vec![row]]).await
    }

    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        of: ShardId,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let result = client.read(&self.read, (shard(of),)).await?;
        let row = first::<Columns>(&result)?;
        let Some((epoch, pos, block, clock)) = row else {
            return Ok(None);
        };
        Ok(Some(Checkpoint {
            epoch: Epoch(number("epoch", present("epoch", epoch)?)?),
            pos: ShardSeq(number("pos", present("pos", pos)?)?),
            block: BlockSeq(number("block", present("block", block)?)?),
            clock: Hlc(number("clock", present("clock", clock)?)?),
        }))
    }
}

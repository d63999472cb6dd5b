//! `shard_epoch`: every ownership of a shard, one row each, and the newest one's number beside them.
//!
//! Compare-and-swap only. Never deleted: the chain of ownerships is what a replay follows.

use iris_core::id::{LaneNo, SessionId};
use iris_core::seq::{BlockSeq, Epoch};
use iris_core::takeover::EpochRow;
use scylla::response::query_result::QueryRowsResult;
use uuid::Uuid;

use crate::cassandra::client::{Client, Kind, Statement, first, undecodable, unexpected};
use crate::cassandra::value::{bigint, lane, number, present, shard};
use crate::{Cas, ShardRef, StoreError};

/// Rows of one read: a serial read costs a round of Paxos however many there are.
const PAGE: i32 = 256;

/// The columns of a row in every read.
type Columns = (i64, Option<Uuid>, Option<i32>, Option<i64>, Option<i64>);
/// The same, and the newest one's number.
type HeadColumns = (i64, Option<Uuid>, Option<i32>, Option<i64>, Option<i64>, Option<i64>);

const COLUMNS: &str = "epoch, session, lane, first_block, released_block";

#[derive(Debug)]
pub(in crate::cassandra) struct ShardEpoch {
    head: Statement,
    head_to_follow: Statement,
    from: Statement,
    between: Statement,
    raise: Statement,
    insert: Statement,
    release: Statement,
}

impl ShardEpoch {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        let key = "shard = ? AND home_gen = ?";
        let select = format!("SELECT {COLUMNS} FROM {{keyspace}}.shard_epoch WHERE {key}");
        let newest = format!(
            "SELECT {COLUMNS}, head_epoch FROM {{keyspace}}.shard_epoch WHERE {key} \
             ORDER BY epoch DESC LIMIT 1"
        );
        Ok(Self {
            head: client.prepare(Kind::SerialRead, &newest).await?,
            head_to_follow: client.prepare(Kind::SettledRead, &newest).await?,
            from: client
                .prepare(
                    Kind::SerialRead,
                    &format!("{select} AND epoch >= ? ORDER BY epoch ASC LIMIT {PAGE}"),
                )
                .await?,
            between: client
                .prepare(
                    Kind::SettledRead,
                    &format!(
                        "{select} AND epoch >= ? AND epoch < ? ORDER BY epoch ASC LIMIT {PAGE}"
                    ),
                )
                .await?,
            raise: client
                .prepare(
                    Kind::Cas,
                    &format!(
                        "UPDATE {{keyspace}}.shard_epoch SET head_epoch = ? WHERE {key} \
                         IF head_epoch = ?"
                    ),
                )
                .await?,
            insert: client
                .prepare(
                    Kind::Cas,
                    "INSERT INTO {keyspace}.shard_epoch \
                     (shard, home_gen, epoch, session, lane, first_block) VALUES (?, ?, ?, ?, ?, ?)",
                )
                .await?,
            release: client
                .prepare(
                    Kind::Cas,
                    &format!(
                        "UPDATE {{keyspace}}.shard_epoch SET released_block = ? \
                         WHERE {key} AND epoch = ? IF released_block = null AND head_epoch = ?"
                    ),
                )
                .await?,
        })
    }

    pub(in crate::cassandra) async fn head(
        &self,
        client: &Client,
        of: ShardRef,
    ) -> Result<Option<EpochRow>, StoreError> {
        match newest(&client.read(&self.head, key(of)).await?)? {
            Newest::Whole(row) => Ok(row),
            // Both are written by one compare-and-swap.
            Newest::Torn(row, head) => Err(StoreError::Corrupt(format!(
                "the newest row of shard {} is {row}, and its head says {head:?}",
                of.shard
            ))),
        }
    }

    /// What is read plainly is decided, as rows get here by the commits of what was. It is not always the
    /// newest, nor all of one compare-and-swap: a read repairs what it selects. Then it is read serially.
    pub(in crate::cassandra) async fn head_to_follow(
        &self,
        client: &Client,
        of: ShardRef,
    ) -> Result<Option<EpochRow>, StoreError> {
        match newest(&client.read(&self.head_to_follow, key(of)).await?)? {
            Newest::Whole(row) => Ok(row),
            Newest::Torn(..) => self.head(client, of).await,
        }
    }

    pub(in crate::cassandra) async fn from(
        &self,
        client: &Client,
        of: ShardRef,
        from: Epoch,
    ) -> Result<Vec<EpochRow>, StoreError> {
        let (shard, home_gen) = key(of);
        let mut epochs = Vec::new();
        let mut next = i64::from(from.0);
        loop {
            let result = client.read(&self.from, (shard, home_gen, next)).await?;
            match append(&mut epochs, &result)? {
                Some(after) => next = after,
                None => return Ok(epochs),
            }
        }
    }

    /// The compare-and-swap that claimed `below`, or whose row was seen, came after those before it, and
    /// does not begin until a quorum has what was swapped last. So a quorum has them all.
    pub(in crate::cassandra) async fn between(
        &self,
        client: &Client,
        of: ShardRef,
        from: Epoch,
        below: Epoch,
    ) -> Result<Vec<EpochRow>, StoreError> {
        let (shard, home_gen) = key(of);
        let mut epochs = Vec::new();
        let (mut next, below) = (i64::from(from.0), i64::from(below.0));
        while next < below {
            let result = client.read(&self.between, (shard, home_gen, next, below)).await?;
            match append(&mut epochs, &result)? {
                Some(after) => next = after,
                None => break,
            }
        }
        Ok(epochs)
    }

    pub(in crate::cassandra) async fn claim(
        &self,
        client: &Client,
        of: ShardRef,
        row: EpochRow,
    ) -> Result<Cas, StoreError> {
        let Some(before) = row.epoch.0.checked_sub(1) else {
            return Ok(Cas::Refused);
        };
        let before = (before > 0).then_some(i64::from(before));
        let (shard, home_gen) = key(of);
        let epoch = i64::from(row.epoch.0);
        let first_block = bigint("block", row.first_block.0)?;
        let raise = (epoch, shard, home_gen, before);
        let insert = (shard, home_gen, epoch, row.session.uuid(), lane(row.lane), first_block);
        let swap = client.compare_batch(&[&self.raise, &self.insert], (raise, insert)).await?;
        Ok(swap.outcome)
    }

    pub(in crate::cassandra) async fn release(
        &self,
        client: &Client,
        of: ShardRef,
        epoch: Epoch,
        released: BlockSeq,
    ) -> Result<Cas, StoreError> {
        let (shard, home_gen) = key(of);
        let epoch = i64::from(epoch.0);
        let values = (bigint("block", released.0)?, shard, home_gen, epoch, epoch);
        Ok(client.compare(&self.release, values).await?.outcome)
    }
}

/// A newest row.
enum Newest {
    /// As its compare-and-swap wrote it.
    Whole(Option<EpochRow>),
    /// Its number, and another one that the head has.
    Torn(i64, Option<i64>),
}

fn newest(result: &QueryRowsResult) -> Result<Newest, StoreError> {
    let Some((epoch, session, lane, first, released, head)) = first::<HeadColumns>(result)? else {
        return Ok(Newest::Whole(None));
    };
    if head != Some(epoch) {
        return Ok(Newest::Torn(epoch, head));
    }
    row((epoch, session, lane, first, released)).map(|row| Newest::Whole(Some(row)))
}

/// Appends a page. Answers where the next one begins, if there may be one.
fn append(epochs: &mut Vec<EpochRow>, page: &QueryRowsResult) -> Result<Option<i64>, StoreError> {
    let (before, mut next) = (epochs.len(), 0);
    for columns in page.rows::<Columns>().map_err(unexpected)? {
        let columns = columns.map_err(undecodable)?;
        next = columns.0 + 1;
        epochs.push(row(columns)?);
    }
    let is_full = i32::try_from(epochs.len() - before).is_ok_and(|read| read >= PAGE);
    Ok(is_full.then_some(next))
}

fn key(of: ShardRef) -> (i32, i32) {
    (shard(of.shard), i32::from(of.home_gen.0))
}

fn row((epoch, session, lane, first, released): Columns) -> Result<EpochRow, StoreError> {
    let released = released.map(|block| number("released_block", block).map(BlockSeq));
    Ok(EpochRow {
        epoch: Epoch(number("epoch", epoch)?),
        session: SessionId::from_uuid(present("session", session)?),
        lane: LaneNo(number("lane", present("lane", lane)?)?),
        first_block: BlockSeq(number("first_block", present("first_block", first)?)?),
        released_block: released.transpose()?,
    })
}

//! Statements on derived tables. None exists without a place for its logical timestamp, and none is
//! executed without one: the only constructors here put it into the text, and the only way to bind
//! values takes it.

use futures::{StreamExt as _, TryStreamExt as _};
use iris_core::clock::LogicalTimestamp;
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::value::SerializeValue as _;
use scylla::serialize::writers::RowWriter;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::client::{Client, Kind, Statement};
use crate::StoreError;

/// Rows of one batch.
const BATCH_ROWS_MAX: usize = 32;
/// Bytes of one batch: a replica writes it as one mutation, and a large one stalls the others.
const BATCH_BYTES_MAX: usize = 32 * 1024;
/// Derived writes of this process that are under way at once: enough for a disk, too few to push the
/// log aside.
const WRITES_AT_ONCE: usize = 32;

/// The slots of derived writes, shared by every shard of the process.
#[derive(Debug)]
pub(super) struct Slots(Semaphore);

impl Default for Slots {
    fn default() -> Self {
        Self(Semaphore::new(WRITES_AT_ONCE))
    }
}

impl Slots {
    /// A slot, until it is dropped.
    pub(super) async fn take(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        self.0.acquire().await.map_err(|_| closing())
    }
}

/// Where the timestamp stands among the bind markers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Last,
}

/// An insert into, or a delete from, a derived table.
#[derive(Debug)]
pub(super) struct DerivedStatement {
    statement: Statement,
    place: Place,
}

/// Values of one row, with the timestamp that they are written at, and roughly their bytes.
#[derive(Debug)]
pub(super) struct Stamped<V> {
    pub(super) values: V,
    pub(super) timestamp: LogicalTimestamp,
    pub(super) bytes: usize,
}

impl DerivedStatement {
    /// `INSERT INTO table (columns) VALUES (...)`; with `expires`, the last value is the TTL.
    pub(super) async fn insert(
        client: &Client,
        table: &str,
        columns: &[&str],
        expires: bool,
    ) -> Result<Self, StoreError> {
        let markers = vec!["?"; columns.len()].join(", ");
        let ttl = if expires { "TTL ? AND " } else { "" };
        let cql = format!(
            "INSERT INTO {{keyspace}}.{table} ({}) VALUES ({markers}) USING {ttl}TIMESTAMP ?",
            columns.join(", ")
        );
        let statement = client.prepare(Kind::Write, &cql).await?;
        Ok(Self { statement, place: Place::Last })
    }

    /// `UPDATE table SET column = ? WHERE condition`, of a cell with a TTL of its own: the timestamp and
    /// the TTL are the first values.
    pub(super) async fn set_for(
        client: &Client,
        table: &str,
        column: &str,
        condition: &str,
    ) -> Result<Self, StoreError> {
        let cql = format!(
            "UPDATE {{keyspace}}.{table} USING TIMESTAMP ? AND TTL ? SET {column} = ? \
             WHERE {condition}"
        );
        let statement = client.prepare(Kind::Write, &cql).await?;
        Ok(Self { statement, place: Place::First })
    }

    /// `DELETE FROM table WHERE condition`.
    pub(super) async fn delete(
        client: &Client,
        table: &str,
        condition: &str,
    ) -> Result<Self, StoreError> {
        let cql = format!("DELETE FROM {{keyspace}}.{table} USING TIMESTAMP ? WHERE {condition}");
        let statement = client.prepare(Kind::Write, &cql).await?;
        Ok(Self { statement, place: Place::First })
    }

    /// Writes groups of rows, each group of one partition, in batches of bounded size. The order is
    /// not fixed: a caller that needs one waits for the first before it starts the second.
    pub(super) async fn write<V: SerializeRow + Send + Sync>(
        &self,
        client: &Client,
        slots: &Slots,
        partitions: Vec<Vec<Stamped<V>>>,
    ) -> Result<(), StoreError> {
        let batches = partitions.into_iter().flat_map(batches);
        let writes = batches.map(|batch| self.write_one(client, slots, batch));
        futures::stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect().await
    }

    async fn write_one<V: SerializeRow + Send + Sync>(
        &self,
        client: &Client,
        slots: &Slots,
        rows: Vec<Stamped<V>>,
    ) -> Result<(), StoreError> {
        let _slot = slots.take().await?;
        let rows: Vec<_> = rows.iter().map(|row| self.bind(row)).collect();
        if let [row] = rows.as_slice() {
            return client.write(&self.statement, row).await;
        }
        let statements = vec![&self.statement; rows.len()];
        client.write_batch(&statements, rows).await
    }

    fn bind<'a, V>(&self, row: &'a Stamped<V>) -> Bound<&'a V> {
        Bound { values: &row.values, timestamp: row.timestamp, place: self.place }
    }
}

/// Writes to one partition, in one table or several, that happen together: all of them or none.
#[derive(Default)]
pub(super) struct Together<'a> {
    statements: Vec<&'a Statement>,
    values: Vec<Box<dyn SerializeRow + Send + Sync + 'a>>,
}

impl<'a> Together<'a> {
    /// One more row.
    pub(super) fn add<V: SerializeRow + Send + Sync + 'a>(
        &mut self,
        statement: &'a DerivedStatement,
        row: Stamped<V>,
    ) {
        let Stamped { values, timestamp, bytes: _ } = row;
        let bound = Bound { values, timestamp, place: statement.place };
        self.add_own(&statement.statement, bound);
    }

    /// One more row, whose values are their own timestamps.
    pub(super) fn add_own<V: SerializeRow + Send + Sync + 'a>(
        &mut self,
        statement: &'a Statement,
        values: V,
    ) {
        self.statements.push(statement);
        self.values.push(Box::new(values));
    }

    pub(super) async fn write(self, client: &Client, slots: &Slots) -> Result<(), StoreError> {
        let _slot = slots.take().await?;
        match (self.statements.as_slice(), self.values.as_slice()) {
            ([], _) => Ok(()),
            ([statement], [values]) => client.write(statement, values).await,
            _ => client.write_batch(&self.statements, self.values).await,
        }
    }
}

/// Writes what belongs together, many at once, in no order.
pub(super) async fn write_all(
    client: &Client,
    slots: &Slots,
    writes: Vec<Together<'_>>,
) -> Result<(), StoreError> {
    let mut under_way = Vec::with_capacity(writes.len());
    for together in writes {
        under_way.push(together.write(client, slots));
    }
    futures::stream::iter(under_way).buffer_unordered(WRITES_AT_ONCE).try_collect().await
}

fn closing() -> StoreError {
    StoreError::Unavailable("the store is closing".to_owned())
}

/// Cuts the rows of a partition into batches. A row above the bound goes alone.
fn batches<V>(rows: Vec<Stamped<V>>) -> Vec<Vec<Stamped<V>>> {
    let mut batches: Vec<Vec<Stamped<V>>> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        bytes += row.bytes;
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_ROWS_MAX && bytes <= BATCH_BYTES_MAX => {
                batch.push(row);
            }
            _ => {
                bytes = row.bytes;
                batches.push(vec![row]);
            }
        }
    }
    batches
}

/// Values with their timestamp, as the driver takes them.
#[derive(Debug)]
struct Bound<V> {
    values: V,
    timestamp: LogicalTimestamp,
    place: Place,
}

impl<V: SerializeRow> SerializeRow for Bound<V> {
    fn serialize(
        &self,
        ctx: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let columns = ctx.columns();
        let (stamp, others) = match self.place {
            Place::First => columns.split_first(),
            Place::Last => columns.split_last(),
        }
        .ok_or_else(|| SerializationError::new(NoPlace))?;
        let others = RowSerializationContext::from_specs(others);
        if self.place == Place::Last {
            self.values.serialize(&others, writer)?;
        }
        self.timestamp.get().serialize(stamp.typ(), writer.make_cell_writer())?;
        if self.place == Place::First {
            self.values.serialize(&others, writer)?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        false
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a derived statement has no place for its timestamp")]
struct NoPlace;

#[cfg(test)]
mod tests {
    use iris_core::seq::{Epoch, HomeGen, ShardSeq};

    use super::*;

    #[test]
    fn batches_are_bounded_in_rows_and_bytes_and_keep_every_row_in_order() {
        let timestamp = LogicalTimestamp::new(HomeGen(0), Epoch(1), ShardSeq(1));
        let rows = |sizes: &[usize]| {
            let row =
                |(values, bytes): (usize, &usize)| Stamped { values, timestamp, bytes: *bytes };
            sizes.iter().enumerate().map(row).collect::<Vec<_>>()
        };
        let cut = |sizes: &[usize]| {
            let cut = batches(rows(sizes));
            let order: Vec<_> = cut.iter().flatten().map(|row| row.values).collect();
            assert_eq!(order, (0..sizes.len()).collect::<Vec<_>>());
            cut.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(cut(&[]), Vec::<usize>::new());
        assert_eq!(cut(&[1; 70]), [32, 32, 6]);
        assert_eq!(cut(&[16 * 1024; 5]), [2, 2, 1]);
        assert_eq!(cut(&[10, 200 * 1024, 10, 10]), [1, 1, 2]);
    }
}

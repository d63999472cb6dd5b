//! `group_log`: the messages of groups that are not small, by their places.
//!
//! Inboxes refer to them, and members of large groups read them here. Many shards write one row; when
//! it is written, whole and erased, says [`stamp`]. Never deleted; a row expires, and the body
//! that its author gave less time expires before.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use iris_core::clock::{LogicalTimestamp, WallMs};
use iris_core::group::stamp;
use iris_core::id::GroupId;
use iris_core::message::Message;
use iris_core::seq::ConvSeq;
use iris_core::shard::{LogErasure, LogRow};
use iris_proto::stored_groups;

use crate::apart::{self, Bodies, Logged};
use crate::cassandra::client::{Client, Kind, Statement, undecodable};
use crate::cassandra::derived::{self, DerivedStatement, Slots, Stamped, Together};
use crate::cassandra::value::{bigint, left_s, present};
use crate::{DamagedRow, StoreError, Table};

/// Places of one partition.
const BUCKET_PLACES: u64 = 1024;
/// Rows of one page: of messages of at most 128 KiB, below what one answer should be.
const PAGE: i32 = 16;
/// Partitions that are read, and rows that are erased, at once.
const AT_ONCE: usize = 16;

type Columns = (Option<Bytes>, Option<i64>, Option<Bytes>, Option<i64>);
/// Group, partition, place.
type Key = ([u8; 16], i64, i64);
/// The values of a row.
type Lasting = ([u8; 16], i64, i64, Bytes, i32);

#[derive(Debug)]
pub(in crate::cassandra) struct GroupLog {
    insert: DerivedStatement,
    set_expiring: DerivedStatement,
    range: Statement,
    some: Statement,
    first: Statement,
    ttl_s: i32,
}

impl GroupLog {
    pub(super) async fn prepare(client: &Client, ttl_s: i32) -> Result<Self, StoreError> {
        let columns = ["group", "bucket", "place", "message"];
        let key = "group = ? AND bucket = ? AND place = ?";
        let select = "SELECT message, WRITETIME(message), expiring, WRITETIME(expiring) \
                      FROM {keyspace}.group_log WHERE group = ? AND bucket = ?";
        let range = format!("{select} AND place > ? AND place <= ? LIMIT ?");
        let some = format!("{select} AND place IN ?");
        let first = "SELECT place FROM {keyspace}.group_log WHERE group = ? AND bucket = ? LIMIT 1";
        Ok(Self {
            insert: DerivedStatement::insert(client, "group_log", &columns, true).await?,
            set_expiring: DerivedStatement::set_for(client, "group_log", "expiring", key).await?,
            range: client.prepare(Kind::Read, &range).await?,
            some: client.prepare(Kind::Read, &some).await?,
            first: client.prepare(Kind::Read, first).await?,
            ttl_s,
        })
    }

    pub(in crate::cassandra) async fn write(
        &self,
        client: &Client,
        slots: &Slots,
        rows: &[LogRow],
    ) -> Result<(), StoreError> {
        let mut partitions: BTreeMap<(GroupId, u64), Vec<_>> = BTreeMap::new();
        let mut passing = Vec::new();
        for LogRow { group, message, timestamp } in rows {
            let Some(place) = message.place() else { continue };
            let (bucket, timestamp) = (bucket_of(place.seq), *timestamp);
            let key = key_of(*group, place.seq)?;
            if message.expires_at_ms == 0 {
                let row = self.lasting(key, message, timestamp);
                partitions.entry((*group, bucket)).or_default().push(row);
            } else {
                let mut together = Together::default();
                together.add(&self.insert, self.lasting(key, &message.without_body(), timestamp));
                let ttl_s = left_s(WallMs(message.expires_at_ms), self.ttl_s);
                if ttl_s > 0 {
                    let body = Some(stored_groups::encode_log_message(message));
                    let values = (ttl_s, body, key.0, key.1, key.2);
                    together.add(&self.set_expiring, Stamped { values, timestamp, bytes: 0 });
                }
                passing.push(together);
            }
        }
        tokio::try_join!(
            self.insert.write(client, slots, partitions.into_values().collect()),
            derived::write_all(client, slots, passing),
        )?;
        Ok(())
    }

    fn lasting(
        &self,
        (group, bucket, place): Key,
        message: &Message,
        timestamp: LogicalTimestamp,
    ) -> Stamped<Lasting> {
        let message = stored_groups::encode_log_message(message);
        let bytes = message.len();
        Stamped { values: (group, bucket, place, message, self.ttl_s), timestamp, bytes }
    }

    /// Takes the bodies of erased messages out of their rows. One that has no row is done; one whose row
    /// cannot be understood stays there, as nobody can tell whose it is. Answers those rows.
    pub(in crate::cassandra) async fn erase(
        &self,
        client: &Client,
        slots: &Slots,
        erasures: &[LogErasure],
    ) -> Result<Vec<DamagedRow>, StoreError> {
        let erasures = erasures.iter().copied().map(|e| self.erase_one(client, slots, e));
        let damaged = futures::stream::iter(erasures).buffer_unordered(AT_ONCE);
        damaged.try_filter_map(|damaged| std::future::ready(Ok(damaged))).try_collect().await
    }

    async fn erase_one(
        &self,
        client: &Client,
        slots: &Slots,
        erasure: LogErasure,
    ) -> Result<Option<DamagedRow>, StoreError> {
        let LogErasure { group, place, author, msg_id, timestamp } = erasure;
        let mut found = None;
        let take = |(message, ..): Columns| {
            found = Some(message_of(message));
            Ok(ControlFlow::Break(()))
        };
        let values = (group.to_bytes(), bigint("bucket", bucket_of(place))?);
        let values = (values.0, values.1, vec![bigint("place", place.0)?]);
        client.pages(&self.some, PAGE, values, take).await?;
        let message = match found {
            Some(Ok(message)) if message.sender == author && message.msg_id == msg_id => message,
            Some(Err(StoreError::Corrupt(why))) => {
                let row = format!("place {place} of group {group}");
                return Ok(Some(DamagedRow { table: Table::GroupLog, row, why }));
            }
            Some(Err(error)) => return Err(error),
            Some(Ok(_)) | None => return Ok(None),
        };
        let key = key_of(group, place)?;
        let mut together = Together::default();
        together.add(&self.insert, self.lasting(key, &message.without_body(), timestamp));
        if message.expires_at_ms != 0 {
            let values = (0, None::<Bytes>, key.0, key.1, key.2);
            together.add(&self.set_expiring, Stamped { values, timestamp, bytes: 0 });
        }
        together.write(client, slots).await?;
        Ok(None)
    }

    /// What is at these places.
    pub(in crate::cassandra) async fn bodies(
        &self,
        client: &Client,
        places: BTreeMap<GroupId, BTreeSet<ConvSeq>>,
    ) -> Result<Bodies, StoreError> {
        let mut partitions: BTreeMap<(GroupId, u64), Vec<ConvSeq>> = BTreeMap::new();
        for (group, places) in places {
            for place in places {
                partitions.entry((group, bucket_of(place))).or_default().push(place);
            }
        }
        let reads = partitions
            .into_iter()
            .map(|((group, bucket), places)| self.some(client, group, bucket, places));
        let mut reads = futures::stream::iter(reads).buffer_unordered(AT_ONCE);
        let mut bodies = Bodies::new();
        while let Some(found) = reads.try_next().await? {
            let row = |row: Logged| Some((apart::place_of(&row.message)?, row));
            bodies.extend(found.into_iter().filter_map(row));
        }
        Ok(bodies)
    }

    async fn some(
        &self,
        client: &Client,
        group: GroupId,
        bucket: u64,
        places: Vec<ConvSeq>,
    ) -> Result<Vec<Logged>, StoreError> {
        let places = places.into_iter().map(|place| bigint("place", place.0));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let values = (group.to_bytes(), bigint("bucket", bucket)?, places);
        let mut found = Vec::new();
        let take = |columns| {
            found.push(row_of(columns)?);
            Ok(ControlFlow::Continue(()))
        };
        client.pages(&self.some, PAGE, values, take).await?;
        Ok(found)
    }

    /// The messages behind one place up to another, ascending, `limit` of them at most. Those that have
    /// expired are passed over.
    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        group: GroupId,
        (after, upto): (ConvSeq, ConvSeq),
        limit: u32,
    ) -> Result<Vec<Logged>, StoreError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let mut found = Vec::new();
        let (mut bucket, last) = (bucket_of(after.next()), bucket_of(upto));
        let mut missed = 0;
        while after < upto && bucket <= last {
            let left = limit.saturating_sub(i32::try_from(found.len()).unwrap_or(i32::MAX));
            if left <= 0 {
                break;
            }
            let range = (bigint("place", after.0)?, bigint("place", upto.0)?);
            let values = (group.to_bytes(), bigint("bucket", bucket)?, range.0, range.1, left);
            let before = found.len();
            let take = |columns| {
                found.push(row_of(columns)?);
                Ok(ControlFlow::Continue(()))
            };
            client.pages(&self.range, PAGE, values, take).await?;
            missed = if found.len() == before { missed + 1 } else { 0 };
            bucket += 1;
            // The oldest expire first: where two partitions are gone, many may be.
            if missed == 2 && found.is_empty() {
                bucket = self.first_bucket(client, group, bucket, last).await?;
            }
        }
        Ok(found)
    }

    /// The first partition that has a row, among some of which the oldest have none.
    async fn first_bucket(
        &self,
        client: &Client,
        group: GroupId,
        from: u64,
        last: u64,
    ) -> Result<u64, StoreError> {
        let (mut low, mut high) = (from, last);
        while low < high {
            let middle = low + (high - low) / 2;
            let values = (group.to_bytes(), bigint("bucket", middle)?);
            let mut is_empty = true;
            let take = |_: (i64,)| {
                is_empty = false;
                Ok(ControlFlow::Break(()))
            };
            client.pages(&self.first, 1, values, take).await?;
            if is_empty {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// A row: with its body, unless that was erased or expired before the row.
fn row_of((message, written, expiring, expiring_written): Columns) -> Result<Logged, StoreError> {
    let message = message_of(message)?;
    let written = present("write timestamp", written)?;
    let is_erased = stamp::is_erased(LogicalTimestamp::from_stored(written));
    Ok(match expiring.filter(|_| expiring_written == Some(written)) {
        _ if is_erased => Logged { message, is_gone: true },
        Some(whole) => {
            let message = stored_groups::decode_log_message(whole).map_err(undecodable)?;
            Logged { message, is_gone: false }
        }
        None => Logged { is_gone: message.expires_at_ms != 0, message },
    })
}

/// What lasts of a row: everything but the body of a message that expires before it.
fn message_of(message: Option<Bytes>) -> Result<Arc<Message>, StoreError> {
    stored_groups::decode_log_message(present("message", message)?).map_err(undecodable)
}

fn key_of(group: GroupId, place: ConvSeq) -> Result<Key, StoreError> {
    Ok((group.to_bytes(), bigint("bucket", bucket_of(place))?, bigint("place", place.0)?))
}

fn bucket_of(place: ConvSeq) -> u64 {
    place.0 / BUCKET_PLACES
}

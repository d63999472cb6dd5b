//! `inbox`: runs of contiguous places, each a row under its first place.
//!
//! A run never crosses a partition and never holds more than 32 places, so that the rows that can
//! cover a place are those whose first place is at most 31 below it. Runs of two owners may overlap:
//! each place is taken from the newest row that has it. Never deleted; a row expires.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use iris_core::account::InboxItem;
use iris_core::id::AccountId;
use iris_core::seq::InboxSeq;
use iris_core::shard::InboxRun;
use iris_proto::stored_rows;

use crate::StoreError;
use crate::cassandra::client::{Client, Kind, Statement, undecodable};
use crate::cassandra::derived::{DerivedStatement, Slots, Stamped};
use crate::cassandra::value::{bigint, number, present};

/// Places of one partition.
const BUCKET_PLACES: u64 = 1024;
/// Places of one row.
const RUN_PLACES_MAX: u64 = 32;
/// Rows of one page: of runs of about 16 KiB, what one read should bring.
const PAGE: i32 = 16;

type Columns = (i64, Option<Bytes>, Option<i64>);

#[derive(Debug)]
pub(in crate::cassandra) struct Inbox {
    insert: DerivedStatement,
    range: Statement,
    ttl_s: i32,
}

impl Inbox {
    pub(super) async fn prepare(client: &Client, ttl_s: i32) -> Result<Self, StoreError> {
        let columns = ["account", "bucket", "first", "run"];
        let range = "SELECT first, run, WRITETIME(run) FROM {keyspace}.inbox \
                     WHERE account = ? AND bucket = ? AND first >= ? AND first <= ?";
        Ok(Self {
            insert: DerivedStatement::insert(client, "inbox", &columns, true).await?,
            range: client.prepare(Kind::Read, range).await?,
            ttl_s,
        })
    }

    pub(in crate::cassandra) async fn write(
        &self,
        client: &Client,
        slots: &Slots,
        runs: &[InboxRun],
    ) -> Result<(), StoreError> {
        let mut partitions: BTreeMap<(AccountId, u64), Vec<_>> = BTreeMap::new();
        for run in runs {
            for (bucket, first, items) in pieces(&run.items) {
                let bytes = stored_rows::encode_inbox_run(items);
                let key = (run.account.to_bytes(), bigint("bucket", bucket)?);
                let first = bigint("place", first.0)?;
                let stamped = Stamped {
                    bytes: bytes.len(),
                    values: (key.0, key.1, first, bytes, self.ttl_s),
                    timestamp: run.timestamp,
                };
                partitions.entry((run.account, bucket)).or_default().push(stamped);
            }
        }
        self.insert.write(client, slots, partitions.into_values().collect()).await
    }

    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        account: AccountId,
        (after, upto): (InboxSeq, InboxSeq),
        bytes_max: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        let mut page = Page::new(after, upto, bytes_max);
        let mut bucket = bucket_of(after.next());
        let last = bucket_of(upto);
        while !page.full && page.wanted.0 <= page.wanted.1 && bucket <= last {
            self.read_bucket(client, account, bucket, &mut page).await?;
            page.settle(InboxSeq((bucket + 1).saturating_mul(BUCKET_PLACES)));
            bucket += 1;
        }
        Ok(page.taken)
    }

    async fn read_bucket(
        &self,
        client: &Client,
        account: AccountId,
        bucket: u64,
        page: &mut Page,
    ) -> Result<(), StoreError> {
        let begin = bucket * BUCKET_PLACES;
        let from = page.wanted.0.0.saturating_sub(RUN_PLACES_MAX - 1).max(begin);
        let upto = page.wanted.1.0.min(begin + BUCKET_PLACES - 1);
        let bucket = bigint("bucket", bucket)?;
        let values = (account.to_bytes(), bucket, bigint("place", from)?, bigint("place", upto)?);
        let take = |(first, run, written): Columns| {
            let first = InboxSeq(number("first", first)?);
            let run = stored_rows::decode_inbox_run(present("run", run)?).map_err(undecodable)?;
            // Rows come in the order of their first places: no later one covers a place below.
            page.settle(first);
            page.offer(run, present("write timestamp", written)?);
            Ok(if page.full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        client.pages(&self.range, PAGE, values, take).await
    }
}

/// What was read of the wanted places.
#[derive(Debug)]
struct Page {
    /// The first and the last place.
    wanted: (InboxSeq, InboxSeq),
    /// Places that a later row may still cover, with the timestamps of their rows.
    open: BTreeMap<InboxSeq, (i64, InboxItem)>,
    /// Places that are final, ascending.
    taken: Vec<InboxItem>,
    bytes: usize,
    bytes_max: usize,
    /// The next place would exceed the bytes.
    full: bool,
}

impl Page {
    fn new(after: InboxSeq, upto: InboxSeq, bytes_max: usize) -> Self {
        Self {
            wanted: (after.next(), upto),
            open: BTreeMap::new(),
            taken: Vec::new(),
            bytes: 0,
            bytes_max,
            full: false,
        }
    }

    /// A row's places, written at `written`.
    fn offer(&mut self, run: Vec<InboxItem>, written: i64) {
        for item in run {
            let wanted = self.wanted.0 <= item.seq && item.seq <= self.wanted.1;
            let newest = self.open.get(&item.seq).is_none_or(|(other, _)| *other < written);
            if wanted && newest {
                self.open.insert(item.seq, (written, item));
            }
        }
    }

    /// Every row that can cover a place below `end` was offered.
    fn settle(&mut self, end: InboxSeq) {
        while !self.full {
            let Some(entry) = self.open.first_entry() else {
                return;
            };
            if *entry.key() >= end {
                return;
            }
            let weight = entry.get().1.weight();
            if !self.taken.is_empty() && self.bytes + weight > self.bytes_max {
                self.full = true;
                return;
            }
            let (_, item) = entry.remove();
            self.bytes += weight;
            self.wanted.0 = item.seq.next();
            self.taken.push(item);
        }
    }
}

fn bucket_of(place: InboxSeq) -> u64 {
    place.0 / BUCKET_PLACES
}

/// Cuts a run where a row must end: at the end of its partition, at the bound of a row, and where
/// places are missing. Each piece with its partition and its first place.
fn pieces(items: &[InboxItem]) -> impl Iterator<Item = (u64, InboxSeq, &[InboxItem])> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let first = rest.first()?.seq;
        let begin = first.0;
        let fits = |(index, item): (usize, &InboxItem)| {
            let offset = u64::try_from(index).unwrap_or(u64::MAX);
            item.seq.0.checked_sub(begin) == Some(offset)
                && offset < RUN_PLACES_MAX
                && bucket_of(item.seq) == bucket_of(first)
        };
        let length = rest.iter().enumerate().take_while(|pair| fits(*pair)).count().max(1);
        let (piece, others) = rest.split_at(length);
        rest = others;
        Some((bucket_of(first), first, piece))
    })
}

#[cfg(test)]
mod tests;

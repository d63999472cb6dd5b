//! `inbox`: runs of contiguous places, each a row under its first place.
//!
//! A run never crosses a partition and never holds more than 32 places, so that the rows that can
//! cover a place are those whose first place is at most 31 below it. Runs of two owners may overlap:
//! each place is taken from the newest row that has it. Never deleted; a row expires, and what its
//! messages' authors gave less time expires before.

mod erase;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use iris_core::account::{InboxContent, InboxItem};
use iris_core::clock::{LogicalTimestamp, WallMs};
use iris_core::id::AccountId;
use iris_core::seq::InboxSeq;
use iris_core::shard::{Erasure, InboxRun};
use iris_proto::stored_rows;

use crate::apart;
use crate::cassandra::client::{Client, Kind, Statement, undecodable};
use crate::cassandra::derived::{self, DerivedStatement, Slots, Stamped, Together};
use crate::cassandra::value::{bigint, left_s, number, present};
use crate::{DamagedRow, StoreError};

use erase::Found;

/// Places of one partition.
const BUCKET_PLACES: u64 = 1024;
/// Places of one row.
const RUN_PLACES_MAX: u64 = 32;
/// Rows of one page: of runs of about 16 KiB, what one read should bring.
const PAGE: i32 = 16;

/// First place; both cells, each with the timestamp that it was written at.
type Columns = (i64, Option<Bytes>, Option<i64>, Option<Bytes>, Option<i64>);
/// Account, partition, first place.
type Key = ([u8; 16], i64, i64);
/// The values of a row.
type Lasting = ([u8; 16], i64, i64, Bytes, i32);
/// The values of its cell that expires sooner.
type Passing = (i32, Option<Bytes>, [u8; 16], i64, i64);

#[derive(Debug)]
pub(in crate::cassandra) struct Inbox {
    insert: DerivedStatement,
    set_expiring: DerivedStatement,
    range: Statement,
    ttl_s: i32,
}

/// A row, as it is read.
#[derive(Debug)]
struct Row {
    first: InboxSeq,
    items: Vec<InboxItem>,
    written: i64,
}

impl Inbox {
    pub(super) async fn prepare(client: &Client, ttl_s: i32) -> Result<Self, StoreError> {
        let columns = ["account", "bucket", "first", "run"];
        let range = "SELECT first, run, WRITETIME(run), expiring, WRITETIME(expiring) \
                     FROM {keyspace}.inbox \
                     WHERE account = ? AND bucket = ? AND first >= ? AND first <= ?";
        let key = "account = ? AND bucket = ? AND first = ?";
        Ok(Self {
            insert: DerivedStatement::insert(client, "inbox", &columns, true).await?,
            set_expiring: DerivedStatement::set_for(client, "inbox", "expiring", key).await?,
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
        let mut pairs = Vec::new();
        for run in runs {
            for (bucket, first, items) in pieces(&run.items) {
                let key =
                    (run.account.to_bytes(), bigint("bucket", bucket)?, bigint("place", first.0)?);
                match self.cells(key, items, run.timestamp) {
                    (lasting, None) => {
                        partitions.entry((run.account, bucket)).or_default().push(lasting);
                    }
                    (lasting, Some(passing)) => pairs.push(self.pair(lasting, passing)),
                }
            }
        }
        tokio::try_join!(
            self.insert.write(client, slots, partitions.into_values().collect()),
            derived::write_all(client, slots, pairs),
        )?;
        Ok(())
    }

    /// Both cells of a row.
    fn pair(&self, lasting: Stamped<Lasting>, passing: Stamped<Passing>) -> Together<'_> {
        let mut together = Together::default();
        together.add(&self.insert, lasting);
        together.add(&self.set_expiring, passing);
        together
    }

    /// A row with its items, and the cell of those that expire before it, if there are any.
    fn cells(
        &self,
        (account, bucket, first): Key,
        items: &[InboxItem],
        timestamp: LogicalTimestamp,
    ) -> (Stamped<Lasting>, Option<Stamped<Passing>>) {
        let (lasting, passing) = parted(items);
        let bytes = stored_rows::encode_inbox_run(&lasting);
        let lasting = Stamped {
            bytes: bytes.len(),
            values: (account, bucket, first, bytes, self.ttl_s),
            timestamp,
        };
        let last = passing.iter().filter_map(expires_at).max();
        let ttl_s = last.map_or(0, |last| left_s(last, self.ttl_s));
        let bytes = stored_rows::encode_inbox_run(&passing);
        let passing = (ttl_s > 0).then(|| Stamped {
            bytes: bytes.len(),
            values: (ttl_s, Some(bytes), account, bucket, first),
            timestamp,
        });
        (lasting, passing)
    }

    /// Takes the body of an erased message out of every row that has it; see [`erase`]. Answers the rows
    /// around it that cannot be understood.
    pub(in crate::cassandra) async fn erase(
        &self,
        client: &Client,
        slots: &Slots,
        erasure: &Erasure,
        place: InboxSeq,
    ) -> Result<Vec<DamagedRow>, StoreError> {
        let around = RUN_PLACES_MAX - 1;
        let bucket = bucket_of(place);
        let (from, upto) = (place.0.saturating_sub(2 * around), place.0 + around);
        let mut found = Vec::new();
        let take = |columns| {
            found.push(Found::of(columns)?);
            Ok(ControlFlow::Continue(()))
        };
        self.columns(client, (erasure.account, bucket), (from, upto), take).await?;
        for (first, items) in erase::written(&found, erasure, place) {
            self.rewrite(client, slots, erasure, (bucket, first), &items).await?;
        }
        Ok(erase::damaged(&found, erasure.account))
    }

    async fn rewrite(
        &self,
        client: &Client,
        slots: &Slots,
        erasure: &Erasure,
        (bucket, first): (u64, InboxSeq),
        items: &[InboxItem],
    ) -> Result<(), StoreError> {
        let key =
            (erasure.account.to_bytes(), bigint("bucket", bucket)?, bigint("place", first.0)?);
        let timestamp = erasure.timestamp;
        let (lasting, passing) = self.cells(key, items, timestamp);
        // Nothing is left of a cell whose messages are gone.
        let gone = Stamped { bytes: 0, values: (0, None, key.0, key.1, key.2), timestamp };
        self.pair(lasting, passing.unwrap_or(gone)).write(client, slots).await
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
        let from = page.wanted.0.0.saturating_sub(RUN_PLACES_MAX - 1);
        let range = (from, page.wanted.1.0);
        let take = |row: Row| {
            // Rows come in the order of their first places: no later one covers a place below.
            page.settle(row.first);
            page.offer(row.items, row.written);
            Ok(if page.full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        self.rows(client, (account, bucket), range, take).await
    }

    /// Reads the rows of a partition whose first places are in a range.
    async fn rows(
        &self,
        client: &Client,
        (account, bucket): (AccountId, u64),
        (from, upto): (u64, u64),
        mut take: impl FnMut(Row) -> Result<ControlFlow<()>, StoreError> + Send,
    ) -> Result<(), StoreError> {
        let take = |columns| row_of(columns).and_then(&mut take);
        self.columns(client, (account, bucket), (from, upto), take).await
    }

    async fn columns(
        &self,
        client: &Client,
        (account, bucket): (AccountId, u64),
        (from, upto): (u64, u64),
        take: impl FnMut(Columns) -> Result<ControlFlow<()>, StoreError> + Send,
    ) -> Result<(), StoreError> {
        let begin = bucket * BUCKET_PLACES;
        let (from, upto) = (from.max(begin), upto.min(begin + BUCKET_PLACES - 1));
        let bucket = bigint("bucket", bucket)?;
        let values = (account.to_bytes(), bucket, bigint("place", from)?, bigint("place", upto)?);
        client.pages(&self.range, PAGE, values, take).await
    }
}

/// Puts a row's two cells together. One that was written after the other says more of its places.
fn row_of((first, run, written, expiring, expiring_written): Columns) -> Result<Row, StoreError> {
    let first = InboxSeq(number("first", first)?);
    let mut items = stored_rows::decode_inbox_run(present("run", run)?).map_err(undecodable)?;
    let written = present("write timestamp", written)?;
    if let Some(expiring) = of_one_write(expiring, expiring_written, Some(written)) {
        for passing in stored_rows::decode_inbox_run(expiring).map_err(undecodable)? {
            if let Some(item) = items.iter_mut().find(|item| item.seq == passing.seq) {
                *item = passing;
            }
        }
    }
    Ok(Row { first, items, written })
}

/// The cell of what expires, if it is of the same write as the other one.
fn of_one_write(expiring: Option<Bytes>, at: Option<i64>, written: Option<i64>) -> Option<Bytes> {
    expiring.filter(|_| at == written)
}

/// The items of a row, with holes for those that expire on their own; and those. None has a body that
/// is kept apart.
fn parted(items: &[InboxItem]) -> (Vec<InboxItem>, Vec<InboxItem>) {
    let passing = items.iter().filter(|item| expires_at(item).is_some()).map(apart::stripped);
    let passing: Vec<_> = passing.collect();
    let lasting = items.iter().map(|item| match expires_at(item) {
        Some(_) => InboxItem { content: InboxContent::Hole, ..item.clone() },
        None => apart::stripped(item),
    });
    (lasting.collect(), passing)
}

fn expires_at(item: &InboxItem) -> Option<WallMs> {
    match &item.content {
        InboxContent::Message(message) if message.expires_at_ms != 0 => {
            Some(WallMs(message.expires_at_ms))
        }
        InboxContent::Message(_) | InboxContent::Notice(_) | InboxContent::Hole => None,
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

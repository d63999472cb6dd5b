//! `outbox`: items that their destinations had not confirmed when they grew old.
//!
//! A partition holds the items towards 256 neighbouring destinations, so that one shard's outboxes
//! are a few partitions of bounded size, and a reader touches only those with open items.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use iris_core::id::ShardId;
use iris_core::seq::OutboxSeq;
use iris_core::shard::{OutboxItem, OutboxRow, PeerRow};
use iris_proto::stored_rows::{self, PeerNumbers};

use crate::StoreError;
use crate::cassandra::client::{Client, Kind, Statement, undecodable};
use crate::cassandra::derived::{DerivedStatement, Slots, Stamped};
use crate::cassandra::value::{bigint, number, present, shard};

/// Destinations of one partition.
const PEERS_IN_PARTITION: i32 = 256;
/// Rows of one page: of items of at most 128 KiB, below what one message should be.
const PAGE: i32 = 64;
/// Partitions of one shard that are read at the same time.
const PARTITIONS_AT_ONCE: usize = 8;

#[derive(Debug)]
pub(in crate::cassandra) struct Outbox {
    insert: DerivedStatement,
    forget: DerivedStatement,
    read: Statement,
}

impl Outbox {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        let columns = ["shard", "peers", "peer", "seq", "item"];
        let confirmed = "shard = ? AND peers = ? AND peer = ? AND seq <= ?";
        let read = "SELECT peer, seq, item FROM {keyspace}.outbox WHERE shard = ? AND peers = ?";
        Ok(Self {
            insert: DerivedStatement::insert(client, "outbox", &columns, false).await?,
            forget: DerivedStatement::delete(client, "outbox", confirmed).await?,
            read: client.prepare(Kind::Read, read).await?,
        })
    }

    pub(in crate::cassandra) async fn write(
        &self,
        client: &Client,
        slots: &Slots,
        of: ShardId,
        rows: &[OutboxRow],
    ) -> Result<(), StoreError> {
        let mut partitions: BTreeMap<i32, Vec<_>> = BTreeMap::new();
        for row in rows {
            let (peers, peer) = place(row.to);
            let item = stored_rows::encode_outbox_item(&row.item);
            let bytes = item.len();
            let values = (shard(of), peers, peer, bigint("item", row.item.seq.0)?, item);
            let stamped = Stamped { values, timestamp: row.timestamp, bytes };
            partitions.entry(peers).or_default().push(stamped);
        }
        self.insert.write(client, slots, partitions.into_values().collect()).await
    }

    /// Deletes the items that their destinations confirmed, as of the rows that say so.
    pub(in crate::cassandra) async fn forget(
        &self,
        client: &Client,
        slots: &Slots,
        of: ShardId,
        rows: &[PeerRow],
    ) -> Result<(), StoreError> {
        let mut partitions: BTreeMap<i32, Vec<_>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.forget_items && row.out_confirmed.0 > 0) {
            let (peers, peer) = place(row.peer);
            let values = (shard(of), peers, peer, bigint("item", row.out_confirmed.0)?);
            let stamped = Stamped { values, timestamp: row.timestamp, bytes: 32 };
            partitions.entry(peers).or_default().push(stamped);
        }
        self.forget.write(client, slots, partitions.into_values().collect()).await
    }

    /// The items without confirmation, by what the rows of `shard_peer` say of it: an item that they
    /// do not count comes again from the log.
    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        of: ShardId,
        known: &[(ShardId, PeerNumbers)],
    ) -> Result<Vec<(ShardId, OutboxItem)>, StoreError> {
        let open = |numbers: &PeerNumbers| numbers.out_confirmed.next() < numbers.out_next;
        let known: BTreeMap<_, _> =
            known.iter().filter(|(_, numbers)| open(numbers)).copied().collect();
        let partitions: BTreeSet<_> = known.keys().map(|peer| place(*peer).0).collect();
        let reads = partitions.into_iter().map(|peers| self.read_one(client, of, peers, &known));
        let items: Vec<Vec<_>> =
            futures::stream::iter(reads).buffered(PARTITIONS_AT_ONCE).try_collect().await?;
        Ok(items.into_iter().flatten().collect())
    }

    async fn read_one(
        &self,
        client: &Client,
        of: ShardId,
        peers: i32,
        known: &BTreeMap<ShardId, PeerNumbers>,
    ) -> Result<Vec<(ShardId, OutboxItem)>, StoreError> {
        let mut items = Vec::new();
        let take = |(peer, seq, item): (i32, i64, Option<Bytes>)| {
            let (to, seq) = (ShardId::new(number("peer", peer)?), OutboxSeq(number("seq", seq)?));
            if known.get(&to).is_some_and(|numbers| seq > numbers.out_confirmed) {
                let item = stored_rows::decode_outbox_item(seq, present("item", item)?);
                items.push((to, item.map_err(undecodable)?));
            }
            Ok(ControlFlow::Continue(()))
        };
        client.pages(&self.read, PAGE, (shard(of), peers), take).await?;
        Ok(items)
    }
}

/// The partition of a destination, and its place in it.
fn place(to: ShardId) -> (i32, i32) {
    let peer = shard(to);
    (peer / PEERS_IN_PARTITION, peer)
}

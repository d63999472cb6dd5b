//! `shard_peer`: what a shard knows of each other shard.

use std::ops::ControlFlow;

use bytes::Bytes;
use iris_core::id::ShardId;
use iris_core::shard::PeerRow;
use iris_proto::stored_rows::{self, PeerNumbers};

use crate::StoreError;
use crate::cassandra::client::{Client, Kind, Statement, undecodable};
use crate::cassandra::derived::{DerivedStatement, Slots, Stamped};
use crate::cassandra::value::{number, present, shard};

/// Rows of one page: a partition has one for each shard of the cluster at most.
const PAGE: i32 = 4096;

#[derive(Debug)]
pub(in crate::cassandra) struct ShardPeer {
    insert: DerivedStatement,
    read: Statement,
}

impl ShardPeer {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        let columns = ["shard", "peer", "state"];
        let read = "SELECT peer, state FROM {keyspace}.shard_peer WHERE shard = ?";
        Ok(Self {
            insert: DerivedStatement::insert(client, "shard_peer", &columns, false).await?,
            read: client.prepare(Kind::Read, read).await?,
        })
    }

    pub(in crate::cassandra) async fn write(
        &self,
        client: &Client,
        slots: &Slots,
        of: ShardId,
        rows: &[PeerRow],
    ) -> Result<(), StoreError> {
        let stamped = |row: &PeerRow| {
            let state = stored_rows::encode_peer(PeerNumbers {
                out_next: row.out_next,
                out_confirmed: row.out_confirmed,
                in_next: row.in_next,
                pos: row.pos,
            });
            let bytes = state.len();
            let values = (shard(of), shard(row.peer), state);
            Stamped { values, timestamp: row.timestamp, bytes }
        };
        self.insert.write(client, slots, vec![rows.iter().map(stamped).collect()]).await
    }

    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        of: ShardId,
    ) -> Result<Vec<(ShardId, PeerNumbers)>, StoreError> {
        let mut peers = Vec::new();
        let take = |(peer, state): (i32, Option<Bytes>)| {
            let state = present("state", state)?;
            let numbers = stored_rows::decode_peer(state).map_err(undecodable)?;
            peers.push((ShardId::new(number("peer", peer)?), numbers));
            Ok(ControlFlow::Continue(()))
        };
        client.pages(&self.read, PAGE, (shard(of),), take).await?;
        Ok(peers)
    }
}

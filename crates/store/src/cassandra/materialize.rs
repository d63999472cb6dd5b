//! A flush, in the order that makes a crash at any point harmless.
//!
//! Never starts a step before the one before it is durable.

use iris_core::id::ShardId;
use iris_core::shard::Flush;

use super::{CassandraStore, history};
use crate::{Checkpoint, StoreError};

/// Writes a flush. What of it was written when it fails, nobody knows: it is written again.
pub(super) async fn write(
    store: &CassandraStore,
    shard: ShardId,
    flush: &Flush,
    checkpoint: Checkpoint,
) -> Result<(), StoreError> {
    steps(store, shard, flush, checkpoint).await.map_err(|error| match error {
        StoreError::Unavailable(text) => StoreError::Unknown(text),
        other => other,
    })
}

async fn steps(
    store: &CassandraStore,
    shard: ShardId,
    flush: &Flush,
    checkpoint: Checkpoint,
) -> Result<(), StoreError> {
    let CassandraStore { client, tables, slots, .. } = store;
    // What accounts and peers will point to.
    tokio::try_join!(
        tables.inbox.write(client, slots, &flush.inbox),
        tables.conversation_index.write(client, slots, &flush.index),
        tables.conversation_mark.write(client, slots, &flush.marks),
        tables.outbox.write(client, slots, shard, &flush.outbox),
    )?;
    // A message that is erased may be one of those.
    history::erase(store, &flush.erasures).await?;
    // What the checkpoint will promise.
    tokio::try_join!(
        tables.account_state.write(client, slots, &flush.accounts),
        tables.shard_peer.write(client, slots, shard, &flush.peers),
    )?;
    // Items are deleted only once the row that counts them as confirmed is durable.
    tokio::try_join!(
        tables.shard_checkpoint.write(client, slots, shard, checkpoint, flush.timestamp),
        tables.outbox.forget(client, slots, shard, &flush.peers),
    )?;
    Ok(())
}

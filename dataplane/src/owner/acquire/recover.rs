//! The state of a claimed shard: its checkpoint, and the entries behind it of every ownership since.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use iris_core::account::Account;
use iris_core::clock::Hlc;
use iris_core::entry::Entry;
use iris_core::group::Group;
use iris_core::id::{AccountId, GroupId, LaneId, ShardId};
use iris_core::seq::{BlockSeq, Epoch, ShardSeq};
use iris_core::shard::{OutboxItem, Peer, Recovered};
use iris_core::takeover::{EpochRow, are_all, log_parts};
use iris_proto::stored_rows::PeerNumbers;
use iris_store::{Checkpoint, ShardRef, StoreError};

use super::super::takeover::{LaneTail, TakeoverError};
use super::{AcquireError, Acquirer};

/// Accounts, or groups, read at once for one shard.
const LOADS_AT_ONCE: usize = 16;

/// What the source of a planned move hands over. Everything in it is released.
#[derive(Debug, Default)]
pub(in crate::owner) struct Hot {
    /// Everything up to here is in derived rows.
    pub(in crate::owner) checkpoint: ShardSeq,
    pub(in crate::owner) clock: Hlc,
    /// Accounts that are as their rows have them.
    pub(in crate::owner) accounts: BTreeMap<AccountId, Option<Account>>,
    /// The entries behind the checkpoint.
    pub(in crate::owner) tail: Vec<Entry>,
}

impl Acquirer {
    /// Reads everything that a shard under `epoch` needs.
    pub(super) async fn recover(
        &self,
        at: ShardRef,
        epoch: Epoch,
    ) -> Result<Recovered, AcquireError> {
        let checkpoint = self.store.checkpoint(at.shard).await?;
        let (peers, tail) = tokio::try_join!(
            async { self.peers(at.shard).await.map_err(AcquireError::from) },
            self.tail(at, epoch, checkpoint),
        )?;
        let known = BTreeMap::new();
        let (accounts, groups) = tokio::try_join!(self.accounts(&tail, known), self.groups(&tail))?;
        Ok(Recovered {
            checkpoint: checkpoint.map(|c| c.pos).unwrap_or_default(),
            clock: checkpoint.map(|c| c.clock).unwrap_or_default(),
            peers,
            tail,
            accounts,
            groups,
        })
    }

    /// Reads what a planned move needs besides what was handed over: what the tail changes, and what is
    /// known of other shards.
    pub(super) async fn recover_handed(
        &self,
        at: ShardRef,
        hot: Hot,
    ) -> Result<Recovered, AcquireError> {
        let Hot { checkpoint, clock, accounts, tail } = hot;
        let (peers, (accounts, groups)) = tokio::try_join!(
            async { self.peers(at.shard).await.map_err(AcquireError::from) },
            async { tokio::try_join!(self.accounts(&tail, accounts), self.groups(&tail)) },
        )?;
        Ok(Recovered { checkpoint, clock, peers, tail, accounts, groups })
    }

    async fn peers(&self, shard: ShardId) -> Result<BTreeMap<ShardId, Peer>, StoreError> {
        let numbers = self.store.peers(shard).await?;
        let items = self.store.outbox(shard, &numbers).await?;
        Ok(with_items(numbers, items))
    }

    /// The entries behind the checkpoint, of each ownership from the checkpoint's to the one before
    /// `epoch`, up to its release or seal.
    async fn tail(
        &self,
        at: ShardRef,
        epoch: Epoch,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Vec<Entry>, AcquireError> {
        let from = checkpoint.map(|c| c.epoch).unwrap_or_default();
        let mut rows = Vec::new();
        for row in self.epochs_before(at, from, epoch).await? {
            rows.push((row, self.end_of(&row).await?));
        }
        let behind = |seq| checkpoint.is_none_or(|c| seq > c.pos);
        let mut tail = Vec::new();
        for part in log_parts(checkpoint.map(|c| (c.epoch, c.block)), &rows, epoch) {
            let lane = LaneId { session: part.session, lane: part.lane };
            let wanted = |epoch, seq| epoch == part.epoch && behind(seq);
            tail.extend(
                self.lane_tail(lane, part.end).await?.of_shard(at.shard, part.from, wanted)?,
            );
        }
        Ok(tail)
    }

    /// All ownerships from `from` on before the one that was claimed.
    async fn epochs_before(
        &self,
        at: ShardRef,
        from: Epoch,
        claimed: Epoch,
    ) -> Result<Vec<EpochRow>, AcquireError> {
        let mut rows = self.store.epochs_between(at, from, claimed).await?;
        if !are_all(&rows, from, claimed) {
            tracing::warn!(shard = %at.shard, %claimed, "a plain read misses earlier ownerships");
            rows = self.store.epochs_from(at, from).await?;
            rows.retain(|row| row.epoch < claimed);
        }
        if are_all(&rows, from, claimed) {
            return Ok(rows);
        }
        let missing = format!("shard {} has not all ownerships before {claimed}", at.shard);
        Err(StoreError::Corrupt(missing).into())
    }

    async fn end_of(&self, row: &EpochRow) -> Result<BlockSeq, AcquireError> {
        if let Some(end) = row.released_block {
            return Ok(end);
        }
        let lane = LaneId { session: row.session, lane: row.lane };
        let sealed = self.end_of_lane(lane).await?;
        // Its successor's claim would have been refused otherwise.
        sealed.ok_or(AcquireError::Held(row.session))
    }

    /// The tail of a lane below `end`, read once for all shards that ended there. Shards that the
    /// session released earlier end earlier, each with what its own blocks said was written by then.
    pub(super) async fn lane_tail(
        &self,
        lane: LaneId,
        end: BlockSeq,
    ) -> Result<Arc<LaneTail>, AcquireError> {
        let cell = Arc::clone(self.tails.lock().entry((lane, end)).or_default());
        let tail = cell.get_or_try_init(|| async {
            LaneTail::read(&self.store, lane, end).await.map_err(AcquireError::from)
        });
        tail.await.cloned()
    }

    /// The accounts that the tail changes, besides those that are known.
    async fn accounts(
        &self,
        tail: &[Entry],
        known: BTreeMap<AccountId, Option<Account>>,
    ) -> Result<BTreeMap<AccountId, Option<Account>>, AcquireError> {
        let mut wanted = Recovered::accounts_of_tail(tail);
        wanted.retain(|account| !known.contains_key(account));
        let reads = wanted.into_iter().map(|account| async move {
            self.store.account(account).await.map(|state| (account, state))
        });
        let mut reads = futures::stream::iter(reads).buffer_unordered(LOADS_AT_ONCE);
        let mut accounts = known;
        while let Some(read) = reads.next().await {
            let (account, state) = read.map_err(TakeoverError::from)?;
            accounts.insert(account, state);
        }
        Ok(accounts)
    }

    async fn groups(
        &self,
        tail: &[Entry],
    ) -> Result<BTreeMap<GroupId, Option<Group>>, AcquireError> {
        let reads = Recovered::groups_of_tail(tail)
            .into_iter()
            .map(|group| async move { self.store.group(group).await.map(|state| (group, state)) });
        let mut reads = futures::stream::iter(reads).buffer_unordered(LOADS_AT_ONCE);
        let mut groups = BTreeMap::new();
        while let Some(read) = reads.next().await {
            let (group, state) = read.map_err(TakeoverError::from)?;
            groups.insert(group, state);
        }
        Ok(groups)
    }
}

fn with_items(
    numbers: Vec<(ShardId, PeerNumbers)>,
    items: Vec<(ShardId, OutboxItem)>,
) -> BTreeMap<ShardId, Peer> {
    let mut by_peer: BTreeMap<ShardId, Vec<OutboxItem>> = BTreeMap::new();
    for (to, item) in items {
        by_peer.entry(to).or_default().push(item);
    }
    let peers = numbers.into_iter().map(|(id, n)| {
        let items = by_peer.remove(&id).unwrap_or_default();
        (id, Peer::recovered((n.out_next, n.out_confirmed, n.in_next), n.pos, items))
    });
    peers.collect()
}

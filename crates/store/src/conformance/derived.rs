//! Accounts, peers and checkpoints.

use futures::future::try_join_all;
use iris_core::clock::LogicalTimestamp;
use iris_core::id::ShardId;
use iris_core::seq::{Epoch, HomeGen, InboxSeq, ShardSeq};
use iris_core::shard::Flush;
use iris_proto::stored_rows::PeerNumbers;

use super::fixture::{
    World, account_row, at, checkpoint, empty_flush, failed, outbox_row, peer_row, run,
};
use super::{Verdict, check, same, suite};
use crate::ShardRef;

suite! {
    what_was_never_written_is_not_there,
    a_flush_is_read_as_it_was_written,
    a_flush_may_be_written_again,
    a_late_write_of_an_older_owner_changes_nothing,
    a_later_position_of_the_same_owner_wins,
    a_later_home_wins,
    a_checkpoint_never_goes_back,
    many_shards_flush_at_once,
}

/// A flush with one row of everything.
fn full_flush(world: &World<'_>, epoch: u32, pos: u64) -> (iris_core::id::AccountId, Flush) {
    let account = world.account();
    (account, flush_of(account, epoch, pos))
}

fn flush_of(account: iris_core::id::AccountId, epoch: u32, pos: u64) -> Flush {
    let (stamp, peer) = (at(epoch, pos), ShardId::new(500));
    Flush {
        accounts: vec![account_row(account, pos, stamp)],
        inbox: vec![run(account, 1..=3, pos, stamp)],
        peers: vec![peer_row(peer, (pos + 10, 1), false, stamp)],
        outbox: vec![outbox_row(peer, account, 5, stamp)],
        ..empty_flush(epoch, pos)
    }
}

/// Everything of a shard and an account that can be read.
async fn everything(
    world: &World<'_>,
    shard: ShardRef,
    account: iris_core::id::AccountId,
) -> Result<String, String> {
    let (store, id) = (world.store, shard.shard);
    let (from, upto) = (InboxSeq(0), InboxSeq(100));
    let peers = store.peers(id).await.map_err(failed)?;
    let items = store.outbox(id, &peers).await.map_err(failed)?;
    let read = (
        store.account(account).await.map_err(failed)?,
        store.inbox(account, from, upto, usize::MAX).await.map_err(failed)?,
        peers,
        items,
        store.checkpoint(id).await.map_err(failed)?,
    );
    Ok(format!("{read:?}"))
}

async fn what_was_never_written_is_not_there(world: &World<'_>) -> Verdict {
    let (shard, account) = (world.shard(), world.account());
    same!(everything(world, shard, account).await?, "(None, [], [], [], None)", "everything");
    Ok(())
}

async fn a_flush_is_read_as_it_was_written(world: &World<'_>) -> Verdict {
    let (store, shard) = (world.store, world.shard());
    let (account, flush) = full_flush(world, 3, 40);
    world.flush(shard, &flush).await?;
    let state = store.account(account).await.map_err(failed)?;
    same!(state, flush.accounts.first().map(|row| row.state.clone()), "the account");
    let items = store.inbox(account, InboxSeq(0), InboxSeq(9), usize::MAX).await.map_err(failed)?;
    same!(Some(items), flush.inbox.first().map(|run| run.items.clone()), "the inbox");
    let numbers = flush.peers.first().map(|row| {
        let PeerNumbers { out_next, out_confirmed, in_next, pos } = PeerNumbers {
            out_next: row.out_next,
            out_confirmed: row.out_confirmed,
            in_next: row.in_next,
            pos: row.pos,
        };
        (row.peer, PeerNumbers { out_next, out_confirmed, in_next, pos })
    });
    let peers = store.peers(shard.shard).await.map_err(failed)?;
    same!(peers.first().copied(), numbers, "the peer");
    let item = flush.outbox.first().map(|row| (row.to, row.item.clone()));
    let items = store.outbox(shard.shard, &peers).await.map_err(failed)?;
    same!(items.first().cloned(), item, "the item");
    let found = store.checkpoint(shard.shard).await.map_err(failed)?;
    same!(found, Some(checkpoint(&flush)), "the checkpoint");
    Ok(())
}

async fn a_flush_may_be_written_again(world: &World<'_>) -> Verdict {
    let shard = world.shard();
    let (account, flush) = full_flush(world, 3, 40);
    world.flush(shard, &flush).await?;
    let once = everything(world, shard, account).await?;
    for _ in 0..3 {
        world.flush(shard, &flush).await?;
    }
    same!(everything(world, shard, account).await?, once, "everything");
    Ok(())
}

async fn a_late_write_of_an_older_owner_changes_nothing(world: &World<'_>) -> Verdict {
    let shard = world.shard();
    let (account, flush) = full_flush(world, 9, 40);
    world.flush(shard, &flush).await?;
    let newest = everything(world, shard, account).await?;
    // A deposed owner that was further, and one that was not.
    for (epoch, pos) in [(8, 900), (8, 40), (1, 1), (8, LogicalTimestamp::POS_MAX)] {
        let late = flush_of(account, epoch, pos);
        world.flush(shard, &late).await?;
        same!(everything(world, shard, account).await?, newest, "after epoch {epoch}, {pos}");
    }
    Ok(())
}

async fn a_later_position_of_the_same_owner_wins(world: &World<'_>) -> Verdict {
    let shard = world.shard();
    let (account, flush) = full_flush(world, 2, 40);
    world.flush(shard, &flush).await?;
    let later = flush_of(account, 2, 41);
    world.flush(shard, &later).await?;
    let found = everything(world, shard, account).await?;
    world.flush(shard, &flush).await?;
    same!(everything(world, shard, account).await?, found, "after the earlier one again");
    let state = world.store.account(account).await.map_err(failed)?;
    same!(state.map(|state| state.head), Some(InboxSeq(41)), "the head of the inbox");
    Ok(())
}

async fn a_later_home_wins(world: &World<'_>) -> Verdict {
    let here = world.shard();
    let there = ShardRef { home_gen: HomeGen(1), ..here };
    let account = world.account();
    let stamped = |home: u8, epoch: u32, pos: u64| {
        let stamp = LogicalTimestamp::new(HomeGen(home), Epoch(epoch), ShardSeq(pos));
        Flush {
            accounts: vec![account_row(account, pos, stamp)],
            timestamp: stamp,
            ..empty_flush(epoch, pos)
        }
    };
    world.flush(there, &stamped(1, 5, 20)).await?;
    world.flush(here, &stamped(0, LogicalTimestamp::EPOCH_MAX, 30)).await?;
    let state = world.store.account(account).await.map_err(failed)?;
    same!(state.map(|state| state.head), Some(InboxSeq(20)), "the head of the inbox");
    let found = world.store.checkpoint(here.shard).await.map_err(failed)?;
    same!(found.map(|found| found.pos), Some(ShardSeq(20)), "the checkpoint");
    Ok(())
}

async fn a_checkpoint_never_goes_back(world: &World<'_>) -> Verdict {
    let shard = world.shard();
    let mut order: Vec<(u32, u64)> = (1..=4).flat_map(|e| (1..=6).map(move |p| (e, p))).collect();
    let mut random = fastrand::Rng::with_seed(world.random());
    random.shuffle(&mut order);
    let mut newest = (0, 0);
    for (epoch, pos) in order {
        newest = newest.max((epoch, pos));
        world.flush(shard, &empty_flush(epoch, pos)).await?;
        let found = world.store.checkpoint(shard.shard).await.map_err(failed)?;
        let found = found.map(|found| (found.epoch.0, found.pos.0));
        same!(found, Some(newest), "the checkpoint after epoch {epoch}, {pos}");
    }
    let flushes: Vec<_> = (7..60).map(|pos| empty_flush(4, pos)).collect();
    try_join_all(flushes.iter().map(|flush| world.flush(shard, flush))).await?;
    let found = world.store.checkpoint(shard.shard).await.map_err(failed)?;
    same!(found.map(|found| found.pos), Some(ShardSeq(59)), "the checkpoint after many at once");
    Ok(())
}

async fn many_shards_flush_at_once(world: &World<'_>) -> Verdict {
    let shards: Vec<_> = (0..24).map(|_| world.shard()).collect();
    let mut written = Vec::new();
    for shard in &shards {
        let accounts: Vec<_> = (0..20).map(|_| world.account()).collect();
        let stamp = at(1, 70);
        let flush = Flush {
            accounts: accounts.iter().map(|a| account_row(*a, 70, stamp)).collect(),
            inbox: accounts.iter().map(|a| run(*a, 1..=70, 70, stamp)).collect(),
            peers: (0..70).map(|n| peer_row(ShardId::new(n), (9, 0), false, stamp)).collect(),
            ..empty_flush(1, 70)
        };
        written.push((*shard, accounts, flush));
    }
    try_join_all(written.iter().map(|(shard, _, flush)| world.flush(*shard, flush))).await?;
    for (shard, accounts, _) in written {
        let peers = world.store.peers(shard.shard).await.map_err(failed)?;
        same!(peers.len(), 70, "peers");
        for account in accounts {
            let read = world.store.inbox(account, InboxSeq(0), InboxSeq(99), usize::MAX);
            let items = read.await.map_err(failed)?;
            check!(
                items.iter().map(|item| item.seq.0).eq(1..=70),
                "places of {account}: {items:?}"
            );
            let state = world.store.account(account).await.map_err(failed)?;
            same!(state.map(|state| state.head), Some(InboxSeq(70)), "the head");
        }
    }
    Ok(())
}

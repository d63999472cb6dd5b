//! Ownerships and seals.

use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use iris_core::id::LaneNo;
use iris_core::seq::{BlockSeq, Epoch, HomeGen};
use iris_core::takeover::EpochRow;

use super::fixture::{World, failed};
use super::{Verdict, check, none, same, suite};
use crate::{Cas, ShardRef, StoreError};

suite! {
    a_shard_that_nobody_had_has_no_head,
    claims_form_a_chain,
    a_claim_is_never_released_from_the_start,
    of_concurrent_claims_one_is_applied,
    an_ownership_is_released_once_and_only_while_it_is_the_newest,
    of_concurrent_releases_one_is_applied,
    release_and_claim_exclude_each_other_in_no_order,
    home_generations_have_chains_of_their_own,
    many_ownerships_are_read_in_order,
    heads_are_read_in_the_order_asked_for,
    a_lane_that_nobody_sealed_is_not_sealed,
    a_seal_is_decided_once,
    of_concurrent_seals_one_decides_for_all,
    lanes_are_sealed_one_by_one,
}

async fn a_shard_that_nobody_had_has_no_head(world: &World<'_>) -> Verdict {
    let shard = world.shard();
    same!(world.store.epoch_head(shard).await.map_err(failed)?, None, "the head");
    same!(world.store.head_to_follow(shard).await.map_err(failed)?, None, "the head to follow");
    let epochs = world.store.epochs_from(shard, Epoch(0)).await.map_err(failed)?;
    none!(epochs, "the ownerships");
    let release = world.store.release(shard, Epoch(1), BlockSeq(1)).await.map_err(failed)?;
    same!(release, Cas::Refused, "a release of what nobody has");
    same!(world.store.epoch_head(shard).await.map_err(failed)?, None, "the head after it");
    Ok(())
}

async fn claims_form_a_chain(world: &World<'_>) -> Verdict {
    let (store, shard) = (world.store, world.shard());
    for epoch in [0, 2, 3] {
        let early = store.claim(shard, world.ownership(epoch)).await.map_err(failed)?;
        same!(early, Cas::Refused, "epoch {epoch} of a shard that nobody had");
    }
    let first = world.ownership(1);
    same!(store.claim(shard, first).await.map_err(failed)?, Cas::Applied, "epoch 1");
    same!(store.claim(shard, first).await.map_err(failed)?, Cas::Refused, "epoch 1 again");
    let other = store.claim(shard, world.ownership(1)).await.map_err(failed)?;
    same!(other, Cas::Refused, "epoch 1 by another");
    let jump = store.claim(shard, world.ownership(3)).await.map_err(failed)?;
    same!(jump, Cas::Refused, "epoch 3 after 1");
    same!(store.epoch_head(shard).await.map_err(failed)?, Some(first), "the head");
    let to_follow = async || store.head_to_follow(shard).await.map_err(failed);
    same!(to_follow().await?, Some(first), "the head that a quorum shows");
    let second = world.ownership(2);
    same!(store.claim(shard, second).await.map_err(failed)?, Cas::Applied, "epoch 2");
    same!(store.epoch_head(shard).await.map_err(failed)?, Some(second), "the head after it");
    same!(to_follow().await?, Some(second), "the head after it that a quorum shows");
    let from = async |epoch| store.epochs_from(shard, Epoch(epoch)).await.map_err(failed);
    same!(from(0).await?, [first, second], "every ownership");
    same!(from(2).await?, [second], "those from 2 on");
    none!(from(3).await?, "those from 3 on");
    let between =
        async |epoch, below| store.epochs_between(shard, Epoch(epoch), Epoch(below)).await;
    same!(between(0, 2).await.map_err(failed)?, [first], "those before the head");
    same!(between(1, 3).await.map_err(failed)?, [first, second], "those before the next one");
    none!(between(2, 2).await.map_err(failed)?, "none");
    Ok(())
}

async fn a_claim_is_never_released_from_the_start(world: &World<'_>) -> Verdict {
    let (store, shard) = (world.store, world.shard());
    let row = EpochRow { released_block: Some(BlockSeq(9)), ..world.ownership(1) };
    same!(store.claim(shard, row).await.map_err(failed)?, Cas::Applied, "the claim");
    let head = store.epoch_head(shard).await.map_err(failed)?;
    same!(head, Some(EpochRow { released_block: None, ..row }), "the head");
    Ok(())
}

async fn of_concurrent_claims_one_is_applied(world: &World<'_>) -> Verdict {
    let (store, shard) = (world.store, world.shard());
    for epoch in 1..=3 {
        let rows: Vec<_> = (0..6).map(|_| world.ownership(epoch)).collect();
        let claims = join_all(rows.iter().map(|row| claim(world, shard, *row))).await;
        let claims = claims.into_iter().collect::<Result<Vec<_>, _>>()?;
        let applied: Vec<_> = rows.iter().zip(&claims).filter(|(_, applied)| **applied).collect();
        same!(applied.len(), 1, "applied claims of epoch {epoch}");
        let head = patiently(|| store.epoch_head(shard)).await?;
        same!(head, applied.first().map(|(row, _)| **row), "the head");
    }
    Ok(())
}

/// Claims, and resolves an unknown outcome as an owner must: it reads, and claims again where nobody has
/// the epoch. A compare-and-swap that gave way to another one says that its outcome is unknown.
async fn claim(world: &World<'_>, shard: ShardRef, row: EpochRow) -> Result<bool, String> {
    const CLAIMS_MAX: usize = 20;
    for _ in 0..CLAIMS_MAX {
        match world.store.claim(shard, row).await {
            Ok(Cas::Applied) => return Ok(true),
            // It is refused by its own row where an earlier try was applied after all.
            Ok(Cas::Refused) | Err(StoreError::Unknown(_)) => {}
            Err(error) => return Err(failed(error)),
        }
        let rows = patiently(|| world.store.epochs_from(shard, row.epoch)).await?;
        if let Some(found) = rows.first() {
            return Ok(*found == row);
        }
    }
    Err(format!("nobody has the epoch after {CLAIMS_MAX} claims"))
}

/// A read beside compare-and-swaps of the same row. Such a read may time out, as they may, and whoever
/// has to know reads again.
async fn patiently<'a, T>(
    read: impl Fn() -> BoxFuture<'a, Result<T, StoreError>>,
) -> Result<T, String> {
    const READS_MAX: usize = 20;
    let mut answer = read().await;
    for _ in 1..READS_MAX {
        if !matches!(answer, Err(StoreError::Unavailable(_))) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        answer = read().await;
    }
    answer.map_err(failed)
}

async fn an_ownership_is_released_once_and_only_while_it_is_the_newest(
    world: &World<'_>,
) -> Verdict {
    let (store, shard) = (world.store, world.shard());
    let release = async |epoch, block| {
        store.release(shard, Epoch(epoch), BlockSeq(block)).await.map_err(failed)
    };
    let (first, second) = (world.ownership(1), world.ownership(2));
    same!(store.claim(shard, first).await.map_err(failed)?, Cas::Applied, "epoch 1");
    same!(release(2, 5).await?, Cas::Refused, "a release of an epoch to come");
    same!(release(0, 5).await?, Cas::Refused, "a release of no epoch");
    same!(release(1, 0).await?, Cas::Applied, "the release, at block 0");
    same!(release(1, 0).await?, Cas::Refused, "the same release again");
    same!(release(1, 8).await?, Cas::Refused, "another release");
    let released = EpochRow { released_block: Some(BlockSeq(0)), ..first };
    same!(store.epoch_head(shard).await.map_err(failed)?, Some(released), "the head");
    same!(store.claim(shard, second).await.map_err(failed)?, Cas::Applied, "epoch 2");
    same!(release(1, 3).await?, Cas::Refused, "a release of an epoch that was");
    let epochs = store.epochs_from(shard, Epoch(1)).await.map_err(failed)?;
    same!(epochs, [released, second], "the ownerships");

    let skipped = world.shard();
    for epoch in 1..=2 {
        let claimed = store.claim(skipped, world.ownership(epoch)).await.map_err(failed)?;
        same!(claimed, Cas::Applied, "epoch {epoch} of the other shard");
    }
    let late = store.release(skipped, Epoch(1), BlockSeq(3)).await.map_err(failed)?;
    same!(late, Cas::Refused, "the release of an epoch that was never released and is over");
    Ok(())
}

async fn of_concurrent_releases_one_is_applied(world: &World<'_>) -> Verdict {
    let (store, shard) = (world.store, world.shard());
    let row = world.ownership(1);
    same!(store.claim(shard, row).await.map_err(failed)?, Cas::Applied, "epoch 1");
    let blocks = [3, 4, 5, 6];
    let releases =
        join_all(blocks.map(|block| store.release(shard, Epoch(1), BlockSeq(block)))).await;
    let head = patiently(|| store.epoch_head(shard)).await?.ok_or("no head")?;
    let applied: Vec<_> = blocks
        .iter()
        .zip(&releases)
        .filter(|(_, outcome)| matches!(outcome, Ok(Cas::Applied)))
        .map(|(block, _)| BlockSeq(*block))
        .collect();
    check!(applied.len() <= 1, "{} releases were applied", applied.len());
    let unknown = releases.iter().any(|outcome| matches!(outcome, Err(StoreError::Unknown(_))));
    check!(!applied.is_empty() || unknown, "no release was applied: {releases:?}");
    if let [block] = applied.as_slice() {
        same!(head.released_block, Some(*block), "where it was released");
    }
    Ok(())
}

async fn release_and_claim_exclude_each_other_in_no_order(world: &World<'_>) -> Verdict {
    let (store, shard) = (world.store, world.shard());
    let first = world.ownership(1);
    same!(store.claim(shard, first).await.map_err(failed)?, Cas::Applied, "epoch 1");
    let second = world.ownership(2);
    let (released, claimed) =
        futures::join!(store.release(shard, Epoch(1), BlockSeq(4)), claim(world, shard, second));
    check!(claimed?, "the claim was refused");
    let epochs = patiently(|| store.epochs_from(shard, Epoch(1))).await?;
    same!(epochs.len(), 2, "ownerships");
    // Either came first; what the release answered is what the rows say.
    let stored = epochs.first().and_then(|row| row.released_block);
    match released {
        Ok(Cas::Applied) => same_block(stored, Some(BlockSeq(4))),
        Ok(Cas::Refused) => same_block(stored, None),
        Err(StoreError::Unknown(_)) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn same_block(found: Option<BlockSeq>, expected: Option<BlockSeq>) -> Verdict {
    same!(found, expected, "where epoch 1 was released");
    Ok(())
}

async fn home_generations_have_chains_of_their_own(world: &World<'_>) -> Verdict {
    let (store, here) = (world.store, world.shard());
    let there = ShardRef { home_gen: HomeGen(1), ..here };
    let row = world.ownership(1);
    same!(store.claim(here, row).await.map_err(failed)?, Cas::Applied, "epoch 1 here");
    same!(store.epoch_head(there).await.map_err(failed)?, None, "the head there");
    let other = world.ownership(1);
    same!(store.claim(there, other).await.map_err(failed)?, Cas::Applied, "epoch 1 there");
    same!(store.epoch_head(here).await.map_err(failed)?, Some(row), "the head here");
    same!(store.epoch_head(there).await.map_err(failed)?, Some(other), "the head there");
    Ok(())
}

async fn many_ownerships_are_read_in_order(world: &World<'_>) -> Verdict {
    let (store, shard) = (world.store, world.shard());
    let mut rows = Vec::new();
    for epoch in 1..=300 {
        let row = world.ownership(epoch);
        same!(store.claim(shard, row).await.map_err(failed)?, Cas::Applied, "epoch {epoch}");
        rows.push(row);
    }
    let found = store.epochs_from(shard, Epoch(2)).await.map_err(failed)?;
    same!(found.len(), 299, "ownerships from 2 on");
    check!(found[..] == rows[1..], "the ownerships differ from what was claimed");
    Ok(())
}

async fn heads_are_read_in_the_order_asked_for(world: &World<'_>) -> Verdict {
    let store = world.store;
    let shards: Vec<_> = (0..70).map(|_| world.shard()).collect();
    let mut expected = Vec::new();
    for (index, shard) in shards.iter().enumerate() {
        let row = world.ownership(1);
        let claimed = index % 3 == 0;
        if claimed {
            same!(store.claim(*shard, row).await.map_err(failed)?, Cas::Applied, "epoch 1");
        }
        expected.push((*shard, claimed.then_some(row)));
    }
    expected.reverse();
    let asked: Vec<_> = expected.iter().map(|(shard, _)| *shard).collect();
    same!(store.heads(&asked).await.map_err(failed)?, expected, "the heads");
    none!(store.heads(&[]).await.map_err(failed)?, "the heads of none");
    Ok(())
}

async fn a_lane_that_nobody_sealed_is_not_sealed(world: &World<'_>) -> Verdict {
    same!(world.store.sealed(world.lane()).await.map_err(failed)?, None, "the seal");
    Ok(())
}

async fn a_seal_is_decided_once(world: &World<'_>) -> Verdict {
    let (store, lane) = (world.store, world.lane());
    for end in [BlockSeq(0), BlockSeq(5), BlockSeq(3)] {
        let decided = store.seal(lane, end).await.map_err(failed)?;
        same!(decided, BlockSeq(0), "what is decided, when {end} is proposed");
    }
    same!(store.sealed(lane).await.map_err(failed)?, Some(BlockSeq(0)), "the seal");
    Ok(())
}

async fn of_concurrent_seals_one_decides_for_all(world: &World<'_>) -> Verdict {
    let store = world.store;
    for _ in 0..5 {
        let lane = world.lane();
        let ends = [11, 12, 13, 14, 15, 16];
        let answers = join_all(ends.map(|end| store.seal(lane, BlockSeq(end)))).await;
        let decided = store.sealed(lane).await.map_err(failed)?.ok_or("nothing was decided")?;
        check!(ends.contains(&decided.0), "{decided} was never proposed");
        for answer in answers {
            match answer {
                Ok(answer) => same!(answer, decided, "an answer"),
                Err(StoreError::Unknown(_)) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
    Ok(())
}

async fn lanes_are_sealed_one_by_one(world: &World<'_>) -> Verdict {
    let (store, lane) = (world.store, world.lane());
    let other = iris_core::id::LaneId { lane: LaneNo(lane.lane.0 + 1), ..lane };
    same!(store.seal(lane, BlockSeq(7)).await.map_err(failed)?, BlockSeq(7), "one lane");
    same!(store.sealed(other).await.map_err(failed)?, None, "the other lane");
    same!(store.seal(other, BlockSeq(9)).await.map_err(failed)?, BlockSeq(9), "the other lane");
    Ok(())
}

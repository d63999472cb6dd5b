//! Outboxes: items that wait for their destinations.

use iris_core::id::{AccountId, ShardId};
use iris_core::shard::{Flush, OutboxItem, OutboxRow, PeerRow};

use super::fixture::{World, at, empty_flush, failed, outbox_row, peer_row};
use super::{Verdict, check, same, suite};
use crate::ShardRef;

suite! {
    items_come_by_destination_and_number,
    confirmed_items_are_forgotten,
    a_destination_is_forgotten_alone,
    a_late_item_does_not_come_back,
    items_after_a_forgotten_prefix_are_kept,
    outboxes_do_not_mix,
}

async fn write(
    world: &World<'_>,
    shard: ShardRef,
    (epoch, pos): (u32, u64),
    peers: Vec<PeerRow>,
    outbox: Vec<OutboxRow>,
) -> Verdict {
    world.flush(shard, &Flush { peers, outbox, ..empty_flush(epoch, pos) }).await
}

async fn read(world: &World<'_>, of: ShardRef) -> Result<Vec<(ShardId, OutboxItem)>, String> {
    let peers = world.store.peers(of.shard).await.map_err(failed)?;
    world.store.outbox(of.shard, &peers).await.map_err(failed)
}

async fn found(world: &World<'_>, shard: ShardRef) -> Result<Vec<(u16, u64)>, String> {
    let items = read(world, shard).await?;
    Ok(items.iter().map(|(to, item)| (to.get(), item.seq.0)).collect())
}

fn items(
    to: ShardId,
    account: AccountId,
    seqs: impl IntoIterator<Item = u64>,
    epoch: u32,
) -> Vec<OutboxRow> {
    seqs.into_iter().map(|seq| outbox_row(to, account, seq, at(epoch, seq))).collect()
}

const NEAR: ShardId = ShardId::new(3);
const FAR: ShardId = ShardId::new(300);
const LAST: ShardId = ShardId::new(65_535);

async fn items_come_by_destination_and_number(world: &World<'_>) -> Verdict {
    let (shard, account) = (world.shard(), world.account());
    let stamp = at(1, 400);
    let peers = [NEAR, FAR, LAST].map(|peer| peer_row(peer, (200, 0), false, stamp));
    let mut rows = items(LAST, account, [9, 2], 1);
    rows.extend(items(NEAR, account, (1..=150).rev(), 1));
    rows.extend(items(FAR, account, [1, 10, 3], 1));
    write(world, shard, (1, 400), peers.to_vec(), rows.clone()).await?;
    let near = (1..=150).map(|seq| (3, seq));
    let expected: Vec<_> =
        near.chain([(300, 1), (300, 3), (300, 10), (65_535, 2), (65_535, 9)]).collect();
    same!(found(world, shard).await?, expected, "the items");
    rows.sort_by_key(|row| (row.to, row.item.seq));
    let read = read(world, shard).await?;
    let written: Vec<_> = rows.into_iter().map(|row| (row.to, row.item)).collect();
    check!(read == written, "the items differ from what was written");
    Ok(())
}

async fn confirmed_items_are_forgotten(world: &World<'_>) -> Verdict {
    let (shard, account) = (world.shard(), world.account());
    let peer = |confirmed, pos| vec![peer_row(FAR, (9, confirmed), true, at(1, pos))];
    write(world, shard, (1, 50), peer(0, 50), items(FAR, account, 1..=5, 1)).await?;
    for (confirmed, left) in [(2, vec![3, 4, 5]), (3, vec![4, 5]), (5, vec![])] {
        let pos = 60 + confirmed;
        write(world, shard, (1, pos), peer(confirmed, pos), Vec::new()).await?;
        let left: Vec<_> = left.into_iter().map(|seq| (300, seq)).collect();
        same!(found(world, shard).await?, left, "the items after {confirmed} were confirmed");
    }
    Ok(())
}

async fn a_destination_is_forgotten_alone(world: &World<'_>) -> Verdict {
    let (shard, account) = (world.shard(), world.account());
    let neighbour = ShardId::new(NEAR.get() + 1);
    let stamp = at(1, 50);
    let peers = [NEAR, neighbour].map(|peer| peer_row(peer, (9, 0), true, stamp));
    let mut rows = items(NEAR, account, 1..=3, 1);
    rows.extend(items(neighbour, account, 1..=3, 1));
    write(world, shard, (1, 50), peers.to_vec(), rows).await?;
    let confirmed = vec![peer_row(NEAR, (9, 3), true, at(1, 60))];
    write(world, shard, (1, 60), confirmed, Vec::new()).await?;
    same!(found(world, shard).await?, [(4, 1), (4, 2), (4, 3)], "the items");
    Ok(())
}

async fn a_late_item_does_not_come_back(world: &World<'_>) -> Verdict {
    let (shard, account) = (world.shard(), world.account());
    let open = vec![peer_row(FAR, (9, 0), true, at(1, 50))];
    write(world, shard, (1, 50), open.clone(), items(FAR, account, 1..=5, 1)).await?;
    let confirmed = vec![peer_row(FAR, (9, 4), true, at(2, 60))];
    write(world, shard, (2, 60), confirmed, Vec::new()).await?;
    same!(found(world, shard).await?, [(300, 5)], "the items");
    // The deposed owner's flush, as it may still arrive.
    write(world, shard, (1, 50), open, items(FAR, account, 1..=5, 1)).await?;
    same!(found(world, shard).await?, [(300, 5)], "the items after a late flush");
    Ok(())
}

async fn items_after_a_forgotten_prefix_are_kept(world: &World<'_>) -> Verdict {
    let (shard, account) = (world.shard(), world.account());
    let peers = vec![peer_row(NEAR, (9, 5), true, at(1, 70))];
    // One flush may both forget a prefix and bring what is behind it.
    write(world, shard, (1, 70), peers, items(NEAR, account, 6..=8, 1)).await?;
    same!(found(world, shard).await?, [(3, 6), (3, 7), (3, 8)], "the items");
    Ok(())
}

async fn outboxes_do_not_mix(world: &World<'_>) -> Verdict {
    let (one, other, account) = (world.shard(), world.shard(), world.account());
    let peers = || vec![peer_row(NEAR, (9, 0), false, at(1, 50))];
    write(world, one, (1, 50), peers(), items(NEAR, account, [1], 1)).await?;
    write(world, other, (1, 50), peers(), items(NEAR, account, [2], 1)).await?;
    same!(found(world, one).await?, [(3, 1)], "the one's items");
    same!(found(world, other).await?, [(3, 2)], "the other's items");
    Ok(())
}

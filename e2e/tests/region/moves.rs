//! Planned moves, under traffic.

use std::time::Duration;

use iris_e2e::region::Shape;
use iris_proto::control::MovePhase;
use iris_testing::traffic::Traffic;

use crate::start;

#[tokio::test(flavor = "multi_thread")]
async fn every_shard_moves_twice_and_nobody_loses_anything() {
    let (region, _files) = start(Shape::default()).await;
    let connector = region.connector().unwrap();
    let traffic = Traffic::start(&connector, 8, Duration::from_millis(20)).await.unwrap();
    for _ in 0..2 {
        let operator = region.operator();
        let state = operator.describe().await.unwrap();
        for shard in &state.shards {
            let target = if shard.pod == "owner-0" { "owner-1" } else { "owner-0" };
            let moved = operator.move_shard(shard.shard, target).await.unwrap();
            assert_eq!(moved.committed_epoch, shard.epoch + 1, "{moved:?}");
        }
    }
    let report = traffic.end().await.unwrap();
    assert!(report.accepted > 200, "{report:?}");
    region.stop().await;
}

/// Each move changes the assignments of the moves beside it: a source must not take back what it is
/// handing over.
#[tokio::test(flavor = "multi_thread")]
async fn many_shards_move_at_once_and_every_move_succeeds() {
    let (region, _files) = start(Shape { shards: 64, ..Shape::default() }).await;
    let connector = region.connector().unwrap();
    let traffic = Traffic::start(&connector, 8, Duration::from_millis(20)).await.unwrap();
    for _ in 0..3 {
        let operator = region.operator();
        let state = operator.describe().await.unwrap();
        let moves = state.shards.iter().map(|shard| {
            let target = if shard.pod == "owner-0" { "owner-1" } else { "owner-0" };
            operator.try_move(shard.shard, target)
        });
        for moved in futures::future::join_all(moves).await {
            let moved = moved.unwrap();
            assert_eq!(moved.phase, i32::from(MovePhase::Committed), "{moved:?}");
        }
    }
    traffic.end().await.unwrap();
    region.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_leaves_is_emptied_first() {
    let (mut region, _files) = start(Shape { owners: 3, ..Shape::default() }).await;
    let connector = region.connector().unwrap();
    let traffic = Traffic::start(&connector, 4, Duration::from_millis(20)).await.unwrap();
    let leaver = region.owners.remove(0);
    leaver.end().await;
    region.operator().served_without("owner-0").await.unwrap();
    let report = traffic.end().await.unwrap();
    assert!(report.longest_wait < Duration::from_secs(2), "{report:?}");
    region.stop().await;
}

/// Owners refuse what an earlier operator orders, and the leader's own orders are in an operator's name.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_leaves_after_moves_and_a_change_of_leaders_is_emptied() {
    let (mut region, _files) = start(Shape { control: 2, owners: 3, ..Shape::default() }).await;
    let operator = region.operator();
    let state = operator.describe().await.unwrap();
    for shard in state.shards.iter().filter(|shard| shard.pod != "owner-0") {
        operator.move_shard(shard.shard, "owner-0").await.unwrap();
    }
    let place = region.control.iter().position(|replica| replica.pod == state.leader).unwrap();
    region.control.remove(place).end().await;
    let next = region.operator().all_served().await.unwrap();
    assert_ne!(next.leader, state.leader);
    let leaver = region.owners.remove(0);
    leaver.end().await;
    region.operator().served_without("owner-0").await.unwrap();
    for owner in &region.owners {
        let exposed = owner.metrics.expose();
        let taken = exposed.lines().find(|line| line.starts_with("iris_takeovers_total"));
        let none = taken.is_some_and(|line| line.ends_with(" 0"));
        assert!(none, "{}: {taken:?}: what leaves is taken over from nobody", owner.pod);
    }
    region.stop().await;
}

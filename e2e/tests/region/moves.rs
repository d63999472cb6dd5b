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

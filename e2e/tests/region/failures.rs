//! What ends without a word, under traffic.

use std::sync::Arc;
use std::time::Duration;

use iris_coord::memory::MemoryCoord;
use iris_e2e::region::{Region, Shape};
use iris_testing::traffic::Traffic;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::late::Late;
use crate::{start, start_over};

const PERIOD: Duration = Duration::from_millis(20);

/// Its pod comes back under its name, as a container does, and every shard is served again.
async fn the_first_owner_dies(region: &mut Region) {
    let dead = region.owners.remove(0);
    dead.kill().await;
    region.start_owner(&dead.pod).await.unwrap();
    region.operator().all_served().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_die_one_after_the_other() {
    let (mut region, _files) = start(Shape { owners: 3, ..Shape::default() }).await;
    let connector = region.connector().unwrap();
    let traffic = Traffic::start(&connector, 8, PERIOD).await.unwrap();
    for _ in 0..4 {
        sleep(Duration::from_millis(300)).await;
        the_first_owner_dies(&mut region).await;
    }
    let report = traffic.end().await.unwrap();
    assert!(report.longest_wait < Duration::from_secs(10), "{report:?}");
    region.stop().await;
}

/// Each lane holds entries of shards that it released early, took back and kept until it died.
#[tokio::test(flavor = "multi_thread")]
async fn owners_die_with_shards_that_came_back() {
    let shape = Shape { owners: 2, shards: 64, ..Shape::default() };
    let (mut region, _files) = start(shape).await;
    let connector = region.connector().unwrap();
    let traffic = Traffic::start(&connector, 16, PERIOD).await.unwrap();
    for _ in 0..4 {
        let operator = region.operator();
        let state = operator.describe().await.unwrap();
        let pods: Vec<_> = region.owners.iter().map(|owner| owner.pod.clone()).collect();
        let moves = state.shards.iter().map(|shard| {
            let target = pods.iter().find(|pod| **pod != shard.pod).unwrap();
            operator.try_move(shard.shard, target)
        });
        futures::future::join_all(moves).await.into_iter().for_each(|moved| drop(moved.unwrap()));
        sleep(Duration::from_millis(300)).await;
        the_first_owner_dies(&mut region).await;
    }
    traffic.end().await.unwrap();
    region.stop().await;
}

/// What it was handing over when it died is taken over like the rest, not when somebody has waited long
/// enough for its answer.
#[tokio::test(flavor = "multi_thread")]
async fn owners_die_while_they_hand_over() {
    let (mut region, _files) = start(Shape { shards: 64, ..Shape::default() }).await;
    let connector = region.connector().unwrap();
    let traffic = Traffic::start(&connector, 8, PERIOD).await.unwrap();
    for _ in 0..4 {
        let operator = region.operator();
        let state = operator.all_served().await.unwrap();
        let dead = region.owners.remove(0);
        let target = region.owners[0].pod.clone();
        let leaving = state.shards.iter().filter(|shard| shard.pod == dead.pod);
        let moves = leaving.map(|shard| operator.try_move(shard.shard, &target));
        // Each is ordered, some are under way, none is waited for.
        let moves = futures::future::join_all(moves);
        let _ended = tokio::time::timeout(Duration::from_millis(200), moves).await;
        dead.kill().await;
        let died = tokio::time::Instant::now();
        region.start_owner(&dead.pod).await.unwrap();
        region.operator().all_served().await.unwrap();
        assert!(died.elapsed() < Duration::from_secs(10), "{:?}", died.elapsed());
    }
    traffic.end().await.unwrap();
    region.stop().await;
}

/// Confirmations between shards are late, so that every owner inherits young items without one, and
/// dies soon after its first checkpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn owners_die_with_items_that_they_inherited() {
    let files = TempDir::new().unwrap();
    let (store, late) = Late::store(&files, Duration::from_millis(200)).await;
    let shape = Shape { owners: 2, shards: 4, ..Shape::default() };
    let mut region = start_over(shape, store, Arc::new(MemoryCoord::new())).await;
    let connector = region.connector().unwrap();
    let traffic = Traffic::start(&connector, 16, PERIOD).await.unwrap();
    late.set(true);
    for _ in 0..6 {
        sleep(Duration::from_millis(500)).await;
        the_first_owner_dies(&mut region).await;
    }
    late.set(false);
    traffic.end().await.unwrap();
    region.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leading_control_plane_dies_and_an_owner_after_it() {
    let (mut region, _files) = start(Shape { control: 2, owners: 3, ..Shape::default() }).await;
    let connector = region.connector().unwrap();
    let traffic = Traffic::start(&connector, 4, PERIOD).await.unwrap();
    let leader = region.operator().describe().await.unwrap().leader;
    let place = region.control.iter().position(|replica| replica.pod == leader).unwrap();
    region.control.remove(place).kill().await;
    sleep(Duration::from_millis(500)).await;
    let dead = region.owners.remove(0);
    let pod = dead.pod.clone();
    dead.kill().await;
    let state = region.operator().served_without(&pod).await.unwrap();
    assert_ne!(state.leader, leader);
    traffic.end().await.unwrap();
    region.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_die_and_drain() {
    let (mut region, _files) = start(Shape { edges: 3, ..Shape::default() }).await;
    let connector = region.connector().unwrap();
    let traffic = Traffic::start(&connector, 6, PERIOD).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    region.edges.remove(0).kill().await;
    sleep(Duration::from_millis(300)).await;
    region.edges.remove(0).end().await;
    sleep(Duration::from_millis(300)).await;
    let report = traffic.end().await.unwrap();
    assert!(report.accepted > 100, "{report:?}");
    region.stop().await;
}

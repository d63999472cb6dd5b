//! An owner that lost its session and does not know it yet.

use std::sync::Arc;
use std::time::Duration;

use iris_coord::memory::MemoryCoord;
use iris_core::id::{LaneId, LaneNo, SessionId};
use iris_core::seq::BlockSeq;
use iris_e2e::region::{Region, Relay, Shape};
use iris_testing::traffic::Traffic;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::late::Late;
use crate::start_over;

/// The blocks of a session that lie at or above the seals of its lanes.
async fn blocks_above_seals(region: &Region, session: SessionId) -> usize {
    let mut above = 0;
    for lane in 0..region.shape.lanes {
        let lane = LaneId { session, lane: LaneNo(lane) };
        let Some(end) = region.store.sealed(lane).await.unwrap() else { continue };
        let after = BlockSeq(u64::MAX);
        above += region.store.read(lane, end, after, 1_000).await.unwrap().len();
    }
    above
}

/// It goes on to write, and its edge goes on to ask it, since neither hears from the control plane. What
/// it writes after its seal is as durable as anything, and nobody will ever read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn an_owner_that_hears_of_its_fence_late_acknowledges_nothing() {
    let files = TempDir::new().unwrap();
    let (store, late) = Late::store(&files, Duration::from_secs(1)).await;
    let shape = Shape { owners: 1, edges: 0, ..Shape::default() };
    let mut region = start_over(shape, store, Arc::new(MemoryCoord::new())).await;
    let network = Relay::to(region.control[0].address.clone()).await.unwrap();
    region.start_owner_through(network.address.clone(), "zombie").await.unwrap();
    region.start_edge_through(network.address.clone(), "edge").await.unwrap();
    region.ready().await.unwrap();
    for shard in 0..region.shape.shards {
        region.operator().move_shard(shard, "zombie").await.unwrap();
    }
    let connector = region.connector().unwrap();
    let traffic = Traffic::start(&connector, 8, Duration::from_millis(20)).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    late.set(true);
    network.cut();
    region.operator().served_without("zombie").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let zombie = region.owners.iter().find(|owner| owner.pod == "zombie").unwrap();
    let above = blocks_above_seals(&region, zombie.session()).await;
    assert!(above > 0, "the zombie wrote nothing after its seal");
    late.set(false);
    network.mend();
    traffic.end().await.unwrap();
    region.stop().await;
}

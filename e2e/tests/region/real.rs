//! The same with a real Cassandra and a real etcd behind it.

use std::sync::Arc;
use std::time::Duration;

use iris_coord::etcd::EtcdCoord;
use iris_e2e::region::Shape;
use iris_store::cassandra::migrate;
use iris_testing::Etcd;
use iris_testing::traffic::Traffic;
use iris_testing::{Cassandra, CassandraOptions};
use tokio::time::sleep;

use crate::start_over;

#[tokio::test(flavor = "multi_thread")]
async fn moves_and_kills_and_a_database_that_dies() {
    let mut cassandra = Cassandra::start(CassandraOptions::default()).await.unwrap();
    let etcd = Etcd::start(None).await.unwrap();
    let config = cassandra.config("region");
    migrate(&config, &cassandra.may_create(), |_| ()).await.unwrap();
    let store = Arc::new(cassandra.store("region").await.unwrap());
    let coord = Arc::new(EtcdCoord::connect(&etcd.config()).await.unwrap());
    let mut region = start_over(Shape::default(), store, coord).await;
    let connector = region.connector().unwrap();
    let traffic = Traffic::start(&connector, 8, Duration::from_millis(50)).await.unwrap();
    for shard in region.operator().describe().await.unwrap().shards {
        let target = if shard.pod == "owner-0" { "owner-1" } else { "owner-0" };
        region.operator().move_shard(shard.shard, target).await.unwrap();
    }
    region.start_owner("owner-2").await.unwrap();
    region.owners.remove(0).kill().await;
    region.operator().all_served().await.unwrap();
    cassandra.kill(0);
    sleep(Duration::from_secs(2)).await;
    cassandra.restart(0).await.unwrap();
    let report = traffic.end().await.unwrap();
    assert!(report.accepted > 200, "{report:?}");
    region.stop().await;
}

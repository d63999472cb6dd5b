//! The database and etcd, as the settings name them.

use std::sync::Arc;

use iris_coord::etcd::{EtcdConfig, EtcdCoord};
use iris_coord::{CoordError, SharedCoord};
use iris_runtime::admin::Health;
use iris_runtime::config::{self, Settings};
use iris_store::cassandra::{AckPolicy, CassandraConfig, CassandraStore};
use iris_store::{SharedStore, StoreError};

use crate::retry;

/// The database of a region.
pub async fn store(settings: &Settings, health: &Health) -> SharedStore {
    let config = cassandra_config(settings);
    retry("cassandra", health, || async {
        let store = CassandraStore::connect(&config).await?;
        Ok::<SharedStore, StoreError>(Arc::new(store))
    })
    .await
}

/// The etcd of a region.
pub async fn coord(settings: &Settings, health: &Health) -> SharedCoord {
    let config = etcd_config(settings);
    retry("etcd", health, || async {
        let coord = EtcdCoord::connect(&config).await?;
        Ok::<SharedCoord, CoordError>(Arc::new(coord))
    })
    .await
}

/// How to reach etcd.
pub fn etcd_config(settings: &Settings) -> EtcdConfig {
    let etcd = settings.etcd.clone();
    EtcdConfig { endpoints: etcd.endpoints, tls_path: etcd.tls_path, prefix: etcd.prefix }
}

/// How to reach the database.
pub fn cassandra_config(settings: &Settings) -> CassandraConfig {
    let cassandra = &settings.cassandra;
    let ack_policy = match settings.ack_policy {
        config::AckPolicy::HomeRegion => AckPolicy::HomeRegion,
        config::AckPolicy::MajorityOfRegions => AckPolicy::MajorityOfRegions,
        config::AckPolicy::AllRegions => AckPolicy::AllRegions,
    };
    CassandraConfig {
        credentials_path: cassandra.credentials_path.clone(),
        tls_path: cassandra.tls_path.clone(),
        ack_policy,
        inbox_days: settings.retention.undelivered_days.max(settings.retention.history_days),
        ..CassandraConfig::new(
            cassandra.contact_points.clone(),
            cassandra.datacenter.clone(),
            cassandra.keyspace.clone(),
        )
    }
}

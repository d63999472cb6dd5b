//! The custom resources of Iris, `iris.dev/v1alpha1`: one file for each kind, and the generation of
//! the CustomResourceDefinitions and of the reference pages from them.
//!
//! Nothing here talks to an API server or decides what an object means; rules that an API server can
//! check by itself are part of the schemas.

pub mod cluster;
pub mod common;
pub mod conditions;
pub mod edge_pool;
pub mod generate;
pub mod migration;
pub mod rebalance;
pub mod reference;
pub mod region;
pub mod shard_map;

pub use cluster::{IrisCluster, IrisClusterSpec, IrisClusterStatus};
pub use edge_pool::{IrisEdgePool, IrisEdgePoolSpec, IrisEdgePoolStatus};
pub use migration::{IrisShardMigration, IrisShardMigrationSpec, IrisShardMigrationStatus};
pub use rebalance::{IrisRebalance, IrisRebalanceSpec, IrisRebalanceStatus};
pub use region::{IrisRegion, IrisRegionSpec, IrisRegionStatus};
pub use shard_map::{IrisShardMap, IrisShardMapSpec, IrisShardMapStatus};

/// The API group of every kind.
pub const GROUP: &str = "iris.dev";
/// The version of every kind.
pub const VERSION: &str = "v1alpha1";

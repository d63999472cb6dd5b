//! What an owner is told about itself and its region.

use std::time::Duration;

use iris_core::id::ShardCount;
use iris_core::seq::HomeGen;
use iris_core::shard::Policy;

/// Settings of one owner process.
#[derive(Debug, Clone)]
pub struct OwnerConfig {
    /// The pod's name.
    pub pod: String,
    /// The pod's uid, which tells two pods of one name apart.
    pub pod_uid: String,
    /// The node that it runs on.
    pub node: String,
    /// The failure domain that it runs in.
    pub zone: String,
    /// host:port under which other pods find its services.
    pub address: String,
    /// How many commit pipelines it has: one for each core.
    pub lanes: u8,
    /// How many shards the cluster has.
    pub shard_count: ShardCount,
    /// The region's place in each shard's history of homes.
    pub home_gen: HomeGen,
    /// What people chose for all shards.
    pub policy: Policy,
    /// For how long at most it waits until others have its shards, when it is asked to end.
    pub leave_for: Duration,
    /// Argon2id, in KiB of memory; see `password`.
    pub password_memory_kib: u32,
    /// This program's version, shown in the map's status.
    pub version: String,
}

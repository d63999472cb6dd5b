//! What an edge is told.

use std::time::Duration;

use iris_core::id::ShardCount;

/// Settings of one edge process.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// The pod's name.
    pub pod: String,
    /// How many shards the cluster has.
    pub shard_count: ShardCount,
    /// Connections served at once; more are refused.
    pub connections_max: usize,
    /// TLS handshakes begun in a second; more wait in the listen queue.
    pub handshakes_per_second: u32,
    /// Registrations and logins passed on in a second; more are refused.
    pub logins_per_second: u32,
    /// Questions of devices that wait to be linked passed on in a second; more are put off.
    pub links_per_second: u32,
    /// What clients are advised: a PING after so long without a frame.
    pub keepalive: Duration,
    /// Clients asked to leave in a second, when the process ends.
    pub drain_per_second: u32,
    /// How long the process waits for them.
    pub drain_patience: Duration,
}

impl EdgeConfig {
    /// Sane settings for a cluster of `shard_count` shards.
    pub fn new(pod: String, shard_count: ShardCount) -> Self {
        Self {
            pod,
            shard_count,
            connections_max: 18_000,
            handshakes_per_second: 2_000,
            logins_per_second: 100,
            links_per_second: 100,
            keepalive: Duration::from_secs(45),
            drain_per_second: 200,
            drain_patience: Duration::from_secs(60),
        }
    }
}

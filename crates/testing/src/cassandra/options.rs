//! How a node is configured: the development cluster's settings, on loopback.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;

use super::address;

/// When Cassandra answers a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommitLog {
    /// Once it is on the disk.
    #[default]
    Batch,
    /// Before it is on the disk: unfit, for tests of that.
    Periodic,
}

/// Cassandra's Paxos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Paxos {
    /// What Iris needs.
    #[default]
    V2,
    /// The default of Cassandra: unfit, for tests of that.
    V1,
}

/// TLS of the node's client port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The node's key and certificates, PEM.
    pub key_and_chain: String,
    /// The authorities whose clients are let in, PEM.
    pub clients: String,
}

/// How a node is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CassandraOptions {
    /// How many nodes there are; a keyspace has 3 copies where there are 3.
    pub nodes: NonZeroUsize,
    /// When it answers a write.
    pub commit_log: CommitLog,
    /// Its Paxos.
    pub paxos: Paxos,
    /// Whether it asks for a name and a password; it is born with `cassandra` for both.
    pub passwords: bool,
    /// Whether it asks for TLS, with certificates of clients.
    pub tls: Option<ServerTls>,
}

impl Default for CassandraOptions {
    /// One node, as durable as production.
    fn default() -> Self {
        Self {
            nodes: NonZeroUsize::MIN,
            commit_log: CommitLog::default(),
            paxos: Paxos::default(),
            passwords: false,
            tls: None,
        }
    }
}

/// Tokens of each node.
const TOKENS: u64 = 8;

/// Tokens that divide the ring evenly among the nodes: nobody has to wait for anybody to choose.
fn tokens(nodes: usize, number: u8) -> String {
    let nodes = nodes as u64;
    let step = u64::MAX / (nodes * TOKENS);
    let token = |turn: u64| {
        let place = (turn * nodes + u64::from(number)) * step;
        // Cassandra's ring begins at the lowest number.
        place.wrapping_add(1 << 63).cast_signed().to_string()
    };
    (0..TOKENS).map(token).collect::<Vec<_>>().join(",")
}

/// The settings of a node.
pub(super) fn yaml(
    options: &CassandraOptions,
    home: &Path,
    number: u8,
    (port, storage_port): (u16, u16),
) -> String {
    let data = home.join("data");
    let (address, seed) = (address(number), address(0));
    let tokens = tokens(options.nodes.get(), number);
    let (authenticator, authorizer) = if options.passwords {
        ("PasswordAuthenticator", "CassandraAuthorizer")
    } else {
        ("AllowAllAuthenticator", "AllowAllAuthorizer")
    };
    let commit_log = match options.commit_log {
        CommitLog::Batch => "commitlog_sync: batch",
        CommitLog::Periodic => "commitlog_sync: periodic\ncommitlog_sync_period: 10s",
    };
    let paxos = match options.paxos {
        Paxos::V2 => "v2",
        Paxos::V1 => "v1",
    };
    let mut text = format!(
        "cluster_name: iris-test
num_tokens: {TOKENS}
initial_token: '{tokens}'
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: \"{seed}:{storage_port}\"
listen_address: {address}
storage_port: {storage_port}
start_native_transport: true
rpc_address: {address}
native_transport_port: {port}
data_file_directories: [{data}/data]
commitlog_directory: {data}/commitlog
hints_directory: {data}/hints
saved_caches_directory: {data}/saved_caches
cdc_raw_directory: {data}/cdc_raw
{commit_log}
commitlog_disk_access_mode: direct
commitlog_segment_size: 16MiB
commitlog_total_space: 256MiB
disk_failure_policy: die
commit_failure_policy: die
authenticator: {authenticator}
authorizer: {authorizer}
role_manager: CassandraRoleManager
auto_snapshot: false
storage_compatibility_mode: NONE
paxos_variant: {paxos}
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
memtable_allocation_type: offheap_objects
key_cache_size: 8MiB
counter_cache_size: 0MiB
row_cache_size: 0MiB
prepared_statements_cache_size: 4MiB
file_cache_size: 32MiB
networking_cache_size: 16MiB
concurrent_reads: 8
concurrent_writes: 128
concurrent_counter_writes: 2
concurrent_compactors: 1
native_transport_max_threads: 128
disk_access_mode: mmap_index_only
dynamic_snitch: false
read_request_timeout: 10s
range_request_timeout: 20s
write_request_timeout: 10s
cas_contention_timeout: 5s
truncate_request_timeout: 60s
request_timeout: 20s
",
        data = data.display(),
    );
    if options.tls.is_some() {
        let files = |name: &str| home.join(name).display().to_string();
        let (server, clients) = (files("server.pem"), files("clients.pem"));
        let section = format!(
            "client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: true
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
  keystore: {server}
  truststore: {clients}
"
        );
        text.write_str(&section).expect("a String takes everything");
    }
    text
}

//! Real services on loopback for the tests of all packages: Cassandra of one or several nodes, and
//! etcd.
//!
//! Never skips a test: what is missing on the machine fails it with words. Leaves neither a process
//! nor a file behind, however the test ends.

pub mod cassandra;
pub mod etcd;

pub use cassandra::{Cassandra, CassandraOptions, CommitLog, Paxos, ServerTls};
pub use etcd::Etcd;

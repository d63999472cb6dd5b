//! What the tests of several packages need.
//!
//! - [`cassandra`] and [`etcd`]: real services on loopback, Cassandra of one or several nodes.
//! - [`traffic`]: people who write to each other, and a ledger of it.
//! - [`operator`]: what an operator asks of a region.
//!
//! Never skips a test: what is missing on the machine fails it with words. Leaves neither a process
//! nor a file behind, however the test ends.

pub mod cassandra;
pub mod etcd;
pub mod keys;
pub mod operator;
pub mod traffic;

pub use cassandra::{Cassandra, CassandraOptions, CommitLog, Paxos, ServerTls};
pub use etcd::Etcd;

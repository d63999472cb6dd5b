//! A real Cassandra on loopback, for the tests of this crate and of others.
//!
//! Needs Java 17 and, the first time on a machine, Maven; what is missing fails the test with words,
//! never skips it. Leaves neither a process nor a file behind, however the test ends.

mod cassandra;
mod jars;
mod node;
mod options;

pub use cassandra::Cassandra;
pub use options::{CassandraOptions, CommitLog, Paxos, ServerTls};

//! A real Cassandra on loopback, for the tests of this crate and of others.
//!
//! Needs Java 17 and, the first time on a machine, Maven; what is missing fails the test with words,
//! never skips it. Leaves neither a process nor a file behind, however the test ends.

mod jars;
mod node;

pub use node::{Cassandra, CassandraOptions, CommitLog, Paxos, ServerTls};

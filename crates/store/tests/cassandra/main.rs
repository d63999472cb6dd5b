//! The store on a real Cassandra 5.
//!
//! Most tests share one node, each with a keyspace of its own; those that kill it or configure it
//! otherwise have theirs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says where it failed, and what it measured"
)]

mod access;
mod cluster;
mod conforms;
mod durability;
mod migrations;
mod quorum;
mod raw;
mod rows;

//! An edge for tests, in one process: real TLS, real frames, real shards of `iris_core` behind it, and a
//! disk that is instantly durable. It does to its clients what a test asks for.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support, shared by several tests that use different parts"
)]

#[path = "support/connection.rs"]
pub mod connection;
#[path = "support/directory.rs"]
pub mod directory;
#[path = "support/edge.rs"]
pub mod edge;
#[path = "support/https.rs"]
pub mod https;
#[path = "support/owner.rs"]
pub mod owner;
#[path = "support/pipe.rs"]
pub mod pipe;
#[path = "support/rows.rs"]
pub mod rows;

pub use edge::{FakeEdge, Knobs};
pub use owner::Owner;

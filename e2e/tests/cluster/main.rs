//! The product on the local cluster, under real kills, cut links and moves.
//!
//! One test at a time has the cluster; each leaves it whole. What is not up is brought up by
//! `cargo xtask up` first.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says where it failed, and what it measured"
)]
#![allow(clippy::disallowed_types, reason = "the cluster's time is real, and no runtime is here")]

mod chaos;
mod metrics;
mod moves;
mod outages;
mod security;
mod soak;
mod specs;
mod stage;
mod zombie;

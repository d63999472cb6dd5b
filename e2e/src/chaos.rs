//! The fault matrix: every fault on the local cluster, with real packets and real kills, alone and
//! crossed with moves of shards, under traffic whose every message is in a ledger.
//!
//! A cell of the matrix holds a fault for a while, ends it, and then gives the cluster a bounded time to
//! heal (I13): what was sent has its answer, everything is Ready again. It passes only with proof that
//! the fault happened, by counters that are not Iris's own wherever there are such.
//!
//! - [`catalogue`]: which faults there are, and which are left out and why.
//! - [`select`]: which cells somebody wants.
//! - [`cell`]: one of them, from a whole cluster to a whole cluster.
//! - [`verdict`]: what of that makes it fail.
//! - [`table`], [`page`]: the results for a terminal and for a browser.
//!
//! Never leaves a fault behind: each cell ends all of them, also when it is interrupted, and so does
//! the next run before it begins.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the cluster's time is real, and no runtime is here: threads, sleeps and real instants"
)]

pub mod catalogue;
pub mod cell;
mod evidence;
mod faults;
mod moves;
pub mod page;
pub mod proof;
mod queue;
pub mod scene;
pub mod select;
mod shards;
pub mod table;
pub(crate) mod traffic;
pub mod verdict;
mod victims;
pub mod whole;

//! An upgrade and the way back, of the running cluster, with real images of two versions, under traffic
//! whose every message is in a ledger.
//!
//! The cluster runs the newer version. It goes back to the older one as people would: first the pods, by
//! `spec.images`, then the operator by its chart; and forward again in the opposite order. So each order of
//! the two versions is seen, and the operator restarts the owners both times.
//!
//! - [`pods`]: which pods ran which version at each moment: that both served at once is proved by it.
//! - [`album`]: what people said before, which every version must still have.
//! - [`change`]: what is changed for each step, and how everything is put back.
//! - [`journey`]: the legs of the way, each with its own traffic.
//! - [`verdict`]: what of a leg makes it fail, and the page.
//!
//! Never leaves the cluster on the older version: it is put back however this ends, unless it is killed;
//! `cargo xtask upgrade --restore` does it then.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the cluster's time is real, and no runtime is here: threads, sleeps and real instants"
)]

pub mod album;
pub mod change;
pub mod journey;
pub mod pods;
pub mod verdict;

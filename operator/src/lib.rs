//! The operator of Iris: it brings the world closer to what the custom resources say.
//!
//! Nothing on the message path asks it for anything: while it is down, what runs goes on running.

pub mod apply;
pub mod client;
pub mod cluster;
pub mod context;
pub mod control;
pub mod controller;
pub mod definitions;
pub mod edge_pool;
pub mod error;
pub mod events;
pub mod gate;
pub mod hub;
pub mod issuer;
pub mod keyring;
pub mod leader;
pub mod migration;
pub mod names;
pub mod pki;
pub mod pods;
pub mod rebalance;
pub mod region;
pub mod replica;
pub mod rollout;
pub mod secrets;
pub mod settings;
pub mod shard_map;
pub mod status;
pub mod troubles;
pub mod vault;

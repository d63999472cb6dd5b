//! The control plane of a region: it decides who should own which shard, who is alive, and how shards
//! move; it tells edges where shards are.
//!
//! Only its leader does so. Nothing on the message path waits for it, and no mistake of it can lose a
//! message: it never writes a fence, a seal or an epoch itself.

pub mod leader;
pub mod metrics;
pub mod model;
pub mod replica;
pub mod services;

//! The data plane: owners, which serve shards, and edges, which serve clients.
//!
//! Shells around `iris-core`: they read inputs, call the core, perform its effects in order. They know
//! nothing of Kubernetes.

pub mod boot;
pub mod control;
pub mod edge;
pub mod owner;
pub mod proof;
mod queue;
mod random;
pub mod route;
pub mod token;

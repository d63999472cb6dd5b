//! What every process of Iris shares: identity and mutual TLS, gRPC over it, telemetry, named tasks,
//! clocks, retries, and the admin port.
//!
//! Nothing here knows a message, a shard or a resource.

pub mod admin;
pub mod backoff;
pub mod clock;
pub mod config;
pub mod identity;
pub mod local_pki;
pub mod metrics;
pub mod rpc;
pub mod shutdown;
pub mod task;
pub mod telemetry;
pub mod tls;

//! Harnesses for tests of the whole product.
//!
//! - [`region`]: a whole region in the test's own process, over real sockets and TLS, with any store
//!   and any coordination: for what needs no Kubernetes.
//! - [`chaos`]: every fault there is on the local cluster, each under traffic and with proof.
//! - [`upgrade`]: the local cluster back to another version and forward again, under traffic.

pub mod chaos;
pub mod interrupt;
pub mod region;
pub mod upgrade;

//! Harnesses for tests of the whole product.
//!
//! - [`region`]: a whole region in the test's own process, over real sockets and TLS, with any store
//!   and any coordination: for what needs no Kubernetes.
//! - [`traffic`]: people who write to each other, and a ledger of it.

pub mod region;
pub mod traffic;

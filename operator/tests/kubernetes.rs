//! The operator against a real API server, with the rights that its chart gives it and no others.
//! Nothing runs pods: what kubelets would report is written by the tests.

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, outside their functions"
)]

#[path = "kubernetes/control_plane.rs"]
mod control_plane;
#[path = "kubernetes/moves.rs"]
mod moves;
#[path = "kubernetes/operator.rs"]
mod operator;
#[path = "kubernetes/pods.rs"]
mod pods;
#[path = "kubernetes/program.rs"]
mod program;
#[path = "kubernetes/resources.rs"]
mod resources;
#[path = "kubernetes/restarts.rs"]
mod restarts;
#[path = "kubernetes/server.rs"]
mod server;

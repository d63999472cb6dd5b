//! The namespace of Iris, in which only pods that pass the strictest standard are admitted.
//!
//! Never relaxed for a pod of the development cluster: Cassandra and etcd pass it too.

use anyhow::Result;

use super::super::{Job, UpStep, always};

pub(super) fn steps() -> Vec<UpStep> {
    vec![UpStep {
        name: "namespace",
        what: "making the namespace",
        // The last of the steps that make each kind of cluster have the same names.
        after: &["control-plane"],
        remedy: "cargo xtask kubectl get namespaces",
        is_done: always,
        run: make,
    }]
}

fn make(job: &Job) -> Result<()> {
    job.apply(include_str!("../../../../../dev/kube/namespace.yaml"))
}

//! Iris itself: its charts by Helm, and the smallest useful cluster.
//!
//! Never anything that a person could not do with Helm and kubectl alone.

use std::{fs, time::Duration};

use anyhow::Result;

use super::{
    super::{Job, UpStep, always},
    NAMESPACE,
};

/// The namespace of the operator.
pub(crate) const SYSTEM: &str = "iris-system";
/// The cluster that is asked for.
pub(super) const QUICKSTART: &str = "manifests/quickstart.yaml";
/// A part that is not there after so long will not come by itself.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn steps() -> Vec<UpStep> {
    vec![
        UpStep {
            name: "definitions",
            what: "installing the definitions of Iris's resources",
            after: &["namespace"],
            remedy: "cargo xtask helm -n iris-system status iris-crds",
            is_done: always,
            run: |job| helm(job, "iris-crds", &[]),
        },
        UpStep {
            name: "operator",
            what: "installing the operator",
            after: &["definitions", "iris-images", "nodes-ready"],
            remedy: "cargo xtask kubectl -n iris-system describe pods; then their logs",
            is_done: always,
            run: operator,
        },
        UpStep {
            name: "quickstart",
            what: "applying manifests/quickstart.yaml",
            after: &["operator", "cassandra-secrets", "etcd-certificates"],
            remedy: "cargo xtask kubectl -n iris get events",
            is_done: always,
            run: |job| job.apply(fs::read(job.env.repo_file(QUICKSTART))?),
        },
        UpStep {
            name: "iris-ready",
            what: "waiting until Iris is ready",
            after: &["quickstart", "cassandra-ready", "etcd-ready"],
            remedy: "cargo xtask kubectl -n iris describe iris,irr,irep,irsm",
            is_done: always,
            run: ready,
        },
    ]
}

fn helm(job: &Job, chart: &str, values: &[String]) -> Result<()> {
    let chart_dir = job.env.repo_file("charts").join(chart);
    job.cluster()?
        .helm_command()
        .args(["upgrade", "--install", chart])
        .arg(chart_dir)
        .args(["-n", SYSTEM, "--create-namespace"])
        .args(values)
        .run()
}

fn operator(job: &Job) -> Result<()> {
    let mut values = Vec::new();
    for image in ["operator", "dataplane", "controlplane"] {
        values.extend(["--set".to_owned(), format!("images.{image}={}", job.reference(image)?)]);
    }
    helm(job, "iris", &values)?;
    let rollout = ["-n", SYSTEM, "rollout", "status", "deployment/iris-operator"];
    job.kubectl()?.args(rollout).arg(format!("--timeout={}s", PATIENCE.as_secs())).run()
}

fn ready(job: &Job) -> Result<()> {
    let cluster = job.cluster()?;
    for (what, condition) in [
        ("irisregion/eu", "condition=Available"),
        ("irisshardmap/eu", "condition=Covered"),
        ("irisedgepool/eu-public", "condition=Available"),
        ("iriscluster/chat", "condition=Available"),
    ] {
        cluster.wait(NAMESPACE, what, condition, PATIENCE)?;
    }
    Ok(())
}

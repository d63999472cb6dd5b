//! Iris itself: its charts by Helm, and the smallest useful cluster.
//!
//! Never anything that a person could not do with Helm and kubectl alone.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

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
            run: quickstart,
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

fn quickstart(job: &Job) -> Result<()> {
    let manifest = fs::read_to_string(job.env.repo_file(QUICKSTART))?;
    let manifest = match job.options.shards {
        Some(shards) => with_shards(&manifest, shards)?,
        None => manifest,
    };
    job.apply(manifest.into_bytes())
}

/// The manifest, with another number of shards.
fn with_shards(manifest: &str, shards: u32) -> Result<String> {
    let line = manifest.lines().find(|line| line.trim_start().starts_with("shardCount:"));
    let line = line.with_context(|| format!("{QUICKSTART} has no shardCount"))?;
    let indent = &line[..line.len() - line.trim_start().len()];
    Ok(manifest.replacen(line, &format!("{indent}shardCount: {shards}"), 1))
}

fn ready(job: &Job) -> Result<()> {
    available(job)?;
    renew(job)?;
    available(job)
}

fn available(job: &Job) -> Result<()> {
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

/// Waits until everything runs the programs that were just compiled. The operator restarts the owners one
/// after the other, each when its shards have gone to the others.
fn renew(job: &Job) -> Result<()> {
    let cluster = job.cluster()?;
    let kubectl = |args: &[&str]| {
        cluster.kubectl_command().args(["-n", NAMESPACE]).args(args).quiet().output()
    };
    for (what, image) in [
        ("statefulset/eu-owner", "dataplane"),
        ("deployment/eu-public-edge", "dataplane"),
        ("deployment/eu-controlplane", "controlplane"),
    ] {
        let image = job.reference(image)?;
        let condition = format!("jsonpath={{.spec.template.spec.containers[0].image}}={image}");
        cluster.wait(NAMESPACE, what, &condition, PATIENCE)?;
        if what.starts_with("deployment") {
            let limit = format!("--timeout={}s", PATIENCE.as_secs());
            kubectl(&["rollout", "status", what, &limit])?;
        }
    }
    let owners = "statefulset/eu-owner";
    for (field, wanted) in [
        // Until its controller has seen the change, its numbers are of before.
        ("observedGeneration", "metadata.generation"),
        ("updatedReplicas", "spec.replicas"),
        ("readyReplicas", "spec.replicas"),
    ] {
        let wanted = kubectl(&["get", owners, &format!("-o=jsonpath={{.{wanted}}}")])?;
        let condition = format!("jsonpath={{.status.{field}}}={wanted}");
        cluster.wait(NAMESPACE, owners, &condition, PATIENCE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_shards_is_replaced_where_it_is() {
        let changed = with_shards("spec:\n  shardCount: 64\n  other: 64\n", 2048).unwrap();
        assert_eq!(changed, "spec:\n  shardCount: 2048\n  other: 64\n");
        assert!(with_shards("spec: {}\n", 2).is_err());
    }
}

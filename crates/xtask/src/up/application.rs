//! The steps after the cluster is up, whichever cluster it is: the namespace, what Iris needs in it,
//! and Iris. A step for something more goes into a file of its own here and into this list.
//!
//! Never makes the keyspace: that is Iris's own.

mod cassandra;
pub(crate) mod demo;
mod etcd;
pub(crate) mod install;
mod namespace;

use std::{collections::BTreeMap, fs, io::Read as _, net::Ipv4Addr, path::PathBuf};

use anyhow::{Context, Result};

use super::{Job, UpStep};
use crate::{
    cluster::{plan::NodeId, state::Backend},
    template::render,
};

pub(crate) use crate::cluster::NAMESPACE;

/// The steps, in order; the first needs nothing but an API server.
pub(super) fn steps() -> Vec<UpStep> {
    let mut steps = namespace::steps();
    steps.extend(cassandra::steps());
    steps.extend(etcd::steps());
    steps.extend(install::steps());
    steps.extend(demo::steps());
    steps
}

/// Makes a volume for a claim of a stateful set's pod, on a node of the local cluster. Elsewhere
/// the cluster's own default class makes volumes. Pods are dealt to nodes in turn from `first`.
fn volume(job: &Job, claim: &str, number: u8, first: u8) -> Result<String> {
    let Backend::Local { plan } = job.cluster()?.state().backend.clone() else {
        return Ok(String::new());
    };
    let count = u8::try_from(plan.nodes().count()).context("too many nodes")?;
    let node = NodeId::new((number + first) % count + 1)?;
    let path = volume_dir(job, claim);
    fs::create_dir_all(&path).with_context(|| format!("cannot make {path:?}"))?;
    render(
        include_str!("../../../../dev/kube/volume.yaml"),
        &[
            ("NAME", claim),
            ("CLAIM", claim),
            ("PATH", &path.display().to_string()),
            ("NODE", &node.to_string()),
        ],
    )
}

/// The line of a Service's specification that says its cluster IP: a fixed one in the local
/// cluster, so that the machine can know it; elsewhere the cluster's choice.
fn address_line(job: &Job, fixed: Ipv4Addr) -> Result<String> {
    Ok(match job.cluster()?.state().backend {
        Backend::Local { .. } => format!("clusterIP: {fixed}"),
        Backend::Kind | Backend::Context { .. } => "type: ClusterIP".to_owned(),
    })
}

fn volume_dir(job: &Job, claim: &str) -> PathBuf {
    job.env.state.join("volumes").join(claim)
}

/// Whether an object is there.
fn exists(job: &Job, kind: &str, name: &str) -> Result<bool> {
    Ok(job.kubectl()?.args(["-n", NAMESPACE, "get", kind, name]).succeeds())
}

/// Makes a Secret. Its values are in no argument and in no log.
fn make_secret(job: &Job, name: &str, values: &BTreeMap<&str, String>) -> Result<()> {
    let secret = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": values,
    });
    job.kubectl()?.args(["create", "-f", "-"]).stdin(secret.to_string()).run()
}

/// A password that nobody has to type.
fn new_password() -> Result<String> {
    let mut bytes = [0_u8; 18];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes).context("no random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Waits until every pod of a stateful set is ready.
fn await_rollout(job: &Job, name: &str, seconds: u32) -> Result<()> {
    let rollout = ["-n", NAMESPACE, "rollout", "status", name];
    job.kubectl()?.args(rollout).arg(format!("--timeout={seconds}s")).run()
}

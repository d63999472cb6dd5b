//! Clusters that are not made of this machine's namespaces: `kind` in a Docker engine, and one
//! that was here before.
//!
//! Never takes down, and never reconfigures, a cluster that it did not make.

use std::{env, path::PathBuf};

use anyhow::{Context, Result};

use super::{Job, UpStep, always, artifacts, machine};
use crate::{cache::Key, cmd::Cmd, env::Env, images::Image};

/// Pinned, and built from its sources as everything else is.
const KIND: &str = "sigs.k8s.io/kind@v0.30.0";
/// The name of the cluster that `kind` makes.
const NAME: &str = "iris-dev";

/// The steps to a cluster in a Docker engine. They end with the same names as the local ones.
pub(super) fn kind_steps() -> Vec<UpStep> {
    let mut steps = machine::steps_elsewhere();
    steps.extend(artifacts::steps());
    steps.push(UpStep {
        name: "kind",
        what: "compiling kind (once)",
        after: &["machine"],
        remedy: "check that Go reaches its module proxy",
        is_done: |job| Ok(kind_dir(&job.env).exists()),
        run: |job| make_program(&job.env),
    });
    steps.push(UpStep {
        name: "control-plane",
        what: "making a cluster with kind",
        after: &["programs", "kind"],
        remedy: "docker info; then `cargo xtask down` and try again",
        is_done: |job| {
            let clusters = kind(&job.env).args(["get", "clusters"]).output()?;
            Ok(clusters.lines().any(|line| line == NAME))
        },
        run: make_kind,
    });
    steps.extend(as_given());
    steps
}

/// The steps to a cluster that was here before.
pub(super) fn context_steps() -> Vec<UpStep> {
    let mut steps = machine::steps_elsewhere();
    steps.extend(artifacts::steps());
    steps.push(UpStep {
        name: "control-plane",
        what: "looking for the cluster",
        after: &["programs"],
        remedy: "check the context: kubectl --context NAME get nodes",
        is_done: always,
        run: |job| job.kubectl()?.args(["get", "--raw=/readyz"]).run(),
    });
    steps.extend(as_given());
    steps
}

/// What a complete cluster has by itself; later steps name these.
fn as_given() -> Vec<UpStep> {
    let given = |name, after| UpStep {
        name,
        what: "given by the cluster",
        after,
        remedy: "check the cluster",
        is_done: |_| Ok(true),
        run: |_| Ok(()),
    };
    vec![
        given("containerd", &["control-plane"]),
        given("pause-image", &["control-plane"]),
        given("kubelets", &["control-plane"]),
        given("storage", &["control-plane"]),
        UpStep {
            name: "nodes-ready",
            what: "waiting for the nodes",
            after: &["control-plane"],
            remedy: "kubectl describe nodes",
            is_done: always,
            run: |job| {
                let wait = ["wait", "--for=condition=Ready", "node", "--all", "--timeout=120s"];
                job.kubectl()?.args(wait).run()
            },
        },
    ]
}

/// Where the user's own configuration is.
pub(super) fn user_kubeconfig() -> Result<PathBuf> {
    match env::var_os("KUBECONFIG") {
        Some(file) => Ok(PathBuf::from(file)),
        None => {
            let home = env::var_os("HOME").context("neither KUBECONFIG nor HOME is set")?;
            Ok(PathBuf::from(home).join(".kube/config"))
        }
    }
}

/// Brings images into the cluster that `kind` made.
pub(crate) fn load(env: &Env, images: &[&Image]) -> Result<()> {
    for image in images {
        let load = ["load", "image-archive", "--name", NAME];
        kind(env).args(load).arg(&image.archive).run()?;
    }
    Ok(())
}

/// Removes the cluster that `kind` made.
pub(crate) fn remove_kind(env: &Env) -> Result<()> {
    kind(env).args(["delete", "cluster", "--name", NAME]).run()
}

fn make_kind(job: &Job) -> Result<()> {
    let workers = "- role: worker\n".repeat(job.options.nodes.saturating_sub(1).into());
    let config = format!(
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n{workers}"
    );
    let kubeconfig = job.env.state.join("kind.kubeconfig");
    kind(&job.env)
        .args(["create", "cluster", "--name", NAME, "--config=-", "--kubeconfig"])
        .arg(kubeconfig)
        .stdin(config)
        .run()
}

fn kind(env: &Env) -> Cmd {
    env.cmd(kind_dir(env).join("kind"))
}

fn kind_dir(env: &Env) -> PathBuf {
    env.cache.entry("kind", &Key::of([KIND]))
}

fn make_program(env: &Env) -> Result<()> {
    env.cache.make("kind", &Key::of([KIND]), |dir| {
        env.cmd("go").args(["install", KIND]).env("GOBIN", dir).env("CGO_ENABLED", "0").run()
    })?;
    Ok(())
}

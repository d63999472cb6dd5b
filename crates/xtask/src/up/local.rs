//! The steps that bring up the local cluster: network, certificates, control plane, nodes, and
//! what every Kubernetes cluster has.
//!
//! Never waits for more than the next step needs.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Job, UpStep, artifacts, machine};
use crate::{
    cluster::{control, netns, node, plan::DNS_SERVICE, state::State, sysctl, teardown},
    images::dev,
    steps::wait_until,
    template::render,
};

/// How long a kubelet may take to make its node known, on a machine that also compiles.
const REGISTRATION_MAX: Duration = Duration::from_secs(60);

/// All steps up to a cluster whose nodes are Ready.
pub(super) fn steps() -> Vec<UpStep> {
    let mut steps = machine::steps();
    steps.extend(artifacts::steps());
    steps.extend(control_plane());
    steps.extend(nodes());
    steps
}

fn control_plane() -> Vec<UpStep> {
    vec![
        UpStep {
            name: "network",
            what: "making network namespaces",
            after: &["packages"],
            remedy: "run `cargo xtask down`, then try again",
            is_done: |job| Ok(job.env.state.join("network").exists() && network_is_whole(job)?),
            run: network,
        },
        UpStep {
            name: "certificates",
            what: "making certificates",
            after: &["network"],
            remedy: "run `cargo xtask down`, then try again",
            is_done: |job| Ok(job.env.state.join("certificates").exists()),
            run: |job| {
                control::certificates(&job.local()?)?;
                mark(job, "certificates")
            },
        },
        UpStep {
            name: "control-plane",
            what: "starting etcd, the API server, the controllers and the scheduler",
            after: &["programs", "certificates"],
            remedy: "read logs/kube-apiserver.log beside this log; `cargo xtask down` starts afresh",
            is_done: |job| Ok(control::runs(&job.local()?)),
            run: |job| control::start(&job.local()?),
        },
    ]
}

fn nodes() -> Vec<UpStep> {
    vec![
        UpStep {
            name: "containerd",
            what: "starting each node's containerd",
            after: &["network"],
            remedy: "read logs/n1-containerd.log beside this log; `cargo xtask down` starts afresh",
            is_done: |job| on_nodes(job, node::containerd_runs),
            run: |job| {
                let local = job.local()?;
                local.plan.nodes().try_for_each(|id| node::start_containerd(&local, id))
            },
        },
        UpStep {
            name: "pause-image",
            what: "importing the first process of every pod",
            after: &["images", "containerd"],
            remedy: "check that the disk is not full",
            is_done: |job| job.has(&[&dev::image(&job.env, "pause")?]),
            run: |job| job.deliver(&[&dev::image(&job.env, "pause")?]),
        },
        UpStep {
            name: "kubelets",
            what: "starting each node's kubelet and kube-proxy, and the gateway's",
            after: &["control-plane", "pause-image"],
            remedy: "read logs/n1-kubelet.log beside this log; `cargo xtask down` starts afresh",
            is_done: |job| {
                Ok(control::gateway_runs(&job.local()?)? && on_nodes(job, node::kubelet_runs)?)
            },
            run: |job| {
                let local = job.local()?;
                local.plan.nodes().try_for_each(|id| node::start_kubelet(&local, id))?;
                control::start_gateway(&local)
            },
        },
        UpStep {
            name: "storage",
            what: "making the class of local volumes",
            after: &["control-plane"],
            remedy: "try again",
            is_done: super::always,
            run: |job| job.apply(include_str!("../../../../dev/kube/storage.yaml")),
        },
        UpStep {
            name: "dns",
            what: "starting cluster DNS",
            after: &["control-plane", "pause-image"],
            remedy: "cargo xtask kubectl -n kube-system describe pods",
            is_done: super::always,
            run: dns,
        },
        UpStep {
            name: "nodes-ready",
            what: "waiting for the nodes",
            after: &["kubelets", "dns"],
            remedy: "cargo xtask kubectl describe nodes; then read logs/n1-kubelet.log",
            is_done: super::always,
            run: nodes_ready,
        },
    ]
}

fn network_is_whole(job: &Job) -> Result<bool> {
    let present = netns::present();
    let places = job.local()?.plan.places().map(|place| place.netns());
    Ok(places.into_iter().all(|name| present.contains(&name)) && netns::device_exists())
}

/// A network that is not whole is the rest of a crash or of another boot, as is all that ran in
/// it: only a clean start is known to work.
fn network(job: &Job) -> Result<()> {
    let state = State::read(&job.env)?.context("the record of the cluster is gone")?;
    teardown::remove(&job.env, true)?;
    state.write(&job.env)?;
    sysctl::prepare(&job.env)?;
    netns::create(&job.env, job.local()?.plan)?;
    mark(job, "network")
}

fn mark(job: &Job, name: &str) -> Result<()> {
    let file = job.env.state.join(name);
    std::fs::write(&file, "").with_context(|| format!("cannot write {file:?}"))
}

fn on_nodes(
    job: &Job,
    holds: fn(&crate::cluster::Local, crate::cluster::NodeId) -> Result<bool>,
) -> Result<bool> {
    let local = job.local()?;
    for id in local.plan.nodes() {
        if !holds(&local, id)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn dns(job: &Job) -> Result<()> {
    let image = dev::image(&job.env, "coredns")?;
    job.deliver(&[&image])?;
    let manifest = render(
        include_str!("../../../../dev/kube/coredns.yaml"),
        &[("IMAGE", &image.reference), ("DNS", &DNS_SERVICE.to_string())],
    )?;
    job.apply(manifest)
}

fn nodes_ready(job: &Job) -> Result<()> {
    let local = job.local()?;
    let names: Vec<String> = local.plan.nodes().map(|id| format!("node/{id}")).collect();
    let dead = || {
        let mut daemons = local.plan.nodes().map(|id| format!("{id}-kubelet"));
        daemons.find(|name| local.processes.pid(name).is_none())
    };
    // A node that has not registered yet is no error, but `wait` takes it for one; and one whose
    // kubelet ended never will.
    wait_until("all nodes are registered", REGISTRATION_MAX, Duration::from_millis(250), || {
        Ok(dead().is_some() || local.kubectl(["get"]).args(&names).succeeds())
    })?;
    if let Some(name) = dead() {
        bail!("{name} ended; see {}", local.processes.log(&name).display());
    }
    local.kubectl(["wait", "--for=condition=Ready", "--timeout=120s"]).args(&names).run()?;
    let rollout = ["-n", "kube-system", "rollout", "status", "deployment/coredns"];
    local.kubectl(rollout).arg("--timeout=120s").run()?;
    Ok(())
}

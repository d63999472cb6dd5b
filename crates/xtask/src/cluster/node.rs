//! One node of the local cluster: containerd, the kubelet and kube-proxy in the node's own
//! network and mount namespaces, with files of their own.
//!
//! Never shares a directory with another node: kubelets that do delete each other's pods.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use super::{
    Local,
    cgroup::Cgroup,
    control, mounts,
    plan::{DNS_SERVICE, NodeId, Place},
    process::Spec,
};
use crate::{cmd::Cmd, images::dev, steps::wait_until, template::render};

/// Where distributions put the CNI plugins.
const CNI_BINS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Starts a node's containerd and waits until it answers.
pub(crate) fn start_containerd(local: &Local, node: NodeId) -> Result<()> {
    mounts::create(&local.env, node)?;
    Cgroup::of(Place::Node(node)).create()?;
    local.processes.ensure(&containerd(local, node)?)?;
    wait_until(
        &format!("containerd of {node} answers"),
        Duration::from_secs(30),
        Duration::from_millis(50),
        || Ok(ctr(local, node).arg("version").succeeds()),
    )
}

/// Whether a node's containerd runs as it should.
pub(crate) fn containerd_runs(local: &Local, node: NodeId) -> Result<bool> {
    Ok(mounts::pin(&local.env, node).exists() && local.processes.runs_as(&containerd(local, node)?))
}

/// Starts a node's kubelet and kube-proxy.
pub(crate) fn start_kubelet(local: &Local, node: NodeId) -> Result<()> {
    local.processes.ensure(&kubelet(local, node)?)?;
    local.processes.ensure(&kube_proxy(local, node)?)
}

/// Whether a node's kubelet and kube-proxy run as they should.
pub(crate) fn kubelet_runs(local: &Local, node: NodeId) -> Result<bool> {
    Ok(local.processes.runs_as(&kubelet(local, node)?)
        && local.processes.runs_as(&kube_proxy(local, node)?))
}

/// A command to a node's containerd, about what Kubernetes keeps there.
pub(crate) fn ctr(local: &Local, node: NodeId) -> Cmd {
    let socket = mounts::node_dir(&local.env, node).join("run/containerd.sock");
    local.env.cmd("ctr").arg("-a").arg(socket).args(["-n", "k8s.io"])
}

fn containerd(local: &Local, node: NodeId) -> Result<Spec> {
    let dir = mounts::node_dir(&local.env, node);
    let bins = CNI_BINS.into_iter().find(|dir| PathBuf::from(dir).join("ptp").exists());
    let config = render(
        include_str!("../../../../dev/node/containerd.toml"),
        &[
            ("PAUSE", &dev::image(&local.env, "pause")?.reference),
            ("CNI_BIN", bins.context("no CNI plugins")?),
        ],
    )?;
    let network =
        render(include_str!("../../../../dev/node/cni.json"), &[("POD_CIDR", &node.pod_cidr())])?;
    let file = dir.join("containerd.toml");
    let argv = vec!["containerd".to_owned(), "--config".to_owned(), file.display().to_string()];
    let files = [(file, config), (dir.join("net.d/10-iris.conflist"), network)];
    Ok(daemon(local, node, argv, "containerd", files.into()))
}

fn kubelet(local: &Local, node: NodeId) -> Result<Spec> {
    let place = Place::Node(node);
    let dir = mounts::node_dir(&local.env, node);
    let config = render(
        include_str!("../../../../dev/node/kubelet.yaml"),
        &[
            ("NODE", &node.to_string()),
            ("ADDRESS", &node.address().to_string()),
            ("PKI", &local.pki().display().to_string()),
            ("DNS", &DNS_SERVICE.to_string()),
            ("CGROUP", &place.netns()),
        ],
    )?;
    let file = dir.join("kubelet.yaml");
    let argv = vec![
        local.tool("iris-kube").display().to_string(),
        "kubelet".to_owned(),
        format!("--config={}", file.display()),
        format!("--kubeconfig={}", local.kubeconfig_of(&node.to_string()).display()),
        format!("--hostname-override={node}"),
        format!("--node-ip={}", node.address()),
        format!(
            "--node-labels=topology.kubernetes.io/zone={},topology.kubernetes.io/region=dev",
            node.zone()
        ),
        "--root-dir=/var/lib/kubelet".to_owned(),
        "--cert-dir=/var/lib/kubelet/pki".to_owned(),
    ];
    Ok(daemon(local, node, argv, "kubelet", [(file, config)].into()))
}

fn kube_proxy(local: &Local, node: NodeId) -> Result<Spec> {
    control::proxy(local, Place::Node(node), &format!("{node}-kube-proxy"), node)
}

fn daemon(
    local: &Local,
    node: NodeId,
    argv: Vec<String>,
    program: &str,
    files: BTreeMap<PathBuf, String>,
) -> Spec {
    Spec {
        name: format!("{node}-{program}"),
        argv,
        env: Default::default(),
        place: Place::Node(node).to_string(),
        mounts: Some(mounts::pin(&local.env, node)),
        files,
    }
}

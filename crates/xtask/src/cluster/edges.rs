//! The way of clients to the edges of the quickstart's cluster.
//!
//! Each edge by its own address, so that a client can choose between them and comes to another one when
//! one is gone. The name that its certificate has goes with the address.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::Command,
    sync::PoisonError,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Cluster, NAMESPACE, reach::Reach, state::Backend};
use crate::programs;

const CLUSTER: &str = "chat";
const PORT: u16 = 8443;

#[derive(Deserialize)]
struct Pods {
    items: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    labels: BTreeMap<String, String>,
    #[serde(rename = "deletionTimestamp")]
    deleted_at: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(rename = "podIP")]
    pod_ip: Option<IpAddr>,
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

impl Cluster {
    /// The edges that are ready, as `iris --server` takes them. Where this machine has no route to pods
    /// the addresses are forwarded ports, each as long as this cluster is held, its pod is there, and
    /// no connection through it ended badly.
    pub fn edges(&self) -> Result<Vec<String>> {
        let get = ["-n", NAMESPACE, "get", "pods", "-l", "iris.dev/role=edge", "-o", "json"];
        let pods: Pods = serde_json::from_str(&self.kubectl_command().args(get).quiet().output()?)?;
        let ready = |pod: &&Pod| {
            let ready = |c: &Condition| c.r#type == "Ready" && c.status == "True";
            pod.metadata.deleted_at.is_none() && pod.status.conditions.iter().any(ready)
        };
        let (mut edges, mut failed) = (Vec::new(), None);
        for pod in pods.items.iter().filter(ready) {
            let Some(pool) = pod.metadata.labels.get("iris.dev/pool") else { continue };
            match self.edge_address(pod) {
                Ok(address) => edges.push(format!("{pool}-edge.{NAMESPACE}.svc={address}")),
                // It may be gone since it was listed; one edge is enough.
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed.filter(|_| edges.is_empty()) {
            return Err(error.context("no edge can be reached"));
        }
        ensure!(!edges.is_empty(), "no edge is ready; see `cargo xtask kubectl -n iris get pods`");
        Ok(edges)
    }

    fn edge_address(&self, pod: &Pod) -> Result<SocketAddr> {
        if let (Backend::Local { .. }, Some(ip)) = (&self.state.backend, pod.status.pod_ip) {
            return Ok(SocketAddr::from((ip, PORT)));
        }
        let mut forwarded = self.forwarded.lock().unwrap_or_else(PoisonError::into_inner);
        forwarded.retain(|_, reach| reach.holds());
        let name = &pod.metadata.name;
        if let Some(reach) = forwarded.get(name) {
            return Ok(reach.address());
        }
        let reach = Reach::forward(self, NAMESPACE, &format!("pod/{name}"), PORT)?;
        let address = reach.address();
        forwarded.insert(name.clone(), reach);
        Ok(address)
    }

    /// A file with the authority that signs the edges' certificates.
    pub fn client_authority(&self) -> Result<PathBuf> {
        let name = format!("{CLUSTER}-client-ca");
        let get = ["-n", NAMESPACE, "get", "configmap", &name, r"-o=jsonpath={.data.ca\.crt}"];
        let pem = self.kubectl_command().args(get).quiet().output()?;
        ensure!(pem.contains("BEGIN CERTIFICATE"), "ConfigMap {name} has no certificate yet");
        let path = self.env.state.join("client-ca.crt");
        fs::write(&path, pem).with_context(|| format!("cannot write {path:?}"))?;
        Ok(path)
    }

    /// `iris`, the client, for this cluster: its edges, their authority, accounts kept with it.
    pub fn iris(&self) -> Result<Command> {
        let mut command = Command::new(programs::own("iris")?);
        command.envs(self.client_environment()?);
        Ok(command)
    }

    /// `kubectl iris` for this cluster.
    pub fn kubectl_iris(&self) -> Result<Command> {
        let mut command = Command::new(programs::own("kubectl-iris")?);
        command.env("KUBECONFIG", self.kubeconfig());
        Ok(command)
    }

    /// What `iris` needs in its environment to talk to this cluster.
    pub(crate) fn client_environment(&self) -> Result<Vec<(&'static str, String)>> {
        Ok(vec![
            ("IRIS_SERVER", self.edges()?.join(",")),
            ("IRIS_CA", self.client_authority()?.display().to_string()),
            ("IRIS_PROFILE_DIR", self.env.state.join("people").display().to_string()),
        ])
    }
}

//! The way of clients to the edges of the quickstart's cluster.
//!
//! Each edge by its own address, so that a client can choose between them and comes to another one when
//! one is gone. The name that its certificate has goes with the address.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Cluster, NAMESPACE};
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
    labels: std::collections::BTreeMap<String, String>,
    #[serde(rename = "deletionTimestamp")]
    deleted_at: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

impl Cluster {
    /// The edges that are ready, as `iris --server` takes them.
    pub fn edges(&self) -> Result<Vec<String>> {
        let get = ["-n", NAMESPACE, "get", "pods", "-l", "iris.dev/role=edge", "-o", "json"];
        let pods: Pods = serde_json::from_str(&self.kubectl_command().args(get).quiet().output()?)?;
        let ready = |pod: &&Pod| {
            let ready = |c: &Condition| c.r#type == "Ready" && c.status == "True";
            pod.metadata.deleted_at.is_none() && pod.status.conditions.iter().any(ready)
        };
        let address = |pod: &Pod| {
            let pool = pod.metadata.labels.get("iris.dev/pool")?;
            let ip = pod.status.pod_ip.as_ref()?;
            Some(format!("{pool}-edge.{NAMESPACE}.svc={ip}:{PORT}"))
        };
        let edges: Vec<_> = pods.items.iter().filter(ready).filter_map(address).collect();
        ensure!(!edges.is_empty(), "no edge is ready; see `cargo xtask kubectl -n iris get pods`");
        Ok(edges)
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

//! Whom a fault hits: the owner with the most shards, the leaders, and the others, as they are right
//! before it.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::cluster::{Cluster, ContainerRef, NodeId};

use super::catalogue::{Peer, Role};
use super::scene::Scene;
use super::shards::Shards;
use super::whole::{self, SYSTEM};

/// From so many restarts on a pod is made anew before it is hit: the kubelet waits longer before each
/// further restart, minutes in the end, and that would be measured as Iris's own.
const RESTARTS_MAX: u64 = 3;

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Its container, named after what it is.
    pub(crate) container: String,
    pub(crate) node: NodeId,
    pub(crate) ip: Ipv4Addr,
    pub(crate) restarts: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Victims {
    /// The one with the most shards first.
    pub(crate) owners: Vec<Pod>,
    pub(crate) edges: Vec<Pod>,
    pub(crate) etcd: Vec<Pod>,
    pub(crate) cassandra: Vec<Pod>,
    control_leader: Pod,
    operator_leader: Pod,
    pub(crate) shards: Shards,
}

impl Pod {
    /// Its running container. By what is on disk: it needs no API server.
    pub(crate) fn container(&self, cluster: &Cluster) -> Result<ContainerRef> {
        cluster.container(&self.namespace, &self.name, &self.container)
    }

    fn parse(pod: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let status = &pod["status"]["containerStatuses"][0];
        Some(Self {
            namespace: text(&pod["metadata"]["namespace"])?,
            name: text(&pod["metadata"]["name"])?,
            container: text(&pod["spec"]["containers"][0]["name"])?,
            node: pod["spec"]["nodeName"].as_str()?.parse().ok()?,
            ip: pod["status"]["podIP"].as_str()?.parse().ok()?,
            restarts: status["restartCount"].as_u64().unwrap_or(0),
        })
    }
}

impl Victims {
    /// Looks who is who.
    pub(crate) fn find(cluster: &Cluster) -> Result<Self> {
        let pods = parse(&whole::pods(cluster)?);
        let named = |container: &str| -> Vec<Pod> {
            pods.iter().filter(|pod| pod.container == container).cloned().collect()
        };
        let shards = Shards::now(cluster)?;
        let mut owners = named("owner");
        owners.sort_by_key(|pod| std::cmp::Reverse(shards.count(&pod.name)));
        ensure!(owners.len() > 1, "a fault of an owner needs two of them, one to take over");
        let busiest = owners.first().map_or(0, |pod| shards.count(&pod.name));
        ensure!(busiest > 0, "no owner has a shard");
        let controls = named("controlplane");
        let leads = |pod: &Pod| {
            let metrics = cluster.metrics(&pod.name);
            metrics.is_ok_and(|metrics| metrics.sum("iris_control_leading") >= 1.0)
        };
        let control_leader = controls.into_iter().find(leads).context("no control plane leads")?;
        let holder = operator_holder(cluster)?;
        let operator = named("operator").into_iter().find(|pod| pod.name == holder);
        Ok(Self {
            owners,
            edges: named("edge"),
            etcd: named("etcd"),
            cassandra: named("cassandra"),
            control_leader,
            operator_leader: operator.with_context(|| format!("{holder} leads, and is no pod"))?,
            shards,
        })
    }

    /// The owner that is hurt.
    pub(crate) fn owner(&self) -> Result<&Pod> {
        self.owners.first().context("there is no owner")
    }

    /// The pod of a role.
    pub(crate) fn of(&self, role: Role) -> Result<&Pod> {
        match role {
            Role::Owner => self.owners.first(),
            Role::NextOwner => self.owners.get(1),
            Role::Edge => self.edges.first(),
            Role::ControlPlane => Some(&self.control_leader),
            Role::Operator => Some(&self.operator_leader),
            Role::Etcd => self.etcd.first(),
            Role::Cassandra => self.cassandra.first(),
        }
        .with_context(|| format!("there is no {role:?}"))
    }

    /// The addresses of those with whom the owner talks; none means anybody.
    pub(crate) fn peers(&self, peer: Peer) -> Result<Option<Vec<Ipv4Addr>>> {
        let pods: Vec<&Pod> = match peer {
            Peer::Anyone => return Ok(None),
            Peer::Cassandra => self.cassandra.iter().collect(),
            Peer::Etcd => self.etcd.iter().collect(),
            Peer::NextOwner => self.owners.iter().skip(1).take(1).collect(),
            Peer::Dataplane => self.owners.iter().skip(1).chain(&self.edges).collect(),
        };
        ensure!(!pods.is_empty(), "there is no {peer:?}");
        Ok(Some(pods.iter().map(|pod| pod.ip).collect()))
    }
}

/// Makes pods anew that were restarted often, one by one.
pub(crate) fn refresh(scene: &Scene, mut healed: impl FnMut() -> Result<()>) -> Result<()> {
    let pods = parse(&whole::pods(&scene.cluster)?);
    for pod in pods.iter().filter(|pod| pod.restarts >= RESTARTS_MAX) {
        scene.say(&format!("{} was restarted {} times: it is made anew", pod.name, pod.restarts));
        let delete = ["-n", &pod.namespace, "delete", "pod", &pod.name, "--wait", "--timeout=150s"];
        scene.cluster.kubectl(delete)?;
        healed()?;
    }
    Ok(())
}

/// How often a pod's container was restarted.
pub(crate) fn restarts(cluster: &Cluster, pod: &Pod) -> Result<u64> {
    let pods = parse(&whole::pods(cluster)?);
    let found =
        pods.iter().find(|found| found.name == pod.name && found.namespace == pod.namespace);
    Ok(found.with_context(|| format!("{} is gone", pod.name))?.restarts)
}

fn parse(list: &Value) -> Vec<Pod> {
    list["items"].as_array().into_iter().flatten().filter_map(Pod::parse).collect()
}

/// The pod whose operator leads, by the Lease: its holder is the pod's name and a number.
fn operator_holder(cluster: &Cluster) -> Result<String> {
    let path = "-o=jsonpath={.spec.holderIdentity}";
    let holder = cluster.kubectl(["-n", SYSTEM, "get", "lease", "iris-operator", path])?;
    let (pod, _) = holder.trim().rsplit_once('_').context("no operator leads")?;
    Ok(pod.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_read_once_it_has_a_place() {
        let pod = json!({
            "metadata": {"namespace": "iris", "name": "eu-owner-0"},
            "spec": {"nodeName": "n2", "containers": [{"name": "owner"}]},
            "status": {"podIP": "198.18.2.7", "containerStatuses": [{"restartCount": 2}]},
        });
        let mut waits = pod.clone();
        waits["spec"]["nodeName"] = Value::Null;
        let pods = parse(&json!({"items": [pod, waits]}));
        let wanted = Pod {
            namespace: "iris".to_owned(),
            name: "eu-owner-0".to_owned(),
            container: "owner".to_owned(),
            node: "n2".parse().unwrap(),
            ip: Ipv4Addr::new(198, 18, 2, 7),
            restarts: 2,
        };
        assert_eq!(pods, [wanted]);
    }
}

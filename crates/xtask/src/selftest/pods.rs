//! What every Kubernetes cluster does.
//!
//! Never needs Iris.

use anyhow::{Result, ensure};

use super::{Check, NAMESPACE, ask, connects};
use crate::cluster::{Cluster, Place};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "all nodes are Ready, each in a zone of its own", run: nodes },
    Check { name: "a pod reaches a Service on another node by its short name", run: short_name },
    Check { name: "a pod reaches a Service on another node by its full name", run: full_name },
    Check { name: "a pod reaches the API server by its Service", run: api_service },
    Check { name: "this machine and the client reach a Service and a NodePort", run: outside },
    Check { name: "logs are read", run: logs },
    Check { name: "a pod that is not restricted is refused", run: restricted },
];

fn nodes(cluster: &Cluster) -> Result<()> {
    let path = "-o=jsonpath={range .items[*]}{.metadata.labels.topology\\.kubernetes\\.io/zone} \
                {.status.conditions[?(@.type==\"Ready\")].status};{end}";
    let text = cluster.kubectl(["get", "nodes", path])?;
    let mut lines: Vec<&str> = text.split(';').filter(|line| !line.is_empty()).collect();
    ensure!(lines.iter().all(|line| line.ends_with(" True")), "{text}");
    lines.sort_unstable();
    lines.dedup();
    ensure!(lines.len() == cluster.nodes()?.len(), "{text}");
    Ok(())
}

fn short_name(cluster: &Cluster) -> Result<()> {
    stores(cluster, "http://server:2379")
}

fn full_name(cluster: &Cluster) -> Result<()> {
    stores(cluster, &format!("http://server.{NAMESPACE}.svc.cluster.local:2379"))
}

fn stores(cluster: &Cluster, endpoint: &str) -> Result<()> {
    ask(cluster, endpoint, &["put", "key", endpoint])?;
    let answer = ask(cluster, endpoint, &["get", "key", "--print-value-only"])?;
    ensure!(answer.trim() == endpoint, "{answer}");
    Ok(())
}

fn api_service(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes()? {
        let (open, _) = connects(cluster, Place::Node(node), "198.19.0.1", 443);
        ensure!(open, "not from {node}");
    }
    Ok(())
}

fn outside(cluster: &Cluster) -> Result<()> {
    let service = cluster.service_ip(NAMESPACE, "server")?;
    let address = format!("{service}:2379").parse()?;
    std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_secs(2))?;
    ensure!(connects(cluster, Place::Client, &service.to_string(), 2379).0, "not from the client");
    for node in cluster.nodes()? {
        let address = cluster.node_address(node).to_string();
        ensure!(connects(cluster, Place::Client, &address, 30379).0, "no NodePort at {node}");
    }
    Ok(())
}

fn logs(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl(["-n", NAMESPACE, "logs", "server"])?;
    ensure!(text.contains("\"level\""), "{text}");
    Ok(())
}

fn restricted(cluster: &Cluster) -> Result<()> {
    let image = cluster.image("etcd").unwrap_or_default().to_owned();
    for namespace in [NAMESPACE, "iris"] {
        let image = format!("--image={image}");
        let run = ["-n", namespace, "run", "forbidden", &image, "--dry-run=server"];
        let Err(error) = cluster.kubectl(run) else {
            anyhow::bail!("admitted to {namespace}");
        };
        ensure!(error.to_string().contains("violates PodSecurity"), "{error}");
    }
    Ok(())
}

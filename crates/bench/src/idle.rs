//! What a connection that does nothing costs an edge.

use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::cluster::{
    Cluster, NAMESPACE,
    soak::{Load, Soak},
};

use crate::{machine::tcp_socket_bytes, messages::soak, pause};

/// After so long every device is connected and quiet.
const SETTLED: Duration = Duration::from_secs(20);
/// How long the connections stay: until memory was read, and some.
const STAY_S: u32 = 60;

/// Measures `pairs` pairs of connections.
pub(crate) fn section(cluster: &Cluster, pairs: u32) -> Result<String> {
    let connections = pairs * 2;
    eprintln!("{connections} idle connections");
    // Once without being measured, so that the accounts exist; then with new edges, for memory that an
    // earlier load left behind would serve the connections and count as nothing.
    soak(cluster, Load { pairs, rate: 1, seconds: 1 }, None)?;
    new_edges(cluster)?;
    let before = memory(cluster)?;
    let soak = Soak::start(cluster, Load { pairs, rate: 1, seconds: STAY_S }, None)?;
    pause(SETTLED * 2);
    let during = memory(cluster)?;
    soak.end()?;
    ensure!(during > before, "{connections} connections took no memory");
    let counted = (during - before) / u64::from(connections);
    let socket = tcp_socket_bytes()?;
    Ok(format!(
        "\n## Idle connections\n\n\
         {connections} authenticated TLS 1.3 connections that do nothing: {} bytes each. {counted} by the \
         control groups of both edges ({before} bytes before, {during} with them), which count the edge \
         and the kernel's files and buffers; and {socket} for the kernel's TCP socket, which they do not \
         count (`/proc/slabinfo`).\n",
        counted + socket
    ))
}

fn new_edges(cluster: &Cluster) -> Result<()> {
    let old = cluster.pods("edge")?;
    cluster.kubectl(["-n", NAMESPACE, "delete", "pods", "-l", "iris.dev/role=edge", "--wait"])?;
    let available = "condition=Available";
    cluster.wait(NAMESPACE, "irisedgepool/eu-public", available, SETTLED * 6)?;
    pause(SETTLED);
    let new = cluster.pods("edge")?;
    ensure!(new.iter().all(|pod| !old.contains(pod)), "old edges are still there: {old:?}");
    Ok(())
}

fn memory(cluster: &Cluster) -> Result<u64> {
    cluster.pods("edge")?.iter().map(|pod| cluster.memory(pod, "edge")).sum()
}

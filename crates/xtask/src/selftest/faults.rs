//! That each fault does what it says, and that healing ends it.
//!
//! Never asserts that nothing happened without having seen before that it would have.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Check, NAMESPACE, ask, connects};
use crate::{
    cluster::{Cluster, Cut, Daemon, Link, NodeId, Place, Signal},
    steps::wait_until,
};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "a pulled cable makes a node NotReady, and it heals", run: link },
    Check { name: "a one-way cut drops one way only", run: one_way },
    Check { name: "a reset is known at once", run: reset },
    Check { name: "a partition between nodes cuts their pods off", run: partition },
    Check { name: "loss loses, and healing ends it", run: loss },
    Check { name: "bandwidth is limited", run: bandwidth },
    Check { name: "a frozen container answers nothing until it thaws", run: freeze },
    Check { name: "the API server is stopped, killed and started", run: api_server },
    Check { name: "the other control processes and a node's are killed and started", run: daemons },
];

const TICK: Duration = Duration::from_millis(300);
const NODE_MAX: Duration = Duration::from_secs(60);

/// Where the server's pod is, and the client's.
fn server_node() -> Result<NodeId> {
    NodeId::new(1)
}

fn client_node() -> Result<NodeId> {
    NodeId::new(2)
}

fn link(cluster: &Cluster) -> Result<()> {
    let node = cluster.nodes()?.pop().map_or_else(server_node, Ok)?;
    cluster.node_link(node, Link::Down)?;
    let name = format!("node/{node}");
    cluster.wait("default", &name, "condition=Ready=Unknown", NODE_MAX)?;
    cluster.node_link(node, Link::Up)?;
    cluster.wait("default", &name, "condition=Ready", NODE_MAX)
}

fn one_way(cluster: &Cluster) -> Result<()> {
    let pod = cluster.pod_ip(NAMESPACE, "server")?.to_string();
    let server = Place::Node(server_node()?);
    cluster.partition_one_way(Place::Client, server)?;
    let (open, took) = connects(cluster, Place::Client, &pod, 2379);
    ensure!(!open && took > Duration::from_secs(1), "open: {open}, after {took:?}");
    ensure!(connects(cluster, Place::Control, &pod, 2379).0, "another place is cut off too");
    cluster.heal_all()?;
    ensure!(connects(cluster, Place::Client, &pod, 2379).0, "not healed");
    Ok(())
}

fn reset(cluster: &Cluster) -> Result<()> {
    let pod = cluster.pod_ip(NAMESPACE, "server")?.to_string();
    cluster.cut(Place::Client, Place::Node(server_node()?), Cut::Reset)?;
    let (open, took) = connects(cluster, Place::Client, &pod, 2379);
    ensure!(!open && took < Duration::from_secs(1), "open: {open}, after {took:?}");
    cluster.heal_all()?;
    ensure!(connects(cluster, Place::Client, &pod, 2379).0, "not healed");
    Ok(())
}

fn partition(cluster: &Cluster) -> Result<()> {
    let endpoint = "http://server:2379";
    cluster.partition(Place::Node(server_node()?), Place::Node(client_node()?))?;
    ensure!(ask(cluster, endpoint, &["get", "key"]).is_err(), "the pods still talk");
    cluster.heal_all()?;
    wait_until("the pods talk", Duration::from_secs(20), TICK, || {
        Ok(ask(cluster, endpoint, &["get", "key"]).is_ok())
    })
}

fn loss(cluster: &Cluster) -> Result<()> {
    let pod = cluster.pod_ip(NAMESPACE, "server")?.to_string();
    cluster.loss(Place::Client, 100.0)?;
    ensure!(!connects(cluster, Place::Client, &pod, 2379).0, "all is lost and it connects");
    cluster.heal_all()?;
    cluster.loss(Place::Client, 1.0)?;
    wait_until("it connects in spite of a little loss", Duration::from_secs(10), TICK, || {
        Ok(connects(cluster, Place::Client, &pod, 2379).0)
    })
}

fn bandwidth(cluster: &Cluster) -> Result<()> {
    cluster.bandwidth(Place::Client, 1000)?;
    let show = [cluster.enter(Place::Client), ["tc", "qdisc", "show"].map(String::from).to_vec()];
    let text = crate::cmd::Cmd::new("env").args(show.concat()).output()?;
    ensure!(text.contains("tbf") && text.contains("1Mbit"), "{text}");
    Ok(())
}

fn freeze(cluster: &Cluster) -> Result<()> {
    let endpoint = "http://server:2379";
    cluster.freeze(NAMESPACE, "server", "etcd")?;
    let frozen = ask(cluster, endpoint, &["get", "key"]);
    cluster.thaw(NAMESPACE, "server", "etcd")?;
    ensure!(frozen.is_err(), "it answers while frozen");
    ask(cluster, endpoint, &["get", "key"])?;
    cluster.kill_container(NAMESPACE, "server", "etcd", Signal::Stop)?;
    let stopped = ask(cluster, endpoint, &["get", "key"]);
    cluster.kill_container(NAMESPACE, "server", "etcd", Signal::Continue)?;
    ensure!(stopped.is_err(), "it answers while stopped");
    ask(cluster, endpoint, &["get", "key"]).map(drop)
}

fn api_server(cluster: &Cluster) -> Result<()> {
    let serves = || cluster.kubectl(["get", "--raw=/readyz", "--request-timeout=2s"]).is_ok();
    cluster.signal_daemon(Daemon::ApiServer, Signal::Stop)?;
    ensure!(!serves(), "it serves while stopped");
    cluster.signal_daemon(Daemon::ApiServer, Signal::Continue)?;
    cluster.await_api(Duration::from_secs(30))?;
    let before = cluster.daemon_pid(Daemon::ApiServer)?;
    cluster.kill_daemon(Daemon::ApiServer)?;
    ensure!(!serves(), "it serves while dead");
    cluster.start_daemon(Daemon::ApiServer)?;
    cluster.await_api(Duration::from_secs(60))?;
    ensure!(cluster.daemon_pid(Daemon::ApiServer)? != before, "it is the same process");
    Ok(())
}

fn daemons(cluster: &Cluster) -> Result<()> {
    let node = server_node()?;
    for daemon in [
        Daemon::ControllerManager,
        Daemon::Scheduler,
        Daemon::Etcd,
        Daemon::Containerd(node),
        Daemon::Kubelet(node),
        Daemon::KubeProxy(node),
    ] {
        cluster.kill_daemon(daemon)?;
        cluster.start_daemon(daemon)?;
    }
    cluster.await_api(Duration::from_secs(60))?;
    // The pods outlive all of them.
    let began = Instant::now();
    cluster.wait("default", &format!("node/{node}"), "condition=Ready", NODE_MAX)?;
    wait_until("the pods talk", Duration::from_secs(30), TICK, || {
        Ok(ask(cluster, "http://server:2379", &["get", "key"]).is_ok())
    })?;
    ensure!(began.elapsed() < NODE_MAX, "it took {:?}", began.elapsed());
    Ok(())
}

//! Real faults in the local cluster: cables pulled, packets dropped or refused between places,
//! processes of the control plane and of nodes stopped, killed and started.
//!
//! Never leaves a trace after [`Cluster::heal_all`], and never drops a packet of the machine's own.

use std::{fmt, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    Cluster, Signal,
    cgroup::Cgroup,
    containers, control, netns,
    plan::{FABRIC_NETNS, NodeId, Place},
    process::signal_if,
};
use crate::cmd::Cmd;

/// The chains that hold our rules, apart from everyone else's.
const CHAIN_IN: &str = "IRIS-FAULT-IN";
const CHAIN_OUT: &str = "IRIS-FAULT-OUT";
pub(super) const CHAIN_PASS: &str = "IRIS-FAULT-PASS";
pub(super) const CHAIN_REFUSE: &str = "IRIS-FAULT-REFUSE";

/// The state of a node's cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Plugged in.
    Up,
    /// Pulled out.
    Down,
}

/// How packets that are cut off end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// They vanish; the sender waits.
    Drop,
    /// TCP connections are reset; the sender knows at once.
    Reset,
}

/// A process of the cluster that can be stopped and started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// The etcd of Kubernetes.
    Etcd,
    /// `kube-apiserver`.
    ApiServer,
    /// `kube-controller-manager`.
    ControllerManager,
    /// `kube-scheduler`.
    Scheduler,
    /// The containerd of a node.
    Containerd(NodeId),
    /// The kubelet of a node.
    Kubelet(NodeId),
    /// The kube-proxy of a node.
    KubeProxy(NodeId),
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Etcd => f.write_str("etcd"),
            Self::ApiServer => f.write_str("kube-apiserver"),
            Self::ControllerManager => f.write_str("kube-controller-manager"),
            Self::Scheduler => f.write_str("kube-scheduler"),
            Self::Containerd(node) => write!(f, "{node}-containerd"),
            Self::Kubelet(node) => write!(f, "{node}-kubelet"),
            Self::KubeProxy(node) => write!(f, "{node}-kube-proxy"),
        }
    }
}

impl Cluster {
    /// Pulls a node's cable out or plugs it in: all its traffic, its pods' and its kubelet's.
    pub fn node_link(&self, node: NodeId, link: Link) -> Result<()> {
        let local = self.local()?;
        ensure!(local.plan.nodes().any(|other| other == node), "there is no node {node}");
        let state = match link {
            Link::Up => "up",
            Link::Down => "down",
        };
        let port = Place::Node(node).to_string();
        self.env().cmd("ip").args(["-n", FABRIC_NETNS, "link", "set", &port, state]).run()
    }

    /// Cuts what goes from one place to another, and nothing the other way. What comes through
    /// the gateway counts as coming from the gateway.
    pub fn cut(&self, from: Place, to: Place, how: Cut) -> Result<()> {
        self.prepare_chains(to)?;
        for source in from.sources() {
            let rule: Vec<&str> = match how {
                Cut::Drop => vec!["-t", "mangle", "-A", CHAIN_IN, "-s", &source, "-j", "DROP"],
                Cut::Reset => vec![
                    "-A",
                    CHAIN_REFUSE,
                    "-s",
                    &source,
                    "-p",
                    "tcp",
                    "-j",
                    "REJECT",
                    "--reject-with",
                    "tcp-reset",
                ],
            };
            self.iptables(to).args(rule).run()?;
        }
        Ok(())
    }

    /// Cuts what goes between two places, both ways, silently.
    pub fn partition(&self, one: Place, other: Place) -> Result<()> {
        self.cut(one, other, Cut::Drop)?;
        self.cut(other, one, Cut::Drop)
    }

    /// Cuts what goes from one place to another, silently; answers still pass the other way.
    pub fn partition_one_way(&self, from: Place, to: Place) -> Result<()> {
        self.cut(from, to, Cut::Drop)
    }

    /// Loses this share of a place's packets, of those it sends and of those it gets.
    pub fn loss(&self, place: Place, percent: f64) -> Result<()> {
        ensure!((0.0..=100.0).contains(&percent), "{percent} is no percentage");
        self.prepare_chains(place)?;
        let share = format!("{:.5}", percent / 100.0);
        for (chain, device) in [(CHAIN_IN, "-i"), (CHAIN_OUT, "-o")] {
            let chance = ["-m", "statistic", "--mode", "random", "--probability", &share];
            self.iptables(place)
                .args(["-t", "mangle", "-A", chain, device, "eth0"])
                .args(chance)
                .args(["-j", "DROP"])
                .run()?;
        }
        Ok(())
    }

    /// Limits what a place sends to this many kilobits a second.
    pub fn bandwidth(&self, place: Place, kilobits: u32) -> Result<()> {
        let rate = format!("{kilobits}kbit");
        let limit = ["tbf", "rate", &rate, "burst", "32k", "latency", "400ms"];
        let replace = ["tc", "qdisc", "replace", "dev", "eth0", "root"];
        netns::inside(self.env(), place).args(replace).args(limit).run()
    }

    /// Ends the limit of what a place sends, if there is one.
    pub fn free_bandwidth(&self, place: Place) {
        netns::inside(self.env(), place)
            .args(["tc", "qdisc", "del", "dev", "eth0", "root"])
            .succeeds();
    }

    /// Ends every fault: cables, packets, bandwidth, frozen, stopped and slowed containers, stopped
    /// daemons; killed daemons are started again.
    pub fn heal_all(&self) -> Result<()> {
        let local = self.local()?;
        for place in local.plan.places() {
            self.drop_chains(place);
            self.free_bandwidth(place);
        }
        for node in local.plan.nodes() {
            self.node_link(node, Link::Up)?;
            continue_pods(Place::Node(node))?;
        }
        for name in local.processes.names() {
            if local.processes.pid(&name).is_some() {
                local.processes.signal(&name, rustix::process::Signal::CONT)?;
            } else {
                local.processes.restart(&name)?;
            }
        }
        Ok(())
    }

    /// Sends a signal to a daemon: [`Signal::Stop`] and [`Signal::Continue`] pause it.
    pub fn signal_daemon(&self, daemon: Daemon, signal: Signal) -> Result<()> {
        self.local()?.processes.signal(&daemon.to_string(), signal.raw())
    }

    /// Kills a daemon, as `kill -9` does, and waits until it is gone.
    pub fn kill_daemon(&self, daemon: Daemon) -> Result<()> {
        let processes = self.local()?.processes;
        processes.signal(&daemon.to_string(), rustix::process::Signal::KILL)?;
        processes.stop(&daemon.to_string(), Duration::from_secs(5))
    }

    /// Starts a daemon that was killed, exactly as it was started before.
    pub fn start_daemon(&self, daemon: Daemon) -> Result<()> {
        self.local()?.processes.restart(&daemon.to_string())
    }

    /// The machine's number of a daemon's process.
    pub fn daemon_pid(&self, daemon: Daemon) -> Result<i32> {
        self.local()?
            .processes
            .pid(&daemon.to_string())
            .with_context(|| format!("{daemon} is dead"))
    }

    /// Waits until the API server serves, after it was stopped or killed.
    pub fn await_api(&self, limit: Duration) -> Result<()> {
        control::await_api(&self.local()?, limit)
    }

    pub(super) fn iptables(&self, place: Place) -> Cmd {
        // kube-proxy may hold the lock.
        netns::inside(self.env(), place).args(["iptables", "-w", "10"])
    }

    pub(super) fn prepare_chains(&self, place: Place) -> Result<()> {
        for (table, chain, hooks) in chains() {
            if self.iptables(place).args(["-t", table, "-L", chain, "-n"]).succeeds() {
                continue;
            }
            self.iptables(place).args(["-t", table, "-N", chain]).run()?;
            for hook in hooks {
                self.iptables(place).args(["-t", table, "-I", hook, "1", "-j", chain]).run()?;
            }
        }
        Ok(())
    }

    pub(super) fn drop_chains(&self, place: Place) {
        for (table, chain, hooks) in chains() {
            // Each fails where there was no fault, and that is what is wanted.
            for hook in hooks {
                self.iptables(place).args(["-t", table, "-D", hook, "-j", chain]).succeeds();
            }
            self.iptables(place).args(["-t", table, "-F", chain]).succeeds();
            self.iptables(place).args(["-t", table, "-X", chain]).succeeds();
        }
    }
}

/// Thaws all pods of a node, ends limits of their disk and gives it room, and lets their processes go on.
/// To one that is not stopped the signal is nothing.
fn continue_pods(place: Place) -> Result<()> {
    let pods = Cgroup::pods(place);
    pods.thaw_all();
    pods.free_writes_all();
    for pid in pods.processes() {
        containers::empty(pid);
        signal_if(pid, Signal::Continue.raw(), || pods.processes().contains(&pid))?;
    }
    Ok(())
}

/// Tables, our chain in each, and the built-in chains that lead to it. Silent drops stand before
/// everyone's rules; a refusal can only stand in the filter table.
fn chains() -> [(&'static str, &'static str, &'static [&'static str]); 4] {
    [
        ("mangle", CHAIN_IN, &["PREROUTING"]),
        ("mangle", CHAIN_OUT, &["POSTROUTING"]),
        ("mangle", CHAIN_PASS, &["FORWARD"]),
        ("filter", CHAIN_REFUSE, &["INPUT", "FORWARD"]),
    ]
}

//! The addresses and names of everything in the local cluster, as pure functions of the number
//! of nodes. All addresses are from 198.18.0.0/15, which is reserved for benchmarks and routed
//! nowhere.
//!
//! Never looks at the machine.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// The most nodes of a local cluster: each idles at about 200 MB and takes a pod subnet.
pub const NODES_MAX: u8 = 9;
/// Everything that the cluster ever sends to or from.
pub const WHOLE_CIDR: &str = "198.18.0.0/15";
/// The fabric between nodes, control plane, gateway, client and machine.
pub const FABRIC_PREFIX: u8 = 24;
/// All pod subnets together.
pub const PODS_CIDR: &str = "198.18.0.0/17";
/// Cluster IPs of Services.
pub const SERVICES_CIDR: &str = "198.19.0.0/16";
/// The cluster IP of the API server.
pub const API_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
/// The cluster IP of the cluster's DNS.
pub const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 10);
/// The cluster IP of Iris's etcd, fixed so that its certificate can name it.
pub const ETCD_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 23);
/// The cluster IP of Cassandra.
pub const CASSANDRA_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 90);
/// The machine's own address on the fabric.
pub const MACHINE: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 254);
/// The machine's own device on the fabric.
pub const MACHINE_DEVICE: &str = "iris-root";
/// The namespace that holds the bridge that joins the others.
pub const FABRIC_NETNS: &str = "iris-fabric";

/// A node of the local cluster, from 1 up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(u8);

impl NodeId {
    /// Node number `number`, from 1 to [`NODES_MAX`].
    pub fn new(number: u8) -> Result<Self> {
        ensure!((1..=NODES_MAX).contains(&number), "there is no node number {number}");
        Ok(Self(number))
    }

    /// The node's address on the fabric.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 255, 10 + self.0)
    }

    /// The subnet of the node's pods.
    pub fn pod_cidr(self) -> String {
        format!("198.18.{}.0/24", self.0)
    }

    /// The zone that the node is labelled with: one zone a node, named a, b, c and so on.
    pub fn zone(self) -> String {
        format!("zone-{}", char::from(b'a' + self.0 - 1))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let number = name.strip_prefix('n').and_then(|number| number.parse().ok());
        Self::new(number.with_context(|| format!("{name} is not the name of a node"))?)
    }
}

/// A network namespace on the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// etcd of Kubernetes, the API server, the controller manager and the scheduler.
    Control,
    /// What a load balancer is elsewhere: the machine's and the clients' way to Services.
    Gateway,
    /// Where tests run client programs.
    Client,
    /// A node with its kubelet, its containerd and its pods.
    Node(NodeId),
}

impl Place {
    /// The name of the network namespace.
    pub fn netns(self) -> String {
        format!("iris-{self}")
    }

    /// The address on the fabric.
    pub fn address(self) -> Ipv4Addr {
        match self {
            Self::Control => Ipv4Addr::new(198, 18, 255, 2),
            Self::Gateway => Ipv4Addr::new(198, 18, 255, 3),
            Self::Client => Ipv4Addr::new(198, 18, 255, 4),
            Self::Node(node) => node.address(),
        }
    }

    /// All source addresses that packets from this place can have.
    pub fn sources(self) -> Vec<String> {
        let own = format!("{}/32", self.address());
        match self {
            Self::Control | Self::Gateway | Self::Client => vec![own],
            Self::Node(node) => vec![own, node.pod_cidr()],
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("control"),
            Self::Gateway => f.write_str("gateway"),
            Self::Client => f.write_str("client"),
            Self::Node(node) => node.fmt(f),
        }
    }
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "control" => Self::Control,
            "gateway" => Self::Gateway,
            "client" => Self::Client,
            _ => Self::Node(name.parse()?),
        })
    }
}

/// What the local cluster consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    nodes: u8,
}

impl Plan {
    /// A cluster of this many nodes.
    pub fn new(nodes: u8) -> Result<Self> {
        let fits = (1..=NODES_MAX).contains(&nodes);
        ensure!(fits, "a local cluster has 1 to {NODES_MAX} nodes, not {nodes}");
        Ok(Self { nodes })
    }

    /// The nodes, in order.
    pub fn nodes(self) -> impl DoubleEndedIterator<Item = NodeId> {
        (1..=self.nodes).map(NodeId)
    }

    /// All places, in order.
    pub fn places(self) -> impl DoubleEndedIterator<Item = Place> {
        let fixed = [Place::Control, Place::Gateway, Place::Client];
        fixed.into_iter().chain(self.nodes().map(Place::Node))
    }

    /// The address of the API server, for every client.
    pub fn api_server() -> String {
        format!("https://{}:6443", Place::Control.address())
    }
}

#[cfg(test)]
mod tests;

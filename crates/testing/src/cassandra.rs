//! A Cassandra of one or several nodes. Needs Java 17 and, the first time on a machine, Maven.

mod node;
mod options;

use std::net::{Ipv4Addr, TcpListener};
use std::num::NonZeroU32;
use std::time::Duration;

use iris_store::StoreError;
use iris_store::cassandra::{
    CassandraConfig, CassandraStore, MigrateOptions, Replication, migrate,
};
use tokio::sync::OnceCell;

use node::Node;

pub use options::{CassandraOptions, CommitLog, Paxos, ServerTls};

/// What a simple snitch calls its only datacenter.
const DATACENTER: &str = "datacenter1";

/// Copies that a keyspace has where there are enough nodes.
const REPLICAS: usize = 3;

/// A running Cassandra. Its nodes end, and their files go, when it is dropped.
#[derive(Debug)]
pub struct Cassandra {
    nodes: Vec<Node>,
    port: u16,
}

static SHARED: OnceCell<Cassandra> = OnceCell::const_new();

impl Cassandra {
    /// The node that the tests of one process share, each with keyspaces of its own.
    pub async fn shared() -> Result<&'static Self, String> {
        SHARED.get_or_try_init(|| Self::start(CassandraOptions::default())).await
    }

    /// Starts nodes with nothing in them, and waits until they answer and know each other.
    pub async fn start(options: CassandraOptions) -> Result<Self, String> {
        let jars = xtask::programs::cassandra().map_err(|error| format!("{error:#}"))?;
        let count = u8::try_from(options.nodes.get()).map_err(|error| error.to_string())?;
        let (port, storage_port) = free_ports(count)?;
        let mut nodes = Vec::new();
        for number in 0..count {
            nodes.push(Node::begin(&options, &jars, number, (port, storage_port))?);
        }
        for node in &mut nodes {
            node.listening().await?;
        }
        Ok(Self { nodes, port })
    }

    /// host:port of its first node.
    pub fn contact_point(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How to reach a keyspace of it.
    pub fn config(&self, keyspace: &str) -> CassandraConfig {
        let point = |node: &Node| format!("{}:{}", node.address(), self.port);
        let points = self.nodes.iter().map(point).collect();
        CassandraConfig::new(points, DATACENTER.to_owned(), keyspace.to_owned())
    }

    /// A store on a keyspace of it, which is created and migrated where it is not.
    pub async fn store(&self, keyspace: &str) -> Result<CassandraStore, StoreError> {
        let config = self.config(keyspace);
        migrate(&config, &self.may_create(), |_| {}).await?;
        CassandraStore::connect(&config).await
    }

    /// Allows a job to create a keyspace, with as many copies as there are nodes for.
    pub fn may_create(&self) -> MigrateOptions {
        let copies = u32::try_from(self.nodes.len().min(REPLICAS)).unwrap_or(1);
        let copies = NonZeroU32::new(copies).unwrap_or(NonZeroU32::MIN);
        let replication = Replication(vec![(DATACENTER.to_owned(), copies)]);
        MigrateOptions { create_keyspace: Some(replication), lock_patience: None }
    }

    /// `kill -9` of a node, counted from 0: nothing is written that was not written.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Starts a node again on what it left on its disk.
    pub async fn restart(&mut self, node: usize) -> Result<(), String> {
        self.nodes[node].restart()?;
        self.nodes[node].listening().await
    }

    /// Stops a node where it is: it keeps its connections and answers nothing.
    pub fn pause(&self, node: usize) -> Result<(), String> {
        self.nodes[node].signal("STOP")
    }

    /// Lets a paused node go on.
    pub fn resume(&self, node: usize) -> Result<(), String> {
        self.nodes[node].signal("CONT")
    }
}

/// How long a start may take: 7 s on an idle machine.
const START_PATIENCE: Duration = Duration::from_secs(180);

/// The address of a node.
fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number + 1)
}

/// A port for clients and one between nodes, that nobody has at any of the addresses.
fn free_ports(nodes: u8) -> Result<(u16, u16), String> {
    // A port that is found is held until the other is known, so that they differ.
    let mut found: Vec<(u16, Vec<TcpListener>)> = Vec::new();
    for _ in 0..100 {
        let first = TcpListener::bind((address(0), 0)).map_err(|error| error.to_string())?;
        let port = first.local_addr().map_err(|error| error.to_string())?.port();
        let others = (1..nodes).map(|number| TcpListener::bind((address(number), port)));
        if let Ok(held) = std::iter::once(Ok(first)).chain(others).collect() {
            found.push((port, held));
        }
        if let [(client, _), (storage, _)] = found.as_slice() {
            return Ok((*client, *storage));
        }
    }
    Err("no free ports for Cassandra".to_owned())
}

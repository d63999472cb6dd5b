//! Owners and edges of a region in one process.

use std::sync::Arc;
use std::time::Duration;

use iris_core::id::SessionId;
use iris_core::seq::HomeGen;
use iris_dataplane::control::ControlPlane;
use iris_dataplane::edge::{Edge, EdgeConfig, EdgeDeps, ListenerKey};
use iris_dataplane::owner::{Owner, OwnerConfig, OwnerDeps};
use iris_dataplane::route::{self, Routes};
use iris_net::TcpListener;
use iris_runtime::admin::Health;
use iris_runtime::metrics::Metrics;
use iris_runtime::task::Tasks;
use iris_runtime::tls::{self, Role};

use super::Region;

/// An owner.
pub struct OwnerPart {
    /// Its pod's name.
    pub pod: String,
    /// What it counts.
    pub metrics: Metrics,
    tasks: Tasks,
    owner: Owner,
}

/// An edge.
pub struct EdgePart {
    /// Its pod's name.
    pub pod: String,
    /// Where clients connect.
    pub address: String,
    /// What it says of itself.
    pub health: Health,
    /// What it counts.
    pub metrics: Metrics,
    tasks: Tasks,
    edge: Edge,
}

impl Region {
    /// Starts an owner.
    pub async fn start_owner(&mut self, pod: &str) -> anyhow::Result<()> {
        self.start_owner_through(self.control_service(), pod).await
    }

    /// Starts an owner that finds the control plane at another address than the others.
    pub async fn start_owner_through(&mut self, control: String, pod: &str) -> anyhow::Result<()> {
        let tasks = Tasks::new();
        let identity = self.pki.identity(Role::Owner, pod)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (metrics, routes) = (Metrics::new(), Arc::new(Routes::new(self.count)));
        let control = Arc::new(ControlPlane::new(identity.clone(), control));
        let follow = route::follow(Self::shared(&control), pod.to_owned(), Self::shared(&routes));
        tasks.spawn("routes", follow);
        let deps = OwnerDeps {
            config: OwnerConfig {
                pod: pod.to_owned(),
                pod_uid: String::new(),
                node: "test".to_owned(),
                zone: "test".to_owned(),
                address: listener.local_addr()?.to_string(),
                lanes: self.shape.lanes,
                shard_count: self.count,
                home_gen: HomeGen(0),
                policy: self.policy(),
                leave_for: Duration::from_secs(25),
                password_memory_kib: 64,
                version: "test".to_owned(),
            },
            store: Self::shared(&self.store),
            coord: Self::shared(&self.coord),
            clock: Self::shared(&self.clock),
            identity,
            control,
            tokens: self.tokens.clone(),
            signing: self.signing.clone(),
            routes,
            metrics: metrics.clone(),
            health: Health::new(),
            listener,
        };
        let owner = Owner::start(deps, &tasks).await?;
        self.owners.push(OwnerPart { pod: pod.to_owned(), metrics, tasks, owner });
        Ok(())
    }

    /// Starts an edge.
    pub async fn start_edge(&mut self, pod: &str) -> anyhow::Result<()> {
        self.start_edge_through(self.control_service(), pod).await
    }

    /// Starts an edge that finds the control plane at another address than the others.
    pub async fn start_edge_through(&mut self, control: String, pod: &str) -> anyhow::Result<()> {
        let tasks = Tasks::new();
        let identity = self.pki.identity(Role::Edge, pod)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let leaf = self.pki.server(&["127.0.0.1", "localhost"])?;
        let key = tls::certified_key(leaf.chain.as_bytes(), leaf.key.as_bytes())?;
        let (metrics, health) = (Metrics::new(), Health::new());
        let routes = Arc::new(Routes::new(self.count));
        let control = Arc::new(ControlPlane::new(identity.clone(), control));
        tasks.spawn("routes", route::follow(control, pod.to_owned(), Self::shared(&routes)));
        let mut config = EdgeConfig::new(pod.to_owned(), self.count);
        config.drain_patience = Duration::from_secs(10);
        config.logins_per_second = 10_000;
        let deps = EdgeDeps {
            config,
            clock: Self::shared(&self.clock),
            identity,
            tokens: self.tokens.clone(),
            routes,
            key: ListenerKey::Fixed(Box::new(key)),
            metrics: metrics.clone(),
            health: health.clone(),
            listener,
        };
        let edge = Edge::start(deps, &tasks)?;
        self.edges.push(EdgePart { pod: pod.to_owned(), address, health, metrics, tasks, edge });
        Ok(())
    }

    /// Waits until every edge is ready.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let problems: Vec<_> =
                self.edges.iter().flat_map(|edge| edge.health.problems()).collect();
            if problems.is_empty() {
                return Ok(());
            }
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "not ready: {problems:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl OwnerPart {
    /// Its session's name.
    pub fn session(&self) -> SessionId {
        self.owner.session()
    }

    /// Ends it without a word, as a kill would: its tasks stop where they are.
    pub async fn kill(&self) {
        self.tasks.stop();
        self.owner.stop().await;
    }

    /// Moves its shards away and ends it.
    pub async fn end(self) {
        self.owner.leave().await;
        self.kill().await;
    }
}

impl EdgePart {
    /// Ends it without a word.
    pub async fn kill(&self) {
        self.tasks.stop();
        self.edge.stop().await;
    }

    /// Lets its clients go and ends it.
    pub async fn end(self) {
        self.edge.drain().await;
        self.kill().await;
    }
}

//! An edge process: made, run, drained, ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use iris_net::TcpListener;
use iris_runtime::admin::Health;
use iris_runtime::clock::SharedClock;
use iris_runtime::metrics::Metrics;
use iris_runtime::task::Tasks;
use iris_runtime::tls::Identity;
use rustls::sign::CertifiedKey;

use super::admission::Admission;
use super::config::EdgeConfig;
use super::conn::Shared;
use super::links::Links;
use super::listener::{self, Certificate};
use super::metrics::EdgeMetrics;
use super::registry::Registry;
use crate::route::Routes;
use crate::token::Tokens;

/// The certificate that clients see.
pub enum ListenerKey {
    /// Files that may change: `tls.crt` and `tls.key` in a directory.
    Directory(PathBuf),
    /// A key that stays.
    Fixed(Box<CertifiedKey>),
}

/// What an edge is given.
pub struct EdgeDeps {
    /// About itself.
    pub config: EdgeConfig,
    /// The clocks.
    pub clock: SharedClock,
    /// The pod's certificate, for owners.
    pub identity: Identity,
    /// Checks tokens.
    pub tokens: Tokens,
    /// Where shards are.
    pub routes: Arc<Routes>,
    /// The certificate that clients see.
    pub key: ListenerKey,
    /// Where metrics go.
    pub metrics: Metrics,
    /// What the admin port says.
    pub health: Health,
    /// Where clients connect.
    pub listener: TcpListener,
}

/// A running edge.
pub struct Edge {
    tasks: Tasks,
    shared: Arc<Shared>,
    accepting: Tasks,
}

impl Edge {
    /// Starts serving clients; it is ready when every shard has an owner that can be reached.
    pub fn start(deps: EdgeDeps, parent: &Tasks) -> anyhow::Result<Self> {
        let tasks = parent.child();
        let metrics = EdgeMetrics::new(&deps.metrics);
        let links = Arc::new(Links::new(
            deps.identity,
            Arc::clone(&deps.routes),
            metrics.clone(),
            deps.config.pod.clone(),
            tasks.clone(),
        ));
        let admission = Arc::new(Admission::new(&deps.config));
        let key = match &deps.key {
            ListenerKey::Directory(directory) => Certificate::load(directory)?,
            ListenerKey::Fixed(key) => CertifiedKey::clone(key),
        };
        let certificate = Certificate::new(key);
        let config = listener::server_config(Arc::clone(&certificate))?;
        if let ListenerKey::Directory(directory) = deps.key {
            tasks.spawn("certificate", certificate.reload(directory));
        }
        let shared = Arc::new(Shared {
            config: deps.config,
            tokens: deps.tokens,
            clock: deps.clock,
            links: Arc::clone(&links),
            metrics,
            registry: Arc::new(Registry::default()),
            tasks: tasks.clone(),
            numbers: AtomicU64::new(1),
        });
        tasks.spawn_critical("links", links.keep_open());
        tasks.spawn_critical("readiness", readiness(Arc::clone(&shared), deps.health));
        let accepting = tasks.child();
        let accepted = listener::accept(deps.listener, config, Arc::clone(&shared), admission);
        accepting.spawn_critical("listener", accepted);
        Ok(Self { tasks, shared, accepting })
    }

    /// Waits until a critical task ended.
    pub async fn ended(&self) {
        tokio::select! {
            () = self.tasks.stopped() => {}
            () = self.accepting.stopped() => {}
        }
    }

    /// Asks the clients to leave, at a pace, while new ones are still served: the Service stops sending
    /// them here as soon as the pod is terminating.
    pub async fn drain(&self) {
        super::drain::drain(&self.shared.config, &self.shared.registry).await;
        self.accepting.stop();
    }

    /// Ends every task.
    pub async fn stop(&self) {
        self.tasks.stop();
        if tokio::time::timeout(Duration::from_secs(2), self.tasks.ended()).await.is_err() {
            tracing::warn!("some tasks did not end");
        }
    }
}

/// Ready means: clients that come here can be served. Once ready, an owner that is away for a moment
/// changes nothing, as every edge would say the same.
async fn readiness(shared: Arc<Shared>, health: Health) {
    loop {
        let served = |shard| shared.links.to_shard(shard).is_some();
        let unserved = shared.config.shard_count.shards().filter(|shard| !served(*shard)).count();
        let heard = shared.links.routes().is_complete();
        match (heard, unserved) {
            (false, _) => health.unwell("routes", "the control plane was not heard yet"),
            (true, 0) => {
                health.well("routes");
                break;
            }
            (true, n) => health.unwell("routes", format!("{n} shards have no reachable owner")),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    std::future::pending().await
}

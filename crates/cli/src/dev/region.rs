//! The parts of a region, put together in one process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iris_controlplane::leader::Deps;
use iris_controlplane::metrics::ControlMetrics;
use iris_controlplane::replica::{Replica, ReplicaConfig};
use iris_coord::SharedCoord;
use iris_coord::memory::MemoryCoord;
use iris_core::group::Sizes;
use iris_core::id::ShardCount;
use iris_core::rate::Rates;
use iris_core::seq::HomeGen;
use iris_core::shard::Policy;
use iris_dataplane::control::ControlPlane;
use iris_dataplane::edge::{Edge, EdgeConfig, EdgeDeps, ListenerKey};
use iris_dataplane::owner::{Owner, OwnerConfig, OwnerDeps};
use iris_dataplane::route::{self, Routes};
use iris_dataplane::token::{SigningKeys, Tokens, VerifyingKeys};
use iris_net::TcpListener;
use iris_runtime::admin::Health;
use iris_runtime::clock::{SharedClock, SystemClock};
use iris_runtime::local_pki::LocalPki;
use iris_runtime::metrics::Metrics;
use iris_runtime::task::Tasks;
use iris_runtime::tls::Role;
use iris_store::SharedStore;
use iris_store::embedded::EmbeddedStore;
use tokio::time::{Instant, sleep};

use crate::failure::Failure;

use super::DevArgs;
use super::files::Files;

/// Everything serves after this long, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
/// For the hash of a password: enough against a thief, and quick to try things with.
const PASSWORD_MEMORY_KIB: u32 = 4096;
const LANES: u8 = 1;
const ISSUER: &str = "iris-dev";

/// What the parts share.
struct Shared {
    pki: LocalPki,
    store: SharedStore,
    coord: SharedCoord,
    clock: SharedClock,
    tokens: Tokens,
    signing: SigningKeys,
    count: ShardCount,
    tasks: Tasks,
}

/// See the module.
pub(super) struct Region {
    address: SocketAddr,
    tasks: Tasks,
    health: Health,
    control: Replica,
    owner: Owner,
    edge: Edge,
}

impl Region {
    pub(super) async fn start(args: &DevArgs, files: &Files) -> Result<Self, Failure> {
        let address = SocketAddr::new(args.listen, args.port);
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Failure::new(format!("cannot listen on {address}: {error}"))
                .hint("another server may be there: --port names another port")
        })?;
        let address = listener.local_addr()?;
        let shared = Shared::new(files).await?;
        let (control, at) = shared.control().await.map_err(broken)?;
        let owner = shared.owner(&at).await.map_err(broken)?;
        let health = Health::new();
        let edge = shared.edge(&at, files, listener, &health).map_err(broken)?;
        Ok(Self { address, tasks: shared.tasks, health, control, owner, edge })
    }

    /// `host:port` for clients of this machine.
    pub(super) fn address(&self) -> String {
        let port = self.address.port();
        if self.address.ip().is_loopback() || self.address.ip().is_unspecified() {
            format!("localhost:{port}")
        } else {
            self.address.to_string()
        }
    }

    /// Waits until clients are served.
    pub(super) async fn ready(&self) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            let problems = self.health.problems();
            if problems.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(Failure::new(format!("the server does not get ready: {problems:?}"))
                    .hint("start it with RUST_LOG=info to see why; --fresh begins anew"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a part ended that should not have.
    pub(super) async fn ended(&self) {
        tokio::select! {
            () = self.edge.ended() => {}
            () = self.control.ended() => {}
            () = self.tasks.stopped() => {}
        }
    }

    /// Ends everything. What was acknowledged is on the disk.
    pub(super) async fn stop(self) {
        self.edge.stop().await;
        self.owner.stop().await;
        self.control.stop().await;
        self.tasks.stop();
    }
}

impl Shared {
    async fn new(files: &Files) -> Result<Self, Failure> {
        let store = EmbeddedStore::open(&files.store()).await.map_err(|error| {
            Failure::new(format!("{}: {error}", files.store().display())).hint(
                "another `iris dev` may use it: --dir names another directory; --fresh begins anew",
            )
        })?;
        let damaged = |error: String| {
            let text = format!("{}: {error}", files.directory().display());
            Failure::new(text).hint("--fresh forgets what is there and begins anew")
        };
        let verifying = VerifyingKeys::from_document(files.read("jwks.json")?.into())
            .map_err(|error| damaged(error.to_string()))?;
        let signing = SigningKeys::from_pem(&files.read("signing.pem")?, &files.facts.kid)
            .map_err(|error| damaged(error.to_string()))?;
        let count =
            ShardCount::new(files.facts.shards).map_err(|error| damaged(error.to_string()))?;
        let pki = LocalPki::new("local", "iris-dev");
        Ok(Self {
            pki: pki.map_err(|error| Failure::new(error.to_string()))?,
            store: Arc::new(store),
            coord: Arc::new(MemoryCoord::new()),
            clock: SystemClock::shared(),
            tokens: Tokens::new(ISSUER.to_owned(), verifying),
            signing,
            count,
            tasks: Tasks::new(),
        })
    }

    async fn control(&self) -> Result<(Replica, String), anyhow::Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let deps = Deps {
            count: self.count,
            home_gen: HomeGen(0),
            expected_owners: 1,
            development: true,
            coord: Arc::clone(&self.coord),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            identity: self.pki.identity(Role::ControlPlane, "control")?,
            metrics: ControlMetrics::new(&Metrics::new()),
        };
        let config = ReplicaConfig { pod: "control".to_owned(), address: address.clone() };
        let replica = Replica::start(config, deps, (listener, &Health::new()), &self.tasks)?;
        Ok((replica, address))
    }

    async fn owner(&self, control: &str) -> Result<Owner, anyhow::Error> {
        let pod = "owner".to_owned();
        let identity = self.pki.identity(Role::Owner, &pod)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let control = Arc::new(ControlPlane::new(identity.clone(), control.to_owned()));
        let deps = OwnerDeps {
            config: OwnerConfig {
                pod: pod.clone(),
                pod_uid: String::new(),
                node: "local".to_owned(),
                zone: "local".to_owned(),
                address: listener.local_addr()?.to_string(),
                lanes: LANES,
                shard_count: self.count,
                home_gen: HomeGen(0),
                policy: Policy { history: true, rates: Rates::default(), groups: Sizes::default() },
                leave_for: Duration::from_secs(25),
                password_memory_kib: PASSWORD_MEMORY_KIB,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            store: Arc::clone(&self.store),
            coord: Arc::clone(&self.coord),
            clock: Arc::clone(&self.clock),
            identity,
            routes: self.routes(Arc::clone(&control), pod),
            control,
            tokens: self.tokens.clone(),
            signing: self.signing.clone(),
            metrics: Metrics::new(),
            health: Health::new(),
            listener,
        };
        Owner::start(deps, &self.tasks).await
    }

    fn edge(
        &self,
        control: &str,
        files: &Files,
        listener: TcpListener,
        health: &Health,
    ) -> Result<Edge, anyhow::Error> {
        let pod = "edge".to_owned();
        let identity = self.pki.identity(Role::Edge, &pod)?;
        let control = Arc::new(ControlPlane::new(identity.clone(), control.to_owned()));
        let deps = EdgeDeps {
            config: EdgeConfig::new(pod.clone(), self.count),
            clock: Arc::clone(&self.clock),
            identity,
            tokens: self.tokens.clone(),
            routes: self.routes(control, pod),
            key: ListenerKey::Directory(files.listener()),
            metrics: Metrics::new(),
            health: health.clone(),
            listener,
        };
        Edge::start(deps, &self.tasks)
    }

    /// Where shards are, as the control plane says.
    fn routes(&self, control: Arc<ControlPlane>, pod: String) -> Arc<Routes> {
        let routes = Arc::new(Routes::new(self.count));
        self.tasks.spawn("routes", route::follow(control, pod, Arc::clone(&routes)));
        routes
    }
}

fn broken(error: anyhow::Error) -> Failure {
    Failure::new(format!("{error:#}")).hint("start it with RUST_LOG=info to see why")
}

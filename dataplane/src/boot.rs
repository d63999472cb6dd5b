//! What both roles need before they can begin: settings, identity, the admin port, tokens, the
//! database, etcd. Everything is tried until it is there, and the admin port says what is missing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use iris_core::id::ShardCount;
use iris_runtime::admin::{self, Health};
use iris_runtime::backoff::Backoff;
use iris_runtime::clock::{SharedClock, SystemClock};
use iris_runtime::config::{self, Settings, ports};
use iris_runtime::identity::{self, Source};
use iris_runtime::metrics::Metrics;
use iris_runtime::task::Tasks;
use iris_runtime::tls::Identity;
use iris_store::cassandra::{AckPolicy, CassandraConfig, CassandraStore};
use iris_store::{SharedStore, StoreError};
use tokio::net::TcpListener;

use crate::control::ControlPlane;
use crate::route::{self, Routes};
use crate::token::{Tokens, VerifyingKeys, reload_verifying};

/// What Kubernetes tells a pod of itself.
#[derive(Debug, Clone, clap::Args)]
pub struct PodArgs {
    /// The mounted settings.
    #[arg(long, env = "IRIS_CONFIG", default_value = config::CONFIG_PATH)]
    pub config: PathBuf,
    /// The pod's name.
    #[arg(long, env = "IRIS_POD_NAME")]
    pub pod_name: String,
    /// The pod's uid.
    #[arg(long, env = "IRIS_POD_UID", default_value = "")]
    pub pod_uid: String,
    /// The pod's address.
    #[arg(long, env = "IRIS_POD_IP", default_value = "127.0.0.1")]
    pub pod_ip: String,
    /// The node that the pod runs on.
    #[arg(long, env = "IRIS_NODE", default_value = "")]
    pub node: String,
    /// The failure domain of the node.
    #[arg(long, env = "IRIS_ZONE", default_value = "")]
    pub zone: String,
}

/// What both roles have once they can begin.
pub struct Booted {
    /// The settings.
    pub settings: Settings,
    /// How many shards the cluster has.
    pub shard_count: ShardCount,
    /// The machine's clocks.
    pub clock: SharedClock,
    /// The pod's certificate.
    pub identity: Identity,
    /// Where metrics go.
    pub metrics: Metrics,
    /// What the admin port says.
    pub health: Health,
    /// Checks tokens.
    pub tokens: Tokens,
    /// The way to the control plane.
    pub control: Arc<ControlPlane>,
    /// Where shards are, as the control plane says.
    pub routes: Arc<Routes>,
    /// The process's tasks.
    pub tasks: Tasks,
}

/// Begins a process: on return the admin port answers and routes are followed.
pub async fn boot(pod: &PodArgs, tasks: &Tasks) -> anyhow::Result<Booted> {
    let settings = Settings::load(&pod.config)?;
    let shard_count = ShardCount::new(settings.shard_count).context("shardCount")?;
    let clock = SystemClock::shared();
    let source = Source {
        issuer: settings.issuer.clone(),
        namespace: settings.namespace.clone(),
        cluster: settings.cluster.clone(),
        trust: config::TRUST_PATH.into(),
        token: config::TOKEN_PATH.into(),
        cache: config::IDENTITY_CACHE.into(),
    };
    let identity = identity::acquire(source, Arc::clone(&clock), tasks).await;
    let (metrics, health) = (Metrics::new(), Health::new());
    let admin_port = listen(ports::ADMIN).await?;
    admin::serve(admin_port, &identity, health.clone(), metrics.clone(), tasks)?;
    let tokens = tokens(&settings, &health, tasks).await;
    let control = ControlPlane::new(identity.clone(), settings.control_plane.clone());
    let control = Arc::new(control);
    let routes = Arc::new(Routes::new(shard_count));
    let follow = route::follow(Arc::clone(&control), pod.pod_name.clone(), Arc::clone(&routes));
    tasks.spawn_critical("follow routes", follow);
    let tasks = tasks.clone();
    Ok(Booted {
        settings,
        shard_count,
        clock,
        identity,
        metrics,
        health,
        tokens,
        control,
        routes,
        tasks,
    })
}

/// Listens on a port of every address.
pub async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind(("0.0.0.0", port)).await.with_context(|| format!("cannot listen on {port}"))
}

async fn tokens(settings: &Settings, health: &Health, tasks: &Tasks) -> Tokens {
    let directory = PathBuf::from(config::JWT_PATH);
    let keys = retry("token keys", health, || {
        let loaded = VerifyingKeys::load(&directory);
        async { loaded }
    })
    .await;
    tasks.spawn_critical("token keys", reload_verifying(directory, keys.clone()));
    Tokens::new(settings.token_issuer.clone(), keys)
}

/// Tries until it works; meanwhile the admin port says why it does not.
pub async fn retry<T, E, F>(check: &'static str, health: &Health, mut attempt: impl FnMut() -> F) -> T
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
    loop {
        match attempt().await {
            Ok(value) => {
                health.well(check);
                return value;
            }
            Err(error) => {
                health.unwell(check, error.to_string());
                backoff.wait().await;
            }
        }
    }
}

/// The database of a region.
pub async fn store(settings: &Settings, health: &Health) -> SharedStore {
    let config = cassandra_config(settings);
    retry("cassandra", health, || async {
        let store = CassandraStore::connect(&config).await?;
        Ok::<SharedStore, StoreError>(Arc::new(store))
    })
    .await
}

/// How to reach the database.
pub fn cassandra_config(settings: &Settings) -> CassandraConfig {
    let cassandra = &settings.cassandra;
    let ack_policy = match settings.ack_policy {
        config::AckPolicy::HomeRegion => AckPolicy::HomeRegion,
        config::AckPolicy::MajorityOfRegions => AckPolicy::MajorityOfRegions,
        config::AckPolicy::AllRegions => AckPolicy::AllRegions,
    };
    CassandraConfig {
        credentials_path: cassandra.credentials_path.clone(),
        tls_path: cassandra.tls_path.clone(),
        ack_policy,
        inbox_days: settings.retention.undelivered_days.max(settings.retention.history_days),
        ..CassandraConfig::new(
            cassandra.contact_points.clone(),
            cassandra.datacenter.clone(),
            cassandra.keyspace.clone(),
        )
    }
}

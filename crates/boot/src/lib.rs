//! What every pod of a region needs before it can begin: settings, identity, the admin port, the
//! database, etcd. Everything is tried until it is there, and the admin port says what is missing.

mod depend;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use iris_core::id::ShardCount;
use iris_net::TcpListener;
use iris_runtime::admin::{self, Health};
use iris_runtime::backoff::Backoff;
use iris_runtime::clock::{SharedClock, SystemClock};
use iris_runtime::config::{self, Settings, ports};
use iris_runtime::identity::{self, Source};
use iris_runtime::metrics::Metrics;
use iris_runtime::task::Tasks;
use iris_runtime::tls::Identity;

pub use depend::{cassandra_config, coord, etcd_config, store};

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
    /// How many cores the pod asked for, rounded up. 0, or none, means all of the machine.
    #[arg(long, env = "IRIS_CORES", default_value_t = 0)]
    pub cores: usize,
}

/// What every pod has once it can begin.
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
    /// The process's tasks.
    pub tasks: Tasks,
}

/// Begins a process: on return it has a certificate, and the admin port answers.
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
    health.unwell("boot", "starting");
    let admin_port = listen(ports::ADMIN).await?;
    admin::serve(admin_port, &identity, health.clone(), metrics.clone(), tasks)?;
    let tasks = tasks.clone();
    Ok(Booted { settings, shard_count, clock, identity, metrics, health, tasks })
}

impl Booted {
    /// Everything that has to be there is there: from now on readiness is what the parts say.
    pub fn done(&self) {
        self.health.well("boot");
    }
}

/// Listens on a port of every address.
pub async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind(("0.0.0.0", port)).await.with_context(|| format!("cannot listen on {port}"))
}

/// Tries until it works; meanwhile the admin port says why it does not.
pub async fn retry<T, E, F>(
    check: &'static str,
    health: &Health,
    mut attempt: impl FnMut() -> F,
) -> T
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

//! The roles, from their arguments to their end.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use iris_boot::{Booted, PodArgs};
use iris_core::group::Sizes;
use iris_core::rate::Rates;
use iris_core::seq::HomeGen;
use iris_core::shard::Policy;
use iris_dataplane::boot;
use iris_dataplane::edge::{Edge, EdgeConfig, EdgeDeps, ListenerKey};
use iris_dataplane::owner::{Owner, OwnerConfig, OwnerDeps};
use iris_dataplane::token::{SigningKeys, reload_signing};
use iris_runtime::config::{self, Profile, Settings, ports};
use iris_runtime::shutdown;
use iris_runtime::task::Tasks;
use iris_store::cassandra::{MigrateOptions, MigrationEvent, Replication, migrate};

/// Memory for each password hash: OWASP's figure for Argon2id with two passes.
const PASSWORD_MEMORY_KIB: u32 = 19 * 1024;
/// More lanes than this make blocks small without making anything faster.
const LANES_MAX: usize = 8;

pub(crate) async fn owner(pod: PodArgs) -> anyhow::Result<()> {
    let tasks = Tasks::new();
    let booted = iris_boot::boot(&pod, &tasks).await?;
    let base = boot::base(&pod, &booted).await;
    let jwt = PathBuf::from(config::JWT_PATH);
    let signing = iris_boot::retry("signing key", &booted.health, || {
        let loaded = SigningKeys::load(&jwt);
        async { loaded }
    })
    .await;
    tasks.spawn_critical("signing key", reload_signing(jwt, signing.clone()));
    let store = iris_boot::store(&booted.settings, &booted.health).await;
    let coord = iris_boot::coord(&booted.settings, &booted.health).await;
    let listener = iris_boot::listen(ports::PEER).await?;
    booted.done();
    let deps = OwnerDeps {
        config: owner_config(&pod, &booted),
        store,
        coord,
        clock: booted.clock,
        identity: booted.identity,
        control: base.control,
        tokens: base.tokens,
        signing,
        routes: base.routes,
        metrics: booted.metrics,
        health: booted.health,
        listener,
    };
    let mut owner = Owner::start(deps, &tasks).await?;
    tokio::select! {
        reason = owner.ended() => {
            // A session that was fenced must not answer anything more: the process ends at once, and a
            // new one begins with a new session.
            bail!("the session ended: {reason}");
        }
        requested = shutdown::requested() => requested?,
    }
    tracing::info!("asked to end; the shards move first");
    owner.leave().await;
    owner.stop().await;
    tasks.stop();
    Ok(())
}

fn owner_config(pod: &PodArgs, booted: &Booted) -> OwnerConfig {
    // A lane for each core that is the pod's own: more would only make blocks smaller.
    let cores = match pod.cores {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        asked => asked,
    };
    OwnerConfig {
        pod: pod.pod_name.clone(),
        pod_uid: pod.pod_uid.clone(),
        node: pod.node.clone(),
        zone: pod.zone.clone(),
        address: format!("{}:{}", pod.pod_ip, ports::PEER),
        lanes: u8::try_from(cores.clamp(1, LANES_MAX)).unwrap_or(1),
        shard_count: booted.shard_count,
        home_gen: HomeGen(0),
        policy: Policy {
            history: booted.settings.retention.history_days > 0,
            rates: Rates::of_devices(booted.settings.limits.sends_per_second),
            groups: Sizes::default(),
        },
        leave_for: Duration::from_secs(booted.settings.leave_seconds.into()),
        password_memory_kib: PASSWORD_MEMORY_KIB,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

pub(crate) async fn edge(pod: PodArgs) -> anyhow::Result<()> {
    let tasks = Tasks::new();
    let booted = iris_boot::boot(&pod, &tasks).await?;
    let base = boot::base(&pod, &booted).await;
    let limits = booted.settings.limits;
    let mut config = EdgeConfig::new(pod.pod_name.clone(), booted.shard_count);
    config.connections_max = usize::try_from(limits.connections_per_edge)?;
    config.handshakes_per_second = limits.handshakes_per_second;
    config.logins_per_second = limits.registrations_per_second;
    config.drain_per_second = booted.settings.drain.connections_per_second;
    config.drain_patience = Duration::from_secs(booted.settings.drain.timeout_seconds.into());
    let listener = iris_boot::listen(ports::CLIENT).await?;
    booted.done();
    let deps = EdgeDeps {
        config,
        clock: booted.clock,
        identity: booted.identity,
        tokens: base.tokens,
        routes: base.routes,
        key: ListenerKey::Directory(config::LISTENER_PATH.into()),
        metrics: booted.metrics,
        health: booted.health,
        listener,
    };
    let edge = Edge::start(deps, &tasks)?;
    tokio::select! {
        () = edge.ended() => bail!("a critical task ended"),
        requested = shutdown::requested() => requested?,
    }
    tracing::info!("asked to end; the clients leave first");
    edge.drain().await;
    edge.stop().await;
    tasks.stop();
    Ok(())
}

/// Arguments of the schema job.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SchemaArgs {
    /// The mounted settings.
    #[arg(long, env = "IRIS_CONFIG", default_value = config::CONFIG_PATH)]
    config: PathBuf,
    /// Copies of each row in the datacenter, when the keyspace has to be created; 3, or 1 in a
    /// cluster for development.
    #[arg(long)]
    replication: Option<NonZeroU32>,
    /// Refuse a missing keyspace instead of creating it.
    #[arg(long)]
    no_create: bool,
}

pub(crate) async fn schema_apply(args: SchemaArgs) -> anyhow::Result<()> {
    let settings = Settings::load(&args.config)?;
    let copies = match settings.profile {
        Profile::Production => NonZeroU32::MIN.saturating_add(2),
        Profile::Development => NonZeroU32::MIN,
    };
    let copies = args.replication.unwrap_or(copies);
    let replication = Replication(vec![(settings.cassandra.datacenter.clone(), copies)]);
    let options = MigrateOptions {
        create_keyspace: (!args.no_create).then_some(replication),
        lock_patience: Some(Duration::from_secs(300)),
    };
    let config = iris_boot::cassandra_config(&settings);
    migrate(&config, &options, |event| match event {
        MigrationEvent::Applying { version, name, statement, statements } => {
            tracing::info!(version, name, statement, statements, "applying");
        }
        event => tracing::info!(?event, "schema"),
    })
    .await?;
    Ok(())
}

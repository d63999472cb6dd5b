//! `iris-controlplane`: a replica of a region's control plane.

use clap::Parser;
use iris_boot::PodArgs;
use iris_controlplane::leader::Deps;
use iris_controlplane::metrics::ControlMetrics;
use iris_controlplane::replica::{Replica, ReplicaConfig};
use iris_core::seq::HomeGen;
use iris_runtime::config::{Profile, ports};
use iris_runtime::shutdown;
use iris_runtime::task::Tasks;
use iris_runtime::telemetry::{self, LogFormat};

/// The control plane of a region of Iris: it decides who should own which shard, and tells edges where
/// shards are.
///
/// One of its replicas leads; the others stand by. Nothing on the message path waits for it.
#[derive(Parser)]
#[command(name = "iris-controlplane", version, about)]
struct Args {
    #[command(flatten)]
    pod: PodArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    telemetry::init(LogFormat::Json);
    run(args.pod).await
}

async fn run(pod: PodArgs) -> anyhow::Result<()> {
    let tasks = Tasks::new();
    let booted = iris_boot::boot(&pod, &tasks).await?;
    let store = iris_boot::store(&booted.settings, &booted.health).await;
    let coord = iris_boot::coord(&booted.settings, &booted.health).await;
    let deps = Deps {
        count: booted.shard_count,
        home_gen: HomeGen(0),
        expected_owners: booted.settings.owners,
        development: booted.settings.profile == Profile::Development,
        coord,
        store,
        clock: booted.clock.clone(),
        identity: booted.identity.clone(),
        metrics: ControlMetrics::new(&booted.metrics),
    };
    let config = ReplicaConfig {
        pod: pod.pod_name.clone(),
        address: format!("{}:{}", pod.pod_ip, ports::CONTROL),
    };
    let listener = iris_boot::listen(ports::CONTROL).await?;
    let replica = Replica::start(config, deps, (listener, &booted.health), &tasks)?;
    booted.done();
    tokio::select! {
        () = replica.ended() => anyhow::bail!("a critical task ended"),
        requested = shutdown::requested() => requested?,
    }
    tracing::info!("asked to end; another replica leads from now on");
    replica.leave().await;
    tasks.stop();
    Ok(())
}

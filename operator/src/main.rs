//! `iris-operator`: the Kubernetes operator of Iris.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum};
use iris_net::TcpListener;
use iris_operator::context::BuiltIn;
use iris_operator::control::Dns;
use iris_operator::hub::Scope;
use iris_operator::leader::Election;
use iris_operator::replica::{Options, Replica};
use iris_runtime::clock::SystemClock;
use iris_runtime::config::ports;
use iris_runtime::task::Tasks;
use iris_runtime::{shutdown, telemetry};

/// The Kubernetes operator of Iris.
///
/// It looks after IrisCluster, IrisRegion, IrisEdgePool, IrisShardMap and IrisShardMigration
/// objects: it makes keys and certificates, brings the database's schema up to date, runs control
/// planes, owners and edges, and drives the moves of shards. Nothing on the way of a message asks it
/// for anything: while it is down, what runs goes on running.
///
/// It reaches the API server as the pod that it runs in, or by KUBECONFIG. Several replicas may run:
/// each issues certificates, and the one that holds the Lease does the rest. It works only when the
/// definitions of the chart iris-crds are installed as it knows them, and waits for them.
///
/// Its admin port serves /livez, /readyz (which says what is missing) and /metrics, over HTTPS.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Args {
    /// The namespace that the operator runs in; its Lease is there.
    #[arg(long, env = "IRIS_POD_NAMESPACE")]
    namespace: String,
    /// The name of the pod that this is.
    #[arg(long, env = "IRIS_POD_NAME")]
    pod_name: String,
    /// Look after this namespace only; all namespaces where it is not given.
    #[arg(long, env = "IRIS_WATCH_NAMESPACE")]
    watch_namespace: Option<String>,
    /// A label of the operator's own pods, which network policies let in.
    #[arg(
        long,
        env = "IRIS_POD_LABEL",
        value_name = "KEY=VALUE",
        default_value = "app.kubernetes.io/name=iris-operator",
        value_parser = label
    )]
    pod_label: (String, String),
    /// Where pods reach the issuer, as they are told.
    #[arg(long, env = "IRIS_ISSUER", value_name = "HOST:PORT")]
    issuer: String,
    /// The image of owners, edges and the schema job, for clusters that name no other.
    #[arg(long, env = "IRIS_DATAPLANE_IMAGE", value_name = "IMAGE")]
    dataplane_image: String,
    /// The image of control planes, for clusters that name no other.
    #[arg(long, env = "IRIS_CONTROLPLANE_IMAGE", value_name = "IMAGE")]
    controlplane_image: String,
    /// The Lease's name.
    #[arg(long, env = "IRIS_LEASE", default_value = "iris-operator")]
    lease: String,
    /// Where health and metrics are served.
    #[arg(long, env = "IRIS_ADMIN_LISTEN", default_value_t = everywhere(ports::ADMIN))]
    admin_listen: SocketAddr,
    /// Where certificates are issued.
    #[arg(long, env = "IRIS_ISSUER_LISTEN", default_value_t = everywhere(ports::ISSUER))]
    issuer_listen: SocketAddr,
    /// How log lines look. Their level is RUST_LOG's, such as `info` or `iris_operator=debug`.
    #[arg(long, env = "IRIS_LOG_FORMAT", default_value = "json")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For machines: one object a line.
    Json,
    /// For people.
    Text,
}

fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is written key=value".to_owned()),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    telemetry::init(match args.log_format {
        LogFormat::Json => telemetry::LogFormat::Json,
        LogFormat::Text => telemetry::LogFormat::Text,
    });
    // The client of the API server takes the process's; everything of Iris names its own.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("there was a cryptographic provider before");
    }
    let tasks = Tasks::new();
    let replica = Replica::start(options(args).await?, &tasks)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "started");
    let requested = tokio::select! {
        () = tasks.stopped() => None,
        requested = shutdown::requested() => Some(requested),
    };
    replica.stop(&tasks).await;
    match requested {
        Some(requested) => Ok(requested?),
        None => bail!("a critical task ended; see the log"),
    }
}

async fn options(args: Args) -> anyhow::Result<Options> {
    let api_server = kube::Config::infer().await.context(
        "no way to an API server: run this in a pod with a service account, or set KUBECONFIG",
    )?;
    let listen = async |address: SocketAddr| {
        let listener = TcpListener::bind(address).await;
        listener.with_context(|| format!("cannot listen on {address}"))
    };
    let mut election = Election::new(&args.namespace, &args.pod_name);
    election.name = args.lease;
    Ok(Options {
        api_server,
        admin: listen(args.admin_listen).await?,
        issuer: listen(args.issuer_listen).await?,
        pod: args.pod_name,
        election,
        scope: args.watch_namespace.map_or(Scope::All, Scope::Namespace),
        built_in: BuiltIn {
            namespace: args.namespace,
            pod_label: args.pod_label,
            issuer: args.issuer,
            dataplane: args.dataplane_image,
            control_plane: args.controlplane_image,
        },
        directory: Arc::new(Dns),
        clock: SystemClock::shared(),
    })
}

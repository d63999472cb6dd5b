//! `iris-dataplane`: an owner or an edge, or the job that brings the schema up to date.

mod run;

use clap::{Parser, Subcommand};
use iris_boot::PodArgs;
use iris_runtime::telemetry::{self, LogFormat};

/// The data plane of Iris.
#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Serves shards.
    Owner(PodArgs),
    /// Serves clients.
    Edge(PodArgs),
    /// The schema of the database.
    Schema {
        #[command(subcommand)]
        action: SchemaAction,
    },
}

#[derive(Subcommand)]
enum SchemaAction {
    /// Brings the keyspace up to date. Only ever adds; safe to repeat and to run twice at once.
    Apply(run::SchemaArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    telemetry::init(LogFormat::Json);
    match args.role {
        Role::Owner(pod) => run::owner(pod).await,
        Role::Edge(pod) => run::edge(pod).await,
        Role::Schema { action: SchemaAction::Apply(args) } => run::schema_apply(args).await,
    }
}

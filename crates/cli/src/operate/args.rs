//! What people may type after `kubectl iris`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};

use crate::args::Completion;
use crate::duration;

/// The longest time in which a move can be reversed.
const SOAK_MAX: Duration = Duration::from_secs(86_400);

const EXAMPLES: &str = "\
Examples:
  kubectl iris status                                   what runs, and in plain words what is wrong
  kubectl iris migrate 17 --to eu-owner-2 --wait   move one shard, live
  kubectl iris migrate --all --wait --parallel 4        move every shard once
  kubectl iris abort m-17-e4-1

Every order is an object: `kubectl get irm` shows all moves, `kubectl describe irm NAME` one of them.";

/// Operate Iris: what runs, what is wrong, and moves of shards.
#[derive(Parser, Debug)]
#[command(
    name = "kubectl-iris",
    bin_name = "kubectl iris",
    version,
    after_help = EXAMPLES,
    disable_help_subcommand = true
)]
pub struct KubectlIris {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Args, Debug, Clone, Default)]
pub struct Global {
    /// The namespace [default: the context's; status looks everywhere]
    #[arg(short, long, global = true, help_heading = "Kubernetes")]
    pub namespace: Option<String>,
    /// The context of the kubeconfig
    #[arg(long, global = true, help_heading = "Kubernetes")]
    pub context: Option<String>,
    /// The kubeconfig
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help_heading = "Kubernetes"
    )]
    pub kubeconfig: Option<PathBuf>,
    /// One JSON object
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Clusters, regions, owners, edges and moves; and in plain words what is wrong
    #[command(after_help = "\
Examples:
  kubectl iris status
  kubectl iris status --shards                 every shard with its owner
  kubectl iris status --json | jq .problems    exit status 1 while there are any, with --check")]
    Status(Status),
    /// Move a shard to another owner, or every shard once
    #[command(after_help = "\
Examples:
  kubectl iris migrate 17 --to eu-owner-2
  kubectl iris migrate 17 --to eu-owner-2 --wait --timeout 2m
  kubectl iris migrate --all --dry-run                     what would be moved where
  kubectl iris migrate --all --wait --parallel 8 --json
  kubectl iris migrate --all --to eu-owner-0 --wait   everything to one owner

Acknowledged messages are never lost by a move; writes to the shard pause for milliseconds.")]
    Migrate(Migrate),
    /// Stop a move that has not gone too far: the shard stays where it is
    #[command(after_help = "\
Examples:
  kubectl iris abort m-17-e4-1
  kubectl iris abort 17           the move of shard 17 that is under way")]
    Abort(OneMove),
    /// Let the plan run that a move waits with
    #[command(after_help = "\
Examples:
  kubectl iris migrate 17 --to eu-owner-2 --manual --soak 10m
  kubectl describe irm m-17-e4-1                        what would move, and condition Planned
  kubectl iris approve m-17-e4-1                   the plan that is there now, and no other
  kubectl iris approve m-17-e4-1 --plan b3:...     that plan, or nothing")]
    Approve(Approve),
    /// Move a shard back, while its move soaks
    #[command(after_help = "\
Examples:
  kubectl iris reverse m-17-e4-1
  kubectl iris reverse 17         the move of shard 17 that is under way")]
    Reverse(OneMove),
    /// Let a move take no further step
    #[command(after_help = "\
Examples:
  kubectl iris pause m-17-e4-1    a hand-off that has begun ends by itself, in milliseconds
  kubectl iris pause 17           the move of shard 17 that is under way")]
    Pause(OneMove),
    /// Let a paused move go on
    #[command(after_help = "\
Examples:
  kubectl iris resume m-17-e4-1
  kubectl iris resume 17")]
    Resume(OneMove),
    /// A script that completes commands in a shell
    Completion(Completion),
}

/// `kubectl iris status`.
#[derive(Args, Debug)]
pub struct Status {
    /// Every shard with its owner and epoch
    #[arg(long)]
    pub shards: bool,
    /// Exit with status 1 while anything is wrong
    #[arg(long)]
    pub check: bool,
}

/// `kubectl iris migrate`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["shard", "all"]))]
pub struct Migrate {
    /// The shard
    #[arg(requires = "to")]
    pub shard: Option<u32>,
    /// Every shard, once, each to another owner than it has
    #[arg(long)]
    pub all: bool,
    /// The owner (a pod) that shall serve it
    #[arg(long, value_name = "OWNER")]
    pub to: Option<String>,
    /// The region, where there are several
    #[arg(long)]
    pub region: Option<String>,
    /// Wait until every move has ended
    #[arg(long)]
    pub wait: bool,
    /// For how long at most to wait
    #[arg(long, default_value = "10m", value_parser = duration::parse)]
    pub timeout: Duration,
    /// With --wait: moves under way at the same time
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub parallel: u16,
    /// With --wait: order a move again so often when its shard could not be emptied in time and serves on
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub retries: u8,
    /// Make the plan only: it runs once somebody says `kubectl iris approve`
    #[arg(long, conflicts_with = "wait")]
    pub manual: bool,
    /// For so long `kubectl iris reverse` moves the shard back, at most a day
    #[arg(long, value_name = "TIME", value_parser = soak)]
    pub soak: Option<Duration>,
    /// Say what would be moved, and move nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A move that was ordered.
#[derive(Args, Debug)]
pub struct OneMove {
    /// The move, or the shard whose move it is
    #[arg(value_name = "MOVE")]
    pub name: String,
}

/// `kubectl iris approve`.
#[derive(Args, Debug)]
pub struct Approve {
    /// Which move.
    #[command(flatten)]
    pub of: OneMove,
    /// Only if its plan is this one
    #[arg(long, value_name = "HASH")]
    pub plan: Option<String>,
}

fn soak(text: &str) -> Result<Duration, String> {
    let soak = duration::parse(text)?;
    if soak > SOAK_MAX { Err("a day at most".to_owned()) } else { Ok(soak) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn migrate(line: &str) -> Result<Migrate, clap::Error> {
        let words = ["kubectl-iris", "migrate"].into_iter().chain(line.split_whitespace());
        match KubectlIris::try_parse_from(words)?.command {
            Command::Migrate(migrate) => Ok(migrate),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_arguments_are_sound() {
        KubectlIris::command().debug_assert();
    }

    #[test]
    fn a_move_names_a_shard_and_an_owner_or_all() {
        let one = migrate("17 --to owner-2 --wait --timeout 2m").unwrap();
        assert_eq!((one.shard, one.to.as_deref(), one.wait), (Some(17), Some("owner-2"), true));
        assert_eq!(one.timeout, Duration::from_secs(120));
        let all = migrate("--all --parallel 8 --dry-run").unwrap();
        assert!(all.all && all.dry_run && all.shard.is_none());
        assert!(migrate("--all --to owner-1").is_ok());
        let slow = migrate("17 --to owner-2 --manual --soak 10m").unwrap();
        assert!(slow.manual && slow.soak == Some(Duration::from_secs(600)));
        assert!(migrate("17 --to owner-2 --soak 25h").is_err(), "a day at most");
        for bad in [
            "17 --to x --manual --wait",
            "",
            "17",
            "17 --all --to x",
            "--to x",
            "--all --parallel 0",
            "x --to y",
        ] {
            assert!(migrate(bad).is_err(), "{bad}");
        }
    }
}

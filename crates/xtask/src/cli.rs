//! The command line: what each command takes, and what it prints.
//!
//! Never does any work itself.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where the tool answers")]

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};

use crate::{
    cluster::{Cluster, Link, NodeId, Place},
    cmd::Cmd,
    cql::Session,
    down, programs,
    progress::Progress,
    selftest, status, test, tidy, up,
};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Looks after the development cluster and tests the repository"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the development cluster up, or what of it is not up
    Up(Up),
    /// Take the development cluster down, also after a crash or half an `up`
    Down {
        /// Remove the caches too
        #[arg(long)]
        purge: bool,
    },
    /// Run kubectl against the cluster
    #[command(disable_help_flag = true)]
    Kubectl(Rest),
    /// Run Helm against the cluster
    #[command(disable_help_flag = true)]
    Helm(Rest),
    /// Run iris, the client, against the cluster: its edges, their authority, accounts kept with it
    #[command(disable_help_flag = true)]
    Iris(Rest),
    /// Check everything: format, lints, layers, all tests, and Iris on the local cluster
    #[command(after_help = test::HELP)]
    Test(test::Options),
    /// Check the layers, the files and the words of the repository
    Tidy,
    /// Measure the running cluster, and write docs/benchmarks.md
    #[command(disable_help_flag = true)]
    Bench(Rest),
    /// Run the core in thousands of simulated worlds and hold what happens to every invariant
    #[command(disable_help_flag = true)]
    Sim(Rest),
    /// Break the running cluster in every way, under traffic, and check that it heals
    #[command(disable_help_flag = true)]
    Chaos(Rest),
    /// Take the running cluster back to another version and forward again, under traffic
    #[command(disable_help_flag = true)]
    Upgrade(Rest),
    /// Show nodes, pods, what each uses of the machine, and where the logs are
    Status,
    /// Build the image of one of Iris's programs and bring it into the cluster
    Image {
        /// operator, controlplane, dataplane or cli
        target: String,
        /// Take this executable instead of what cargo compiles
        #[arg(long, value_name = "FILE")]
        binary: Option<PathBuf>,
    },
    /// Look after a local cluster by hand, as tests do
    #[command(subcommand, hide = true)]
    Cluster(Inside),
}

#[derive(Debug, Args)]
struct Up {
    /// How many nodes a local cluster has
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// How many members Iris's own etcd has
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    etcd_members: u8,
    /// Into how many shards accounts are divided: a power of two, for ever [default: the manifest's]
    #[arg(long, value_name = "N", value_parser = shard_count)]
    shards: Option<u32>,
    /// Use the existing cluster of this context instead
    #[arg(long, value_name = "NAME", requires = "registry")]
    context: Option<String>,
    /// The registry that the existing cluster gets its images from
    #[arg(long, value_name = "HOST/PATH", requires = "context")]
    registry: Option<String>,
    /// Leave out the conversation that shows the result
    #[arg(long)]
    skip_demo: bool,
    /// Only a local Kubernetes with nothing in it, to install Iris there by hand or by --context;
    /// takes nothing away from a cluster that is up
    #[arg(long, conflicts_with = "context")]
    bare: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Rest {
    /// Passed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
enum Inside {
    /// Check everything that tests rely on, on the running cluster
    Selftest {
        /// Then take the cluster down and check that nothing is left
        #[arg(long)]
        down: bool,
    },
    /// Pull a node's cable out or plug it in
    Link {
        /// The node, n1 and so on
        node: NodeId,
        /// Pull it out instead of plugging it in
        #[arg(long)]
        down: bool,
    },
    /// End every fault
    Heal,
    /// Run a command in the network namespace of a place: control, gateway, client, n1 and so on
    Enter {
        /// The place
        place: Place,
        /// The command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        args: Vec<OsString>,
    },
    /// Run one CQL statement; the password comes on standard input
    Cql {
        /// Where Cassandra is
        address: SocketAddr,
        /// The role
        user: String,
        /// The statement
        statement: String,
    },
    /// Say what of a cluster is on this machine; fails if anything is
    Leftovers,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<u8> {
    match command {
        Command::Up(args) => bring_up(args)?,
        Command::Down { purge } => down::run(purge)?,
        Command::Kubectl(rest) => {
            // `kubectl iris` is a program of ours that kubectl looks for in the path.
            let plugins = programs::own("kubectl-iris")?;
            let plugins = plugins.parent().context("a program without a directory")?;
            let path = std::env::var_os("PATH").unwrap_or_default();
            let path = std::env::join_paths(
                std::iter::once(plugins.to_owned()).chain(std::env::split_paths(&path)),
            )?;
            let command = Cluster::load()?.kubectl_command().env("PATH", path);
            return command.args(rest.args).interactive();
        }
        Command::Helm(rest) => {
            return Cluster::load()?.helm_command().args(rest.args).interactive();
        }
        Command::Iris(rest) => {
            let cluster = Cluster::load()?;
            let program = programs::own("iris")?;
            let command = Cmd::new(program).args(rest.args);
            let environment = cluster.client_environment()?;
            let command =
                environment.into_iter().fold(command, |c, (key, value)| c.env(key, value));
            return command.interactive();
        }
        Command::Test(options) => test::run(&options, &Progress::new())?,
        Command::Bench(rest) => return run_program("iris-bench", rest),
        Command::Sim(rest) => return run_simulator(rest),
        Command::Chaos(rest) => return run_program("chaos", rest),
        Command::Upgrade(rest) => return run_program("upgrade", rest),
        Command::Tidy => tidy::run(&Progress::new())?,
        Command::Status => print!("{}", status::report(&Cluster::load()?)?),
        Command::Image { target, binary } => println!("{}", up::image(&target, binary)?),
        Command::Cluster(inside) => return look_after(inside),
    }
    Ok(0)
}

/// Runs a program of the repository that is no part of what it builds. It is built with the libraries
/// that the tests have: its package alone would choose other features, and compile them again.
fn run_program(name: &str, rest: Rest) -> Result<u8> {
    let repository = crate::env::Env::open()?.repo;
    let packages = ["--workspace", "--exclude", test::SIMULATOR];
    let build = Cmd::new("cargo").args(["build", "--release", "--bin", name]).args(packages);
    let code = build.dir(&repository).interactive()?;
    if code != 0 {
        return Ok(code);
    }
    let program = repository.join("target/release").join(name);
    Cmd::new(program).args(rest.args).dir(repository).interactive()
}

fn shard_count(text: &str) -> Result<u32, String> {
    let count = text.parse().map_err(|_| format!("not a number: {text:?}"))?;
    let fits = (1..=65_536).contains(&count) && u32::is_power_of_two(count);
    fits.then_some(count).ok_or_else(|| "a power of two, at most 65536".to_owned())
}

/// The simulator's core has the defects that it must find, and nothing else may have them; the shells
/// have them if one is asked for.
fn run_simulator(rest: Rest) -> Result<u8> {
    let repository = crate::env::Env::open()?.repo;
    let shells = rest.args.first().is_some_and(|first| first == "shells");
    if shells && !rest.args.iter().any(|word| word.to_string_lossy().starts_with("--defect")) {
        return run_program("iris-shells", Rest { args: rest.args.into_iter().skip(1).collect() });
    }
    let run = Cmd::new("cargo").args(["run", "--quiet", "--release"]);
    let run = match shells {
        true => run.args(["-p", "iris-shells", "--features", "mutations", "--"]),
        false => run.args(["-p", test::SIMULATOR, "--"]),
    };
    run.args(rest.args.iter().skip(usize::from(shells))).dir(repository).interactive()
}

fn bring_up(args: Up) -> Result<()> {
    let options = up::Options {
        nodes: args.nodes,
        etcd_members: args.etcd_members,
        shards: args.shards,
        existing: args.context.zip(args.registry),
        extent: match (args.bare, args.skip_demo) {
            (true, _) => up::Extent::Bare,
            (false, true) => up::Extent::Iris,
            (false, false) => up::Extent::Demo,
        },
    };
    let extent = options.extent;
    let progress = Progress::new();
    let summary = up::run(options, &progress)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        progress.say(&format!("up in {:.1} s", summary.seconds));
        if let Some(demo) = summary.demo {
            println!("\n{demo}");
        }
        println!("It stays up. Next:");
        if extent == up::Extent::Bare {
            println!("  export KUBECONFIG={}", summary.kubeconfig.display());
            println!("  cargo xtask kubectl get nodes");
            println!("  cargo xtask down                     take it down");
            return Ok(());
        }
        println!("  cargo xtask iris register NAME       a person; then send, listen, chat, soak");
        println!("  cargo xtask kubectl iris status      Iris in plain words");
        println!("  cargo xtask kubectl -n iris get iris,irr,irsm,irep,irm");
        println!("  cargo xtask status                   what runs, and where its logs are");
        println!("  cargo xtask down                     take it down");
    }
    Ok(())
}

fn look_after(inside: Inside) -> Result<u8> {
    match inside {
        Inside::Selftest { down } => selftest::run(down, &Progress::new())?,
        Inside::Link { node, down } => {
            let link = if down { Link::Down } else { Link::Up };
            Cluster::load()?.node_link(node, link)?;
        }
        Inside::Heal => Cluster::load()?.heal_all()?,
        Inside::Enter { place, args } => {
            let prefix = Cluster::load()?.enter(place);
            return Cmd::new("env").args(prefix).args(args).interactive();
        }
        Inside::Cql { address, user, statement } => {
            let password = std::io::read_to_string(std::io::stdin())?;
            let mut session = Session::open(address, &user, password.trim_end())?;
            for row in session.query(&statement)? {
                let columns = row.iter().map(|value| value.as_deref().unwrap_or_default());
                let columns: Vec<_> =
                    columns.map(|value| value.escape_ascii().to_string()).collect();
                println!("{}", columns.join(" "));
            }
        }
        Inside::Leftovers => {
            let left = crate::cluster::teardown::leftovers(&crate::env::Env::open()?)?;
            for what in &left {
                println!("{what}");
            }
            return Ok(u8::from(!left.is_empty()));
        }
    }
    Ok(0)
}

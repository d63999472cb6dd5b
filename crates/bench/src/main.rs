//! Measures the running development cluster, and writes what it measured as a page in `docs`: no
//! figure is there that the run which wrote the page did not measure.
//!
//! Never a judgement: the machine is shared and small, and the page says so.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where the tool answers")]
#![allow(clippy::disallowed_types, reason = "the cluster's time is real")]

mod endurance;
mod failover;
mod group;
mod idle;
mod machine;
mod messages;
mod overload;
mod owners;
mod traffic;
mod trend;

use std::{fs, path::PathBuf, process::ExitCode, thread, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum, ValueHint};
use xtask::cluster::Cluster;

const HELP: &str = "\
Without --only it measures messages, one and idle. The others take long, or want a cluster of their own.

Examples:
  cargo xtask bench
  cargo xtask bench --only messages --rates 500,2000
  cargo xtask up --shards 2048 --skip-demo
  cargo xtask bench --only failover --kills 30 --page docs/benchmarks/failover.md";

/// The page of those that are measured when nothing is chosen.
const PAGE: &str = "docs/benchmarks.md";
/// Messages a second to a group that is measured.
const GROUP_RATE: u32 = 10;
/// Messages a second while owners die.
const FAILOVER_RATE: u32 = 1000;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Latency, log rows and syncs at several rates
    Messages,
    /// The same with one owner and one edge
    One,
    /// Memory of the edges for each idle connection
    Idle,
    /// Deaths of an owner with many shards
    Failover,
    /// A group of as many members as there may be
    Group,
    /// Memory over half an hour with slow readers, deaths and moves
    Endurance,
    /// Many times as much as the cluster can do
    Overload,
}

impl Part {
    /// Those that make the page when nothing is chosen: the others take long, or want a cluster of their
    /// own.
    const USUAL: [Self; 3] = [Self::Messages, Self::One, Self::Idle];
}

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask bench",
    bin_name = "cargo xtask bench",
    about = "Measures the running cluster of `cargo xtask up`, and writes docs/benchmarks.md",
    after_help = HELP
)]
struct Args {
    /// Only this part; it is printed, unless a page is named
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<Part>,
    /// Messages a second, one run for each
    #[arg(long, value_delimiter = ',', default_value = "200,500,2000,5000", value_name = "N,...")]
    rates: Vec<u32>,
    /// How long each run of messages takes, in seconds
    #[arg(long, default_value_t = 20, value_name = "N")]
    seconds: u32,
    /// How many connections are idle; even
    #[arg(long, default_value_t = 4_000, value_name = "N")]
    connections: u32,
    /// How many owners die, of `failover`
    #[arg(long, default_value_t = 30, value_name = "N")]
    kills: u32,
    /// Members of the group, of `group`
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    members: u32,
    /// Those of them that are there
    #[arg(long, default_value_t = 200, value_name = "N")]
    online: u32,
    /// How long `endurance` takes
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u32).range(10..))]
    minutes: u32,
    /// How many times as much as the peak `overload` asks for
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    times: u32,
    /// Where the page is written [default: docs/benchmarks.md, unless there is --only]
    #[arg(long, value_hint = ValueHint::FilePath)]
    page: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let cluster = Cluster::load()?;
    let mut page = machine::heading()?;
    let parts = args.only.map_or_else(|| Part::USUAL.to_vec(), |only| vec![only]);
    for part in parts {
        page.push_str(&measure(&cluster, part, args)?);
    }
    let usual = args.only.is_none().then(|| PathBuf::from(PAGE));
    let Some(file) = args.page.clone().or(usual) else {
        print!("{page}");
        return Ok(());
    };
    fs::write(&file, &page).with_context(|| format!("cannot write {file:?}"))?;
    eprintln!("written: {}", file.display());
    Ok(())
}

fn measure(cluster: &Cluster, part: Part, args: &Args) -> Result<String> {
    match part {
        Part::Messages => messages::section(cluster, &args.rates, args.seconds),
        Part::One => messages::one_of_each(cluster, &args.rates, args.seconds),
        Part::Idle => idle::section(cluster, args.connections / 2),
        Part::Failover => failover::section(cluster, args.kills, FAILOVER_RATE),
        Part::Group => group::section(cluster, args.members, args.online, GROUP_RATE),
        Part::Endurance => endurance::section(cluster, args.minutes),
        Part::Overload => overload::section(cluster, args.times),
    }
}

fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "nothing else runs in this thread")]
    thread::sleep(time);
}

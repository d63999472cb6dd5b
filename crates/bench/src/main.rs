//! Measures the running development cluster, and writes what it measured as a page in `docs`: no
//! figure is there that the run which wrote the page did not measure.
//!
//! Never a judgement: the machine is shared and small, and the page says so.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where the tool answers")]

mod idle;
mod machine;
mod messages;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum, ValueHint};
use xtask::cluster::Cluster;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Latency, log rows and syncs at several rates
    Messages,
    /// The same with one owner and one edge
    One,
    /// Memory of the edges for each idle connection
    Idle,
}

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask bench",
    bin_name = "cargo xtask bench",
    about = "Measures the running cluster of `cargo xtask up`, and writes docs/benchmarks.md",
    after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench --only messages --rates 500,2000"
)]
struct Args {
    /// Only this part; it is printed, and the page stays as it is
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
    /// Where the page is written
    #[arg(long, default_value = "docs/benchmarks.md", value_hint = ValueHint::FilePath)]
    page: PathBuf,
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
    let wanted = |part| args.only.is_none_or(|only| only == part);
    if wanted(Part::Messages) {
        page.push_str(&messages::section(&cluster, &args.rates, args.seconds)?);
    }
    if wanted(Part::One) {
        page.push_str(&messages::one_of_each(&cluster, &args.rates, args.seconds)?);
    }
    if wanted(Part::Idle) {
        page.push_str(&idle::section(&cluster, args.connections / 2)?);
    }
    if args.only.is_some() {
        print!("{page}");
        return Ok(());
    }
    fs::write(&args.page, &page).with_context(|| format!("cannot write {:?}", args.page))?;
    eprintln!("written: {}", args.page.display());
    Ok(())
}

//! `cargo xtask sim`: many seeds, one plan again, or the known defects.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where the tool answers")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod command;

/// Runs Iris's core in a simulated world and holds what happened to every invariant
#[derive(Debug, Parser)]
#[command(name = "cargo xtask sim", bin_name = "cargo xtask sim", after_help = HELP)]
struct Sim {
    #[command(flatten)]
    seeds: command::Seeds,
    #[command(subcommand)]
    command: Option<Command>,
}

const HELP: &str = "\
Examples:
  cargo xtask sim --seeds 1000          a thousand worlds; what went wrong, made small, or a summary
  cargo xtask sim --seeds 100000 --keep sum.json   many; interrupted, it goes on there the next time
  cargo xtask sim --seed 4711           one of them, with what happened in it
  cargo xtask sim replay FILE           a plan that was kept
  cargo xtask sim defects               known defects of the protocol: each must be found
  cargo xtask sim planted               histories with violations: each must be found
  cargo xtask sim shells --seeds 200    worlds of the shells that ship; `--help` there says more";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a plan that was kept, and say what is wrong
    Replay {
        /// The plan, as JSON
        #[arg(value_name = "FILE")]
        plan: PathBuf,
        /// Write what happened to this file, one JSON object a line
        #[arg(long, value_name = "FILE")]
        history: Option<PathBuf>,
    },
    /// Switch each known defect on, and see after how many seeds it is found
    Defects {
        /// Give up on a defect after so many seeds
        #[arg(long, default_value_t = 2_000, value_name = "N")]
        seeds: u64,
        /// Only this one, for instance M3
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
    /// Hold histories with planted violations to the checkers
    Planted,
}

fn main() -> ExitCode {
    let sim = Sim::parse();
    let done = match sim.command {
        None => command::seeds(&sim.seeds),
        Some(Command::Replay { plan, history }) => command::replay(&plan, history.as_deref()),
        Some(Command::Defects { seeds, only }) => command::defects(seeds, only.as_deref()),
        Some(Command::Planted) => command::planted(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

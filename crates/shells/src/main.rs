//! `cargo xtask sim shells`: worlds of the shells that ship.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where the tool answers")]

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use iris_shells::{SEEDS_FOR_EVERYTHING, over_seeds};
use tracing::level_filters::LevelFilter;

const HELP: &str = "\
Examples:
  cargo xtask sim shells --seeds 200
  cargo xtask sim shells --seed 7 --log info
  cargo xtask sim shells --defect M1    with a known defect switched on: succeeds if it is found";

/// Runs the shells that ship on simulated hosts and a simulated network, and breaks everything
#[derive(Debug, Parser)]
#[command(name = "cargo xtask sim shells", bin_name = "cargo xtask sim shells", after_help = HELP)]
struct Options {
    /// How many seeds
    #[arg(long, default_value_t = 200, value_name = "N")]
    seeds: u64,
    /// The first one
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    from: u64,
    /// Only this one
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Show what its hosts say at this level (error, warn, info, debug) and above
    #[arg(long, value_name = "LEVEL", requires = "seed", default_value = "off")]
    log: LevelFilter,
    /// With this known defect switched on
    #[cfg(feature = "mutations")]
    #[arg(long, value_name = "NAME", value_parser = defect)]
    defect: Option<iris_core::mutation::Mutation>,
}

#[cfg(feature = "mutations")]
fn defect(name: &str) -> Result<iris_core::mutation::Mutation, String> {
    let mut all = iris_core::mutation::Mutation::ALL.into_iter();
    let found = all.find(|one| one.to_string().eq_ignore_ascii_case(name));
    found.ok_or_else(|| "`cargo xtask sim defects` lists them".to_owned())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says what was wrong and what happened. Answers whether nothing was; with a defect, whether it was found.
fn run(options: &Options) -> Result<bool> {
    let (from, count) = options.seed.map_or((options.from, options.seeds), |seed| (seed, 1));
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} worlds, {elapsed} {msg}")?;
    let bar = ProgressBar::new(count).with_style(style);
    let (mut accepted, mut simulated, mut failed) = (0, 0.0, 0);
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    let begin = || {
        #[cfg(feature = "mutations")]
        iris_core::mutation::activate(options.defect);
    };
    let seeds = (from..from.saturating_add(count), options.log);
    over_seeds(seeds, begin, &mut |seed, outcome| {
        let outcome = outcome?;
        bar.inc(1);
        simulated += outcome.simulated.as_secs_f64();
        if let Some(wrong) = outcome.wrong() {
            failed += 1;
            bar.suspend(|| println!("seed {seed}: {wrong}"));
        }
        accepted += outcome.ledger.map_or(0, |report| report.accepted);
        for (fault, count) in outcome.faults {
            *faults.entry(fault).or_default() += count;
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    println!(
        "{count} worlds, {failed} failed; {simulated:.0} s simulated; {accepted} messages accepted"
    );
    for (fault, count) in &faults {
        println!("  {count:>8}  {fault}");
    }
    let quiet = count >= SEEDS_FOR_EVERYTHING && faults.values().any(|count| *count == 0);
    if quiet {
        println!("too quiet: what has a 0 there must happen in so many worlds");
    }
    #[cfg(feature = "mutations")]
    if options.defect.is_some() {
        return Ok(failed > 0);
    }
    Ok(failed == 0 && !quiet)
}

//! `cargo xtask chaos`: runs cells of the fault matrix on the local cluster.
//!
//! Never decides anything: what there is and what passes is the library's.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where the tool answers")]
#![allow(clippy::disallowed_types, reason = "the cluster's time is real")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Parser, ValueHint};
use iris_e2e::chaos::catalogue::{FAULTS, LEFT_OUT, SHORT};
use iris_e2e::chaos::scene::{Interrupted, Scene};
use iris_e2e::chaos::select::{self, Cell};
use iris_e2e::chaos::verdict::Outcome;
use iris_e2e::chaos::{cell, page, table};
use iris_e2e::interrupt;
use serde_json::json;
use xtask::cluster::Cluster;

/// Where everything goes, in the repository.
const DIR: &str = "target/chaos";
/// What shells expect of a program that an interrupt ended.
const INTERRUPTED: u8 = 130;

const HELP: &str = "\
A cell is NAME (the fault alone), NAME+move (crossed with moves of all shards of the hurt owner), or NAME+ \
for both. A fault is ended whatever happens, also when you interrupt; after kill -9 of this command, --heal \
ends it, and so does the next run.

Examples:
  cargo xtask chaos --list
  cargo xtask chaos --only kill-owner,partition-drop+move
  cargo xtask chaos --all                        about an hour; target/chaos/report.html as it goes
  cargo xtask chaos --only loss-30+ --json | jq '.cells[] | {cell, passed, failures}'";

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask chaos",
    bin_name = "cargo xtask chaos",
    about = "Breaks the running cluster of `cargo xtask up` in every way, under traffic, and checks that it heals",
    after_help = HELP
)]
struct Options {
    #[command(flatten)]
    what: What,
    /// Where the page with the results is written
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    report: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Draws what faults leave open: when exactly they strike, how a link flaps
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Say which faults there are, and which are left out and why
    #[arg(long)]
    list: bool,
    /// Run these cells
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Run every cell
    #[arg(long)]
    all: bool,
    /// Run the few cells that `cargo xtask test` runs
    #[arg(long)]
    short: bool,
    /// End every fault that somebody left behind
    #[arg(long)]
    heal: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<ExitCode> {
    let what = &options.what;
    if what.list {
        list(options.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    if what.heal {
        Cluster::load()?.heal_all()?;
        eprintln!("every fault has ended");
        return Ok(ExitCode::SUCCESS);
    }
    let cells = if what.all {
        select::all()
    } else if what.short {
        select::of(SHORT)
    } else {
        select::named(&what.only).map_err(|wrong| anyhow!(wrong))?
    };
    matrix(options, &cells)
}

fn list(as_json: bool) -> Result<()> {
    if as_json {
        let faults: Vec<_> =
            FAULTS.iter().map(|f| json!({"name": f.name, "what": f.what})).collect();
        let left_out: Vec<_> =
            LEFT_OUT.iter().map(|l| json!({"name": l.name, "why": l.why})).collect();
        let list = json!({"faults": faults, "left_out": left_out});
        println!("{}", serde_json::to_string_pretty(&list)?);
        return Ok(());
    }
    let width = FAULTS.iter().map(|fault| fault.name.len()).max().unwrap_or(0);
    println!("Faults; each is a cell alone (NAME) and crossed with moves of shards (NAME+move):");
    for fault in FAULTS {
        println!("  {:<width$}  {}", fault.name, fault.what);
    }
    println!("\nLeft out:");
    for left_out in LEFT_OUT {
        println!("  {:<width$}  {}", left_out.name, left_out.why);
    }
    Ok(())
}

fn matrix(options: &Options, cells: &[Cell]) -> Result<ExitCode> {
    let dir = xtask::programs::repository(DIR)?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {dir:?}"))?;
    let page = options.report.clone().unwrap_or_else(|| dir.join("report.html"));
    let began = Instant::now();
    let unheard = |error: &std::io::Error| eprintln!("interrupts are not heard: {error}");
    let say = move |line: &str| eprintln!("[{:7.1}s] {line}", began.elapsed().as_secs_f64());
    let scene = Scene::new(Cluster::load()?, options.seed, interrupt::asked(unheard)?, say);
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut interrupted = None;
    for (number, one) in cells.iter().enumerate() {
        scene.say(&format!("{one} ({} of {}): {}", number + 1, cells.len(), one.fault.what));
        match cell::run(&scene, *one, &dir) {
            Ok(outcome) => {
                scene.say(&table::line(&outcome));
                outcomes.push(outcome);
            }
            Err(word) => {
                interrupted = Some(word);
                break;
            }
        }
        // After each, so that whoever waits an hour can look.
        write(options.seed, &outcomes, &dir, &page)?;
    }
    say_all(options, &outcomes, &page)?;
    if let Some(Interrupted) = interrupted {
        eprintln!("interrupted; every fault has ended");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let passed = outcomes.iter().all(|outcome| outcome.passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(seed: u64, outcomes: &[Outcome]) -> Result<String> {
    let passed = outcomes.iter().filter(|outcome| outcome.passed).count();
    let failed = outcomes.len() - passed;
    let all = json!({"seed": seed, "passed": passed, "failed": failed, "cells": outcomes});
    Ok(serde_json::to_string_pretty(&all)?)
}

fn write(seed: u64, outcomes: &[Outcome], dir: &Path, page: &Path) -> Result<()> {
    let files = [
        (page.to_owned(), page::page(outcomes, seed)),
        (dir.join("report.json"), as_json(seed, outcomes)?),
    ];
    for (file, text) in files {
        fs::write(&file, text).with_context(|| format!("cannot write {file:?}"))?;
    }
    Ok(())
}

fn say_all(options: &Options, outcomes: &[Outcome], page: &Path) -> Result<()> {
    if outcomes.is_empty() {
        return Ok(());
    }
    if options.json {
        println!("{}", as_json(options.seed, outcomes)?);
    } else {
        print!("\n{}", table::table(outcomes));
    }
    eprintln!("the page: {}", page.display());
    Ok(())
}

//! What the tool does.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use iris_check::{Bounds, check};
use iris_core::mutation::Mutation;
use iris_sim::plan::Plan;
use iris_sim::run::{Outcome, Wrong, run};
use iris_sim::shrink::shrink;

mod summary;

use summary::{Growing, Summary};

/// Which seeds.
#[derive(Debug, Args)]
pub(super) struct Seeds {
    /// How many
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    seeds: u64,
    /// The first one
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    from: u64,
    /// Only this one
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Threads; as many as there are cores by default
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Keep the summary in this file while it grows; another time, go on from it
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    keep: Option<std::path::PathBuf>,
    /// The summary as one JSON object
    #[arg(long)]
    json: bool,
    /// Write what happened to this file, with --seed
    #[arg(long, value_name = "FILE", requires = "seed")]
    history: Option<std::path::PathBuf>,
}

/// A run without which a summary says nothing: with so many seeds everything happens in some run.
const SEEDS_FOR_ALL: u64 = 500;

pub(super) fn seeds(options: &Seeds) -> Result<bool> {
    if let Some(seed) = options.seed {
        return one(&Plan::draw(seed), options.history.as_deref());
    }
    let mut growing = Growing::open(options.from, options.keep.as_deref())?;
    let end = options.from.saturating_add(options.seeds);
    let bar = progress(options.seeds);
    bar.set_position(growing.next - options.from);
    let (mut began, mut unkept) = (now(), None);
    over_threads(growing.next..end, options.threads, &mut |outcome| {
        growing.summary.seconds += (now() - began).max(0.0);
        began = now();
        unkept = growing.add(&outcome).err();
        bar.inc(1);
        if !growing.failures.is_empty() {
            bar.set_message(format!("{} failed", growing.failures.len()));
        }
        unkept.is_none()
    });
    bar.finish_and_clear();
    if let Some(error) = unkept {
        return Err(error);
    }
    growing.keep()?;
    let (summary, failures) = (&growing.summary, &growing.failures);
    if options.json {
        println!("{}", serde_json::to_string(summary)?);
    } else {
        summary.say();
    }
    for seed in failures.iter().take(5) {
        explain(*seed)?;
    }
    let never = summary.never();
    if options.seeds >= SEEDS_FOR_ALL && !never.is_empty() {
        eprintln!("\nnever happened, so nothing is known about it: {}", never.join(", "));
        return Ok(false);
    }
    Ok(failures.is_empty())
}

/// In seconds.
fn now() -> f64 {
    std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64()
}

/// Runs every seed, on several threads, and hands the outcomes over in the order of the seeds, as long as
/// they are taken.
fn over_threads(
    seeds: Range<u64>,
    threads: Option<NonZeroUsize>,
    take: &mut dyn FnMut(Outcome) -> bool,
) {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = threads.map_or(cores, NonZeroUsize::get);
    let next = AtomicU64::new(seeds.start);
    let (outcomes, done) = mpsc::sync_channel(4 * threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (next, outcomes) = (&next, outcomes.clone());
            scope.spawn(move || {
                quiet_panics();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let mut outcome = run(&Plan::draw(seed), None);
                    outcome.history = Vec::new();
                    if outcomes.send((seed, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(outcomes);
        let mut early = BTreeMap::new();
        let mut wanted = seeds.start;
        for (seed, outcome) in done {
            early.insert(seed, outcome);
            while let Some(outcome) = early.remove(&wanted) {
                if !take(outcome) {
                    return;
                }
                wanted += 1;
            }
        }
    });
}

/// A core that stops in a run says so in the run's outcome.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn progress(count: u64) -> ProgressBar {
    let style = "{elapsed_precise} {bar:30} {pos}/{len} worlds, {per_sec}, {eta} left {msg}";
    let style =
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(count).with_style(style)
}

/// One run, and what happened in it.
fn one(plan: &Plan, history: Option<&Path>) -> Result<bool> {
    let outcome = run(plan, None);
    if let Some(path) = history {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        iris_check::history::write(BufWriter::new(file), &outcome.history)?;
    }
    let mut summary = Summary::default();
    summary.add(&outcome);
    summary.say();
    for wrong in outcome.wrong.iter().take(20) {
        println!("{wrong}");
    }
    Ok(outcome.is_good())
}

/// Says what went wrong with a seed, made as small as possible.
fn explain(seed: u64) -> Result<()> {
    let outcome = run(&Plan::draw(seed), None);
    eprintln!("\nseed {seed} failed:");
    for wrong in outcome.wrong.iter().take(4) {
        eprintln!("  {wrong}");
    }
    let Some(first) = outcome.wrong.first() else { return Ok(()) };
    let small = shrink(&Plan::draw(seed), &first.kind(), None);
    let path = std::env::temp_dir().join(format!("iris-sim-{seed}.json"));
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    serde_json::to_writer_pretty(BufWriter::new(file), &small)?;
    eprintln!("  smaller: {} faults, {} deeds:", small.faults.len(), small.deeds.len());
    for fault in &small.faults {
        eprintln!("    at {} ms, for {} ms: {:?}", fault.at / 1000, fault.us / 1000, fault.kind);
    }
    eprintln!("  again: cargo xtask sim replay {}", path.display());
    Ok(())
}

pub(super) fn replay(path: &Path, history: Option<&Path>) -> Result<bool> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let plan = serde_json::from_reader(BufReader::new(file))
        .with_context(|| format!("{} is not a plan", path.display()))?;
    one(&plan, history)
}

pub(super) fn defects(seeds: u64, only: Option<&str>) -> Result<bool> {
    let wanted = |mutation: &Mutation| {
        only.is_none_or(|name| mutation.to_string().eq_ignore_ascii_case(name))
    };
    let defects: Vec<_> = Mutation::ALL.into_iter().filter(wanted).collect();
    if defects.is_empty() {
        bail!("there is no such defect; without --only all of them are tried");
    }
    quiet_panics();
    let mut all = true;
    for mutation in defects {
        let found = (1..=seeds).find_map(|seed| {
            let outcome = run(&Plan::draw(seed), Some(mutation));
            (!outcome.is_good()).then_some((seed, outcome.wrong))
        });
        let what = mutation.what();
        match found {
            Some((seed, wrong)) => {
                let mut kinds: Vec<_> = wrong.iter().map(Wrong::kind).collect();
                kinds.dedup();
                let kinds = kinds.join(", ");
                println!("{mutation}  {what}\n    found with seed {seed} ({kinds}): {}", wrong[0]);
            }
            None => {
                println!("{mutation}  {what}\n    NOT FOUND within {seeds} seeds");
                all = false;
            }
        }
    }
    Ok(all)
}

pub(super) fn planted() -> Result<bool> {
    let mut all = true;
    for planted in iris_check::planted::all() {
        let verdict = check(&planted.events, &Bounds::default());
        let found = verdict.violations.iter().find(|v| v.invariant == planted.breaks);
        match found {
            Some(violation) => {
                println!("{}  {}\n    {}", planted.breaks, planted.what, violation.text)
            }
            None => {
                println!("{}  {}\n    NOT FOUND", planted.breaks, planted.what);
                all = false;
            }
        }
    }
    Ok(all)
}

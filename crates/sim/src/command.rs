//! What the tool does.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use iris_check::{Bounds, check};
use iris_core::mutation::Mutation;
use iris_sim::Sometimes;
use iris_sim::plan::Plan;
use iris_sim::run::{Outcome, Wrong, run};
use iris_sim::shrink::shrink;

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
    /// The summary as one JSON object
    #[arg(long)]
    json: bool,
    /// Write what happened to this file, with --seed
    #[arg(long, value_name = "FILE", requires = "seed")]
    history: Option<std::path::PathBuf>,
}

/// What many runs came to.
#[derive(Debug, Default, serde::Serialize)]
struct Summary {
    seeds: u64,
    failed: u64,
    simulated_hours: f64,
    events: u64,
    sent: u64,
    accepted: u64,
    undecided: u64,
    applied: u64,
    /// What all traces fold to: the same for the same seeds and code, whatever the threads.
    trace: u64,
    faults: BTreeMap<&'static str, u64>,
    sometimes: BTreeMap<&'static str, u64>,
    seconds: f64,
}

impl Summary {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.failed += u64::from(!outcome.is_good());
        self.simulated_hours += outcome.lasted_us as f64 / 3.6e9;
        self.events += outcome.events;
        self.trace ^= outcome.trace.rotate_left((self.seeds % 64) as u32);
        if let Some(verdict) = &outcome.verdict {
            self.sent += verdict.sent as u64;
            self.accepted += verdict.accepted as u64;
            self.undecided += verdict.undecided as u64;
            self.applied += verdict.applied as u64;
        }
        for (kind, count) in &outcome.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (name, count) in outcome.sometimes.all() {
            *self.sometimes.entry(name).or_default() += count;
        }
    }

    /// What should have happened in some run and did not.
    fn never(&self) -> Vec<&'static str> {
        let all = Sometimes::default().all().into_iter().map(|(name, _)| name);
        all.filter(|name| self.sometimes.get(name).copied().unwrap_or_default() == 0).collect()
    }

    fn say(&self) {
        println!("seeds            {}, of which {} failed", self.seeds, self.failed);
        println!("simulated        {:.1} hours, {} events", self.simulated_hours, self.events);
        println!("messages         {} sent, {} accepted", self.sent, self.accepted);
        println!("                 {} without an outcome, {} places", self.undecided, self.applied);
        println!("trace            {:016x}", self.trace);
        println!("took             {:.1} s", self.seconds);
        println!("\nfaults");
        for (kind, count) in &self.faults {
            println!("{count:>12}  {kind}");
        }
        println!("\nwhat happened");
        for (name, count) in &self.sometimes {
            println!("{count:>12}  {name}");
        }
    }
}

/// A run without which a summary says nothing: with so many seeds everything happens in some run.
const SEEDS_FOR_ALL: u64 = 500;

pub(super) fn seeds(options: &Seeds) -> Result<bool> {
    if let Some(seed) = options.seed {
        return one(&Plan::draw(seed), options.history.as_deref());
    }
    let began = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let bar = progress(options.seeds);
    let mut summary = Summary::default();
    let mut failures: Vec<(u64, Outcome)> = Vec::new();
    over_threads(options, &mut |seed, outcome| {
        summary.add(&outcome);
        bar.inc(1);
        if !outcome.is_good() {
            bar.set_message(format!("{} failed", summary.failed));
            failures.push((seed, outcome));
        }
    });
    bar.finish_and_clear();
    summary.seconds =
        std::time::UNIX_EPOCH.elapsed().unwrap_or_default().saturating_sub(began).as_secs_f64();
    if options.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        summary.say();
    }
    for (seed, outcome) in failures.iter().take(5) {
        explain(*seed, outcome)?;
    }
    let never = summary.never();
    if options.seeds >= SEEDS_FOR_ALL && !never.is_empty() {
        eprintln!("\nnever happened, so nothing is known about it: {}", never.join(", "));
        return Ok(false);
    }
    Ok(failures.is_empty())
}

/// Runs every seed, on several threads, and hands the outcomes over in the order of the seeds.
fn over_threads(options: &Seeds, take: &mut dyn FnMut(u64, Outcome)) {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = options.threads.map_or(cores, NonZeroUsize::get);
    let next = AtomicU64::new(options.from);
    let end = options.from.saturating_add(options.seeds);
    let (outcomes, done) = mpsc::sync_channel(4 * threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (next, outcomes) = (&next, outcomes.clone());
            scope.spawn(move || {
                quiet_panics();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
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
        let mut wanted = options.from;
        for (seed, outcome) in done {
            early.insert(seed, outcome);
            while let Some(outcome) = early.remove(&wanted) {
                take(wanted, outcome);
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
fn explain(seed: u64, outcome: &Outcome) -> Result<()> {
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

//! What many runs came to, in words, and in a file to go on from.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use iris_sim::Sometimes;
use iris_sim::plan::Plan;
use iris_sim::run::{Outcome, run};
use serde::{Deserialize, Serialize};

/// What many runs came to.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) seeds: u64,
    pub(super) failed: u64,
    simulated_hours: f64,
    events: u64,
    sent: u64,
    accepted: u64,
    undecided: u64,
    applied: u64,
    /// What all traces fold to: the same for the same seeds and code, whatever the threads.
    trace: u64,
    faults: BTreeMap<String, u64>,
    sometimes: BTreeMap<String, u64>,
    pub(super) seconds: f64,
}

impl Summary {
    pub(super) fn add(&mut self, outcome: &Outcome) {
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
            add(&mut self.faults, kind, *count);
        }
        for (name, count) in outcome.sometimes.all() {
            add(&mut self.sometimes, name, count);
        }
    }

    /// What should have happened in some run and did not.
    pub(super) fn never(&self) -> Vec<&'static str> {
        let all = Sometimes::default().all().into_iter().map(|(name, _)| name);
        all.filter(|name| self.sometimes.get(*name).copied().unwrap_or_default() == 0).collect()
    }

    pub(super) fn say(&self) {
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

fn add(counts: &mut BTreeMap<String, u64>, name: &str, count: u64) {
    match counts.get_mut(name) {
        Some(sum) => *sum += count,
        None => drop(counts.insert(name.to_owned(), count)),
    }
}

/// Runs of this many seeds are run again when a file goes on.
const AGAIN: usize = 20;
/// The file is written again after so many seeds.
const SEEDS_UNKEPT_MAX: u64 = 200;

/// A summary that grows, and the file that keeps it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Growing {
    /// The first seed.
    from: u64,
    /// The next one.
    pub(super) next: u64,
    /// The traces of the last seeds.
    traces: Vec<u64>,
    /// The seeds whose runs failed.
    pub(super) failures: Vec<u64>,
    pub(super) summary: Summary,
    #[serde(skip)]
    file: Option<PathBuf>,
}

impl Growing {
    /// Begins, or goes on with what the file has. Runs of other code are not added to it.
    pub(super) fn open(from: u64, file: Option<&Path>) -> Result<Self> {
        let new = || Self {
            from,
            next: from,
            traces: Vec::new(),
            failures: Vec::new(),
            summary: Summary::default(),
            file: file.map(Path::to_owned),
        };
        let Some(path) = file else { return Ok(new()) };
        let kept = match File::open(path) {
            Ok(kept) => kept,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(new()),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let name = path.display();
        let mut growing: Self = serde_json::from_reader(BufReader::new(kept))
            .with_context(|| format!("{name} has no summary to go on from"))?;
        ensure!(growing.from == from, "{name} has the seeds from {} on", growing.from);
        growing.file = Some(path.to_owned());
        let first = growing.next - growing.traces.len() as u64;
        for (seed, trace) in (first..).zip(&growing.traces) {
            ensure!(
                run(&Plan::draw(seed), None).trace == *trace,
                "{name} was written by other code, as seed {seed} is another run now: name another file"
            );
        }
        Ok(growing)
    }

    /// Adds the run of the next seed.
    pub(super) fn add(&mut self, outcome: &Outcome) -> Result<()> {
        self.summary.add(outcome);
        if !outcome.is_good() {
            self.failures.push(self.next);
        }
        self.next += 1;
        if self.traces.len() == AGAIN {
            self.traces.remove(0);
        }
        self.traces.push(outcome.trace);
        if self.summary.seeds.is_multiple_of(SEEDS_UNKEPT_MAX) { self.keep() } else { Ok(()) }
    }

    /// Writes the file, if there is one.
    pub(super) fn keep(&self) -> Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        let beside = path.with_extension("new");
        let written = std::fs::write(&beside, serde_json::to_vec_pretty(self)?)
            .and_then(|()| std::fs::rename(&beside, path));
        written.with_context(|| format!("{} cannot be written", path.display()))
    }
}

//! An ordered list of small steps and their runner: each step says what it does, what must be
//! finished before it and whether it is already done; independent ones overlap.
//!
//! Never undoes a step: each is safe to repeat, so the way out of a failure is to run again.

use std::{
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::progress::Progress;

/// How many steps run at once. The long ones wait for the network or a compiler that already
/// uses every core, so more would only make each slower.
const RUNNING_MAX: usize = 4;

/// What steps work on; each step gets a copy of its own, with its own log.
pub(crate) trait Context: Send + Sync + Sized {
    /// The same context for the step of this name.
    fn for_step(&self, name: &str) -> Self;
    /// Where that step's commands log.
    fn log(&self) -> PathBuf;
}

/// One step.
#[derive(Debug)]
pub(crate) struct Step<C> {
    /// A short name, unique in its list; also the name of its log.
    pub(crate) name: &'static str,
    /// What it does, for people.
    pub(crate) what: &'static str,
    /// The steps that must be finished before it; all stand earlier in the list.
    pub(crate) after: &'static [&'static str],
    /// What to try when it fails.
    pub(crate) remedy: &'static str,
    /// Whether there is nothing to do. It must be cheap and must not change anything.
    pub(crate) is_done: fn(&C) -> Result<bool>,
    /// Does it. It is safe to repeat, after success and after a failure half-way.
    pub(crate) run: fn(&C) -> Result<()>,
}

/// How one step went.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Report {
    /// The step's name.
    pub(crate) step: &'static str,
    /// Whether there was nothing to do.
    pub(crate) already_done: bool,
    /// How long it took, its check included.
    pub(crate) seconds: f64,
}

/// The one error that a failed run shows.
#[derive(Debug)]
pub(crate) struct Failure {
    step: &'static str,
    remedy: &'static str,
    log: PathBuf,
    cause: anyhow::Error,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { step, remedy, log, cause } = self;
        write!(f, "{step}: {cause:#}\n  remedy: {remedy}\n  log:    {}", log.display())
    }
}

impl std::error::Error for Failure {}

/// Checks that names are unique and that each step stands after all that it needs; with that no
/// order of running can wait for ever.
pub(crate) fn check<C>(steps: &[Step<C>]) -> Result<()> {
    for (index, step) in steps.iter().enumerate() {
        let before = steps.get(..index).unwrap_or_default();
        let stands = |name: &str| before.iter().any(|other| other.name == name);
        ensure!(!stands(step.name), "two steps are named {}", step.name);
        for name in step.after {
            ensure!(stands(name), "{} needs {name}, which does not stand before it", step.name);
        }
    }
    Ok(())
}

/// Runs the steps and gives their reports in the order in which they ended. After a failure no
/// further step starts; those under way are waited for.
pub(crate) fn run<C: Context>(
    steps: &[Step<C>],
    context: &C,
    progress: &Progress,
) -> Result<Vec<Report>> {
    check(steps)?;
    let mut reports: Vec<Report> = Vec::new();
    let mut failure: Option<Failure> = None;
    let (sender, ended) = mpsc::channel();
    thread::scope(|scope| {
        let mut waiting: Vec<&Step<C>> = steps.iter().collect();
        let mut running = 0;
        loop {
            while failure.is_none() && running < RUNNING_MAX {
                let Some(step) = take_ready(&mut waiting, &reports) else {
                    break;
                };
                running += 1;
                progress.started(step.name, step.what);
                let sender = sender.clone();
                scope.spawn(move || {
                    // The receiver outlives the scope, so sending cannot fail.
                    let _ = sender.send(perform(step, &context.for_step(step.name)));
                });
            }
            if running == 0 {
                break;
            }
            let Ok(end) = ended.recv() else { break };
            running -= 1;
            match end {
                Ok(report) => {
                    progress.finished(&report);
                    reports.push(report);
                }
                Err(failed) => {
                    progress.failed(failed.step);
                    failure.get_or_insert(failed);
                }
            }
        }
    });
    match failure {
        Some(failure) => Err(failure.into()),
        None => Ok(reports),
    }
}

fn take_ready<'s, C>(waiting: &mut Vec<&'s Step<C>>, done: &[Report]) -> Option<&'s Step<C>> {
    let is_done = |name: &&str| done.iter().any(|report| report.step == *name);
    let index = waiting.iter().position(|step| step.after.iter().all(is_done))?;
    Some(waiting.remove(index))
}

fn perform<C: Context>(step: &Step<C>, context: &C) -> Result<Report, Failure> {
    let before = Instant::now();
    let work = || -> Result<bool> {
        let already_done = (step.is_done)(context)?;
        if !already_done {
            (step.run)(context)?;
        }
        Ok(already_done)
    };
    match work() {
        Ok(already_done) => {
            let seconds = before.elapsed().as_secs_f64();
            Ok(Report { step: step.name, already_done, seconds })
        }
        Err(cause) => {
            Err(Failure { step: step.name, remedy: step.remedy, log: context.log(), cause })
        }
    }
}

/// Asks again and again until the answer is yes, or fails with what was waited for and the last
/// reason why not.
pub(crate) fn wait_until(
    what: &str,
    limit: Duration,
    pause: Duration,
    mut ask: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let before = Instant::now();
    loop {
        let last = match ask() {
            Ok(true) => return Ok(()),
            Ok(false) => None,
            Err(error) => Some(error),
        };
        if before.elapsed() > limit {
            let seconds = limit.as_secs();
            return Err(match last {
                Some(error) => error.context(format!("{what}: not within {seconds} s")),
                None => anyhow::anyhow!("{what}: not within {seconds} s"),
            });
        }
        thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests;

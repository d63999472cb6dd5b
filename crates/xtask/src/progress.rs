//! What a person sees while steps run: a spinner per step on a terminal, plain lines elsewhere,
//! all on standard error.
//!
//! Never writes to standard output, which carries only the answer.
#![allow(clippy::print_stderr, reason = "this module is where the tool talks to people")]

use std::{
    collections::HashMap,
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::steps::Report;

/// Shows steps as they start and end.
#[derive(Debug)]
pub(crate) struct Progress {
    began: Instant,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Lines,
    Spinners { all: MultiProgress, running: Mutex<HashMap<&'static str, ProgressBar>> },
}

impl Progress {
    /// Spinners where standard error is a terminal, lines where it is not.
    pub(crate) fn new() -> Self {
        let shape = if std::io::stderr().is_terminal() {
            Shape::Spinners { all: MultiProgress::new(), running: Mutex::default() }
        } else {
            Shape::Lines
        };
        Self { began: Instant::now(), shape }
    }

    /// How long ago this was made.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// A line for people, whatever the shape.
    pub(crate) fn say(&self, line: &str) {
        match &self.shape {
            Shape::Lines => eprintln!("{line}"),
            // The terminal may be gone; the work goes on.
            Shape::Spinners { all, .. } => drop(all.println(line)),
        }
    }

    pub(crate) fn started(&self, name: &'static str, what: &str) {
        let Shape::Spinners { all, running } = &self.shape else {
            return;
        };
        let bar = all.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
            bar.set_style(style);
        }
        bar.set_message(format!("{name}: {what}"));
        bar.enable_steady_tick(Duration::from_millis(120));
        running.lock().unwrap_or_else(PoisonError::into_inner).insert(name, bar);
    }

    pub(crate) fn finished(&self, report: &Report) {
        self.clear(report.step);
        let Report { step, already_done, seconds } = report;
        let total = self.elapsed().as_secs_f64();
        if *already_done {
            self.say(&format!("[{total:6.1}s] {step}: already done"));
        } else {
            self.say(&format!("[{total:6.1}s] {step}: {seconds:.1} s"));
        }
    }

    pub(crate) fn failed(&self, name: &'static str) {
        self.clear(name);
        self.say(&format!("[{:6.1}s] {name}: FAILED", self.elapsed().as_secs_f64()));
    }

    fn clear(&self, name: &'static str) {
        let Shape::Spinners { running, .. } = &self.shape else {
            return;
        };
        let bar = running.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

//! What every store must do, as named cases: the embedded store, Cassandra and the simulator's models
//! are all held to them.
//!
//! Each case works with sessions, shards and accounts of its own, so that the suite can run any number
//! of times, with different seeds, on one store. It never looks behind the traits.

mod control;
mod derived;
mod directory;
mod fixture;
mod groups;
mod health;
mod history;
mod inbox;
mod log;
mod marks;
mod outbox;
mod rosters;

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::Store;

pub use fixture::World;

/// Why a case failed.
pub type Verdict = Result<(), String>;

/// A case.
#[derive(Clone, Copy)]
pub struct Case {
    /// Says what must hold.
    pub name: &'static str,
    run: for<'a> fn(&'a World<'a>) -> BoxFuture<'a, Verdict>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a suite went.
#[derive(Debug, Default)]
pub struct Report {
    /// The cases that passed, with what they took.
    pub passed: Vec<(&'static str, Duration)>,
    /// The cases that failed, with why.
    pub failed: Vec<(&'static str, String)>,
}

impl Report {
    /// Nothing if every case passed; otherwise every failure, a line each.
    pub fn verdict(&self) -> Verdict {
        if self.failed.is_empty() && !self.passed.is_empty() {
            return Ok(());
        }
        let line = |(name, why): &(&str, String)| format!("{name}: {why}");
        Err(self.failed.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

/// Every case.
pub fn cases() -> Vec<Case> {
    let suites = [
        control::CASES,
        log::CASES,
        derived::CASES,
        inbox::CASES,
        history::CASES,
        marks::CASES,
        groups::CASES,
        rosters::CASES,
        outbox::CASES,
        directory::CASES,
        health::CASES,
    ];
    suites.into_iter().flatten().copied().collect()
}

/// Runs every case. The seed chooses sessions, shards and accounts: two runs on one store need two.
pub async fn run(store: &dyn Store, seed: u64) -> Report {
    let world = World::new(store, seed);
    let mut report = Report::default();
    for case in cases() {
        let begun = Instant::now();
        match (case.run)(&world).await {
            Ok(()) => report.passed.push((case.name, begun.elapsed())),
            Err(why) => report.failed.push((case.name, why)),
        }
    }
    report
}

/// A table of cases from functions: the name of a case is the name of its function.
macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        /// The cases of this file.
        pub(super) const CASES: &[$crate::conformance::Case] = &[
            $($crate::conformance::Case {
                name: stringify!($name),
                run: |world| Box::pin($name(world)),
            }),*
        ];
    };
}

/// Fails the case unless the condition holds.
macro_rules! check {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(format!($($why)+));
        }
    };
}

/// Fails the case unless both are equal.
macro_rules! same {
    ($found:expr, $expected:expr, $($why:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) if found == expected => {}
            (found, expected) => {
                let why = format!($($why)+);
                return Err(format!("{why}: found {found:?}, expected {expected:?}"));
            }
        }
    };
}

/// Fails the case unless there is nothing.
macro_rules! none {
    ($found:expr, $($why:tt)+) => {
        match &$found {
            found if found.is_empty() => {}
            found => {
                let why = format!($($why)+);
                return Err(format!("{why}: found {found:?}, expected nothing"));
            }
        }
    };
}

use {check, none, same, suite};

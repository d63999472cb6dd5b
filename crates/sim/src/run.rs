//! One run: a plan, what came of it, and whether that is as it must be.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use iris_check::history::Event;
use iris_check::{Bounds, Invariant, Verdict, check};
use iris_core::mutation::{Mutation, activate};

use crate::book::Sometimes;
use crate::plan::Plan;
use crate::world::World;

/// What a run is held to. Owners freeze for seconds, and then nobody answers: a client gives its
/// connection up after six.
const BOUNDS: Bounds = Bounds {
    answer_us: 10_000_000,
    move_gap_p99_us: u64::MAX,
    move_gap_max_us: u64::MAX,
    settle_us: 10_000_000,
    drain_us: 60_000_000,
    ready_us: 120_000_000,
    // Two seconds, and what it takes to say that the world is whole.
    presence_us: 4_000_000,
    receipt_us: 10_000_000,
};

/// Where a device may send fewer in a second, hundreds that waited take seconds to go out.
const PACED: u32 = 100;
/// So much longer it may take there until sends have settled.
const PACED_US: u64 = 2_000_000;

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What is wrong, each in one line; nothing in a good run.
    pub wrong: Vec<Wrong>,
    /// What checkers counted.
    pub verdict: Option<Verdict>,
    /// What happened.
    pub sometimes: Sometimes,
    /// How often each kind of fault was made.
    pub faults: BTreeMap<&'static str, u64>,
    /// How long it lasted, in microseconds of its own time.
    pub lasted_us: u64,
    /// How many events it had.
    pub events: u64,
    /// What they fold to: the same plan always folds to the same.
    pub trace: u64,
    /// What was written down.
    pub history: Vec<Event>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// An invariant does not hold.
    Broken(Invariant, String),
    /// What an owner read, or a device was told, contradicts itself.
    Unusable(String),
    /// The core stopped because something could not be.
    Panicked(String),
}

impl Wrong {
    /// What a smaller run must show to be the same failure.
    pub fn kind(&self) -> String {
        match self {
            Self::Broken(invariant, _) => invariant.to_string(),
            Self::Unusable(_) => "unusable".to_owned(),
            Self::Panicked(_) => "panic".to_owned(),
        }
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broken(invariant, text) => write!(f, "{invariant} {text}"),
            Self::Unusable(text) => write!(f, "unusable: {text}"),
            Self::Panicked(text) => write!(f, "panic: {text}"),
        }
    }
}

impl Outcome {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// Runs a plan, with one defect switched on, or none.
pub fn run(plan: &Plan, mutation: Option<Mutation>) -> Outcome {
    activate(mutation);
    let mut world = World::new(plan.clone());
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    activate(None);
    let mut wrong = Vec::new();
    let panicked = ran.is_err();
    if let Err(panic) = ran {
        wrong.push(Wrong::Panicked(text_of(panic.as_ref())));
    }
    let (events, trace) = world.trace();
    let lasted_us = world.now();
    let book = world.book;
    wrong.extend(
        book.unreadable
            .iter()
            .map(|(at, text)| Wrong::Unusable(format!("at {} ms: {text}", at / 1000))),
    );
    // What waited goes out no faster than a device may send.
    let paced = plan.sends_per_second < PACED;
    let settle_us = BOUNDS.settle_us + if paced { PACED_US } else { 0 };
    let bounds = Bounds { settle_us, ..BOUNDS };
    // The history of a run that stopped in the middle is no history.
    let verdict = (!panicked).then(|| check(&book.history, &bounds));
    for violation in verdict.iter().flat_map(|verdict| &verdict.violations) {
        wrong.push(Wrong::Broken(violation.invariant, violation.to_string()));
    }
    Outcome {
        wrong,
        verdict,
        sometimes: book.sometimes,
        faults: book.faults,
        lasted_us,
        events,
        trace,
        history: book.history,
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "?".to_owned())
}

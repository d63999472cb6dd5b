//! The checkers: one file for each invariant.

mod i01_durable;
mod i02_no_phantom;
mod i03_one_position;
mod i04_exactly_once;
mod i05_order;
mod i06_one_answer;
mod i07_one_owner;
mod i08_one_end;
mod i09_moves;
mod i10_erased;
mod i11_membership;
mod i12_receipts;
mod i13_settles;
mod i14_covered;
mod i15_bounded;
mod i16_audit;
mod i17_secret;
mod i18_truthful;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::{Event, Index, What};

/// What always holds. See `docs/guarantees.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "`what` says it")]
pub enum Invariant {
    I1,
    I2,
    I3,
    I4,
    I5,
    I6,
    I7,
    I8,
    I9,
    I10,
    I11,
    I12,
    I13,
    I14,
    I15,
    I16,
    I17,
    I18,
}

impl Invariant {
    /// Every one.
    pub const ALL: [Self; 18] = [
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I5,
        Self::I6,
        Self::I7,
        Self::I8,
        Self::I9,
        Self::I10,
        Self::I11,
        Self::I12,
        Self::I13,
        Self::I14,
        Self::I15,
        Self::I16,
        Self::I17,
        Self::I18,
    ];

    /// What always holds, in one sentence.
    pub const fn what(self) -> &'static str {
        match self {
            Self::I1 => "what was acknowledged reaches every device that it is for",
            Self::I2 => "nothing arrives that nobody sent, or that was refused",
            Self::I3 => "a message has one position, a position one message",
            Self::I4 => "a device applies its stream once, in order, without a gap",
            Self::I5 => {
                "messages of a device arrive in its order, replies above what they reply to"
            }
            Self::I6 => "a repeated send always gets the same answer",
            Self::I7 => "an epoch has one session, and nobody tells anything once it is fenced",
            Self::I8 => "where a lane ends is decided once, and what is below never changes",
            Self::I9 => "a move refuses nothing for good and pauses its shard for a moment only",
            Self::I10 => "what was erased never comes back",
            Self::I11 => "members get what was said while they were members, and nothing else",
            Self::I12 => "receipts are true and never go back",
            Self::I13 => "once nothing is broken, everything settles",
            Self::I14 => "every shard has exactly one desired owner, and does not flap",
            Self::I15 => "everything that is counted stays within its bound",
            Self::I16 => "the audit log has every act once, chained without a gap",
            Self::I17 => "no plaintext is anywhere on the servers",
            Self::I18 => "every send is answered soon, and a definite answer is true",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One thing that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What does not hold.
    pub invariant: Invariant,
    /// When it was seen, in the history's microseconds.
    pub at: u64,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, micros) = (self.at / 1000, self.at % 1000);
        write!(f, "{} at {millis}.{micros:03} ms: {}", self.invariant, self.text)
    }
}

/// What a run allows. The history of a run without faults is held to narrower bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// A send is answered within this time, in microseconds, while its connection lasts.
    pub answer_us: u64,
    /// A moved shard's conversations go without an answer no longer than this: 99 of 100 moves.
    pub move_gap_p99_us: u64,
    /// And no move longer than this.
    pub move_gap_max_us: u64,
    /// Once nothing is broken, sends settle within this time.
    pub settle_us: u64,
    /// Once nothing is broken, devices have everything within this time.
    pub drain_us: u64,
    /// Once nothing is broken, everything says that it is well within this time.
    pub ready_us: u64,
    /// Whoever watches somebody is told within this time whether they are there.
    pub presence_us: u64,
    /// Whoever wrote something is told within this time that it arrived.
    pub receipt_us: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            answer_us: 2_000_000,
            move_gap_p99_us: 250_000,
            move_gap_max_us: 2_000_000,
            settle_us: 10_000_000,
            drain_us: 60_000_000,
            ready_us: 120_000_000,
            presence_us: 2_000_000,
            receipt_us: 5_000_000,
        }
    }
}

/// What a history consists of, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What is wrong, in order of invariants, then of time.
    pub violations: Vec<Violation>,
    /// Messages that were sent.
    pub sent: usize,
    /// Those that were called accepted.
    pub accepted: usize,
    /// Those whose fate their sender never learned.
    pub undecided: usize,
    /// Places that devices wrote to their disks.
    pub applied: usize,
}

impl Verdict {
    /// Whether nothing is wrong, and there was something that could have been.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.accepted > 0 && self.applied > 0
    }

    /// The invariants that do not hold.
    pub fn broken(&self) -> Vec<Invariant> {
        let mut broken: Vec<_> = self.violations.iter().map(|v| v.invariant).collect();
        broken.dedup();
        broken
    }
}

/// Where a checker puts what it finds.
struct Findings {
    invariant: Invariant,
    found: Vec<Violation>,
}

impl Findings {
    fn add(&mut self, at: u64, text: String) {
        self.found.push(Violation { invariant: self.invariant, at, text });
    }
}

type Checker = fn(&Index<'_>, &Bounds, &mut Findings);

const fn checker(invariant: Invariant) -> Checker {
    match invariant {
        Invariant::I1 => i01_durable::check,
        Invariant::I2 => i02_no_phantom::check,
        Invariant::I3 => i03_one_position::check,
        Invariant::I4 => i04_exactly_once::check,
        Invariant::I5 => i05_order::check,
        Invariant::I6 => i06_one_answer::check,
        Invariant::I7 => i07_one_owner::check,
        Invariant::I8 => i08_one_end::check,
        Invariant::I9 => i09_moves::check,
        Invariant::I10 => i10_erased::check,
        Invariant::I11 => i11_membership::check,
        Invariant::I12 => i12_receipts::check,
        Invariant::I13 => i13_settles::check,
        Invariant::I14 => i14_covered::check,
        Invariant::I15 => i15_bounded::check,
        Invariant::I16 => i16_audit::check,
        Invariant::I17 => i17_secret::check,
        Invariant::I18 => i18_truthful::check,
    }
}

/// Holds a history to every invariant. Its events are in order of time.
pub fn check(events: &[Event], bounds: &Bounds) -> Verdict {
    let index = Index::of(events);
    let mut violations = Vec::new();
    for invariant in Invariant::ALL {
        let mut findings = Findings { invariant, found: Vec::new() };
        checker(invariant)(&index, bounds, &mut findings);
        findings.found.sort_by_key(|violation| violation.at);
        violations.extend(findings.found);
    }
    let accepted = index.sends.values().filter(|s| s.accepted_at().is_some()).count();
    let undecided = index.sends.values().filter(|s| s.told.is_empty()).count();
    let applied = events.iter().filter(|e| matches!(e.what, What::Applied { .. })).count();
    Verdict { violations, sent: index.sends.len(), accepted, undecided, applied }
}

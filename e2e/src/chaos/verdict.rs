//! What of a cell makes it fail. Pure: what was seen goes in, words come out.

use serde::Serialize;
use xtask::cluster::soak::{Percentiles, Report};

use super::moves::Moves;
use super::proof::{self, Counter};

/// Sends from before the end of a fault have their answers so soon after it (I13), in seconds.
pub const SETTLE_S_MAX: f64 = 10.0;
/// Every resource is Ready again so soon after it (I13), in seconds.
pub const READY_S_MAX: f64 = 120.0;

/// What was seen in a cell.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The ledger of the traffic beside the fault.
    pub ledger: Option<Report>,
    /// The ledger of new traffic after everything had settled.
    pub afterwards: Option<Report>,
    /// From the end of the fault until what was sent before had its answers and new sends had theirs at
    /// once.
    pub settle_s: Option<f64>,
    /// From the last send until the last of them was answered, delivered and receipted.
    pub drain_s: Option<f64>,
    /// From the end of the fault until everything was Ready.
    pub ready_s: Option<f64>,
    /// What was not Ready when nobody waited any longer.
    pub unready: Vec<String>,
    /// How the moves ended, if there were any.
    pub moves: Option<Moves>,
    /// The proof of the fault.
    pub proof: Vec<Counter>,
    /// What kept the cell from its end.
    pub broken: Option<String>,
}

/// The result of a cell.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The cell's name.
    pub cell: String,
    /// What the fault is.
    pub what: String,
    /// Whether it passed.
    pub passed: bool,
    /// Why not.
    pub failures: Vec<String>,
    /// Messages whose sender was told that they are safe.
    pub acked: u64,
    /// Messages that their recipient got.
    pub delivered: u64,
    /// Acknowledged, and never delivered.
    pub lost: u64,
    /// Delivered more than once.
    pub duplicated: u64,
    /// Delivered before one that was sent earlier.
    pub reordered: u64,
    /// Places of an inbox that never came.
    pub gaps: u64,
    /// Writers who were not told of everything that arrived.
    pub receipts_missing: u64,
    /// Sends that were answered with "again later".
    pub told_to_retry: u64,
    /// Connections that were made again.
    pub reconnects: u64,
    /// Intervals in which a conversation had a pending send and no ack.
    pub write_gap_ms: Option<Percentiles>,
    /// See [`Seen::settle_s`].
    pub settle_s: Option<f64>,
    /// See [`Seen::drain_s`].
    pub drain_s: Option<f64>,
    /// See [`Seen::ready_s`].
    pub ready_s: Option<f64>,
    /// How the moves ended.
    pub moves: Option<Moves>,
    /// What proves the fault.
    pub proof: Vec<Counter>,
    /// How long the cell took.
    pub seconds: f64,
}

/// Judges a cell.
pub fn judge(cell: String, what: &str, seen: Seen, seconds: f64) -> Outcome {
    let failures = failures(&seen);
    let ledger = seen.ledger.as_ref();
    let count = |of: fn(&Report) -> u64| ledger.map_or(0, of);
    Outcome {
        cell,
        what: what.to_owned(),
        passed: failures.is_empty(),
        failures,
        acked: count(|r| r.acked),
        delivered: count(|r| r.delivered),
        lost: count(|r| r.lost),
        duplicated: count(|r| r.duplicated),
        reordered: count(|r| r.reordered),
        gaps: count(|r| r.gaps),
        receipts_missing: count(|r| r.receipts_missing),
        told_to_retry: count(|r| r.told_to_retry),
        reconnects: count(|r| r.reconnects),
        write_gap_ms: ledger.map(|r| r.write_gap_ms),
        settle_s: seen.settle_s,
        drain_s: seen.drain_s,
        ready_s: seen.ready_s,
        moves: seen.moves,
        proof: seen.proof,
        seconds,
    }
}

fn failures(seen: &Seen) -> Vec<String> {
    let mut failures = Vec::new();
    if let Some(broken) = &seen.broken {
        failures.push(broken.clone());
        // What comes after that was not looked at, so it says nothing; what was seen does.
        failures
            .extend(seen.ledger.iter().flat_map(|ledger| of_ledger("beside the fault", ledger)));
        return failures;
    }
    match &seen.ledger {
        Some(ledger) => failures.extend(of_ledger("beside the fault", ledger)),
        None => failures.push("there is no ledger".to_owned()),
    }
    match &seen.afterwards {
        Some(ledger) => failures.extend(of_ledger("afterwards", ledger)),
        None => failures.push("there was no traffic afterwards".to_owned()),
    }
    failures.extend(late("sends settled", seen.settle_s, SETTLE_S_MAX));
    failures.extend(late("the last sends were delivered", seen.drain_s, SETTLE_S_MAX));
    if let Some(mut late) = late("everything was Ready", seen.ready_s, READY_S_MAX) {
        if !seen.unready.is_empty() {
            late = format!("{late}: {}", seen.unready.join("; "));
        }
        failures.push(late);
    }
    if let Some(moves) = seen.moves.filter(|moves| moves.unfinished > 0) {
        failures.push(format!("{} of {} moves never ended", moves.unfinished, moves.ordered));
    }
    failures.extend(proof::doubts(&seen.proof));
    failures
}

pub(crate) fn of_ledger(when: &str, ledger: &Report) -> Vec<String> {
    let mut failures: Vec<_> =
        ledger.violations.iter().map(|violation| format!("{when}: {violation}")).collect();
    if !ledger.ok && failures.is_empty() {
        failures.push(format!("{when}: the ledger is not clean"));
    }
    if ledger.acked == 0 {
        failures.push(format!("{when}: nothing was acknowledged"));
    }
    if ledger.delivered != ledger.acked && ledger.ok {
        let (acked, delivered) = (ledger.acked, ledger.delivered);
        failures.push(format!("{when}: {acked} acknowledged, {delivered} delivered"));
    }
    failures
}

fn late(what: &str, seconds: Option<f64>, most: f64) -> Option<String> {
    match seconds {
        Some(seconds) if seconds <= most => None,
        Some(seconds) => Some(format!("{what} after {seconds:.1} s, and may take {most:.0} s")),
        None => Some(format!("not within the bound of {most:.0} s: {what}")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn ledger(change: impl FnOnce(&mut Value)) -> Report {
        let gap = json!({"count": 9, "p50": 5.0, "p99": 40.0, "max": 900.0});
        let mut report = json!({
            "ok": true, "violations": [], "offered": 100, "acked": 100, "delivered": 100, "lost": 0,
            "duplicated": 0, "reordered": 0, "gaps": 0, "undecided": 0, "receipts_missing": 0,
            "told_to_retry": 3, "reconnects": 2, "rate": {"acked": 200.0, "delivered": 200.0}, "longest_wait_ms": 40.0,
            "write_gap_ms": gap, "interruption_ms": gap, "outage_ms": gap, "ack_ms": gap, "e2e_ms": gap,
            "generator": {"bottleneck": false},
        });
        change(&mut report);
        serde_json::from_value(report).unwrap()
    }

    pub(crate) fn good() -> Seen {
        Seen {
            ledger: Some(ledger(|_| ())),
            afterwards: Some(ledger(|_| ())),
            settle_s: Some(1.5),
            drain_s: Some(0.4),
            ready_s: Some(14.0),
            moves: Some(Moves { ordered: 3, succeeded: 2, failed: 1, unfinished: 0, under_way: 0 }),
            proof: vec![Counter::that("process replaced", true)],
            ..Seen::default()
        }
    }

    pub(crate) fn judged(seen: Seen) -> Outcome {
        judge("kill-owner".to_owned(), "kill -9 of an owner", seen, 40.0)
    }

    #[test]
    fn a_cell_that_healed_in_time_passes() {
        let outcome = judged(good());
        assert!(outcome.passed, "{:?}", outcome.failures);
        assert_eq!((outcome.acked, outcome.told_to_retry), (100, 3));
    }

    #[test]
    fn everything_that_is_wrong_fails_a_cell() {
        let wrong: [fn(&mut Seen); 13] = [
            |s| s.ledger = None,
            |s| {
                s.ledger = Some(ledger(|r| {
                    r["ok"] = json!(false);
                    r["violations"] = json!(["1 lost"]);
                }));
            },
            |s| s.ledger = Some(ledger(|r| r["delivered"] = json!(99))),
            |s| s.ledger = Some(ledger(|r| r["ok"] = json!(false))),
            |s| s.afterwards = None,
            |s| s.settle_s = Some(10.1),
            |s| s.settle_s = None,
            |s| s.drain_s = Some(11.0),
            |s| s.ready_s = Some(121.0),
            |s| s.ready_s = None,
            |s| s.moves = Some(Moves { ordered: 3, unfinished: 1, ..Moves::default() }),
            |s| s.proof.clear(),
            |s| s.proof = vec![Counter::that("process replaced", false)],
        ];
        for (number, wrong) in wrong.into_iter().enumerate() {
            let mut seen = good();
            wrong(&mut seen);
            let outcome = judged(seen);
            assert!(!outcome.passed, "{number}");
            assert_eq!(outcome.failures.len(), 1, "{number}: {:?}", outcome.failures);
        }
    }

    #[test]
    fn what_was_not_ready_is_named() {
        let unready = vec!["Pod x is not Ready: CrashLoopBackOff".to_owned()];
        let outcome = judged(Seen { ready_s: None, unready, ..good() });
        assert!(outcome.failures[0].contains("CrashLoopBackOff"), "{:?}", outcome.failures);
    }

    #[test]
    fn a_broken_cell_says_why_and_what_its_ledger_says() {
        let lost = ledger(|r| {
            r["ok"] = json!(false);
            r["violations"] = json!(["1 lost"]);
        });
        let broken = Some("no leader".to_owned());
        let outcome = judged(Seen { broken, ledger: Some(lost), ..Seen::default() });
        assert_eq!(outcome.failures, ["no leader", "beside the fault: 1 lost"]);
    }
}

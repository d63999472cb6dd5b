//! What of a leg makes it fail, and what is printed. Pure: what was seen goes in, words come out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use xtask::cluster::soak::{Percentiles, Report};

use super::pods::{Moment, Pair, Pod, ROLES, Record, Version};
use crate::chaos::verdict::of_ledger;

/// What a leg is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Every pod becomes one of the other version.
    Pods,
    /// The operator does, and no pod restarts.
    Operator,
}

/// What was seen on a leg.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The pods before.
    pub before: Vec<Pod>,
    /// The pods over the leg.
    pub record: Record,
    /// The pods at its end.
    pub after: Vec<Pod>,
    /// The ledger of the traffic beside it.
    pub ledger: Option<Report>,
    /// What of the album was not found afterwards.
    pub album: Option<String>,
    /// What kept the leg from its end.
    pub broken: Option<String>,
}

/// The result of a leg.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// What it was.
    pub leg: String,
    /// Whether it passed.
    pub passed: bool,
    /// Why not.
    pub failures: Vec<String>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Which pods served, and of which version, each time that it changed.
    pub moments: Vec<Moment>,
    /// The ledger.
    pub ledger: Option<Ledger>,
}

/// Of a ledger, what an upgrade is judged and remembered by.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Ledger {
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
    /// Sends that were answered with "again later".
    pub told_to_retry: u64,
    /// Connections that were made again.
    pub reconnects: u64,
    /// Intervals in which a conversation had a pending send and no ack.
    pub write_gap_ms: Percentiles,
    /// Those of them that people notice.
    pub interruption_ms: Percentiles,
}

impl Ledger {
    fn of(report: &Report) -> Self {
        Self {
            acked: report.acked,
            delivered: report.delivered,
            lost: report.lost,
            duplicated: report.duplicated,
            reordered: report.reordered,
            gaps: report.gaps,
            told_to_retry: report.told_to_retry,
            reconnects: report.reconnects,
            write_gap_ms: report.write_gap_ms,
            interruption_ms: report.interruption_ms,
        }
    }
}

/// Judges a leg to a version.
pub fn judge(
    leg: &str,
    (kind, to): (Kind, Version),
    pair: &Pair,
    seen: &Seen,
    seconds: f64,
) -> Outcome {
    let failures = failures((kind, to), pair, seen);
    Outcome {
        leg: leg.to_owned(),
        passed: failures.is_empty(),
        failures,
        seconds,
        moments: seen.record.moments.clone(),
        ledger: seen.ledger.as_ref().map(Ledger::of),
    }
}

fn failures((kind, to): (Kind, Version), pair: &Pair, seen: &Seen) -> Vec<String> {
    let mut failures: Vec<_> = seen.broken.iter().cloned().collect();
    match &seen.ledger {
        Some(ledger) => failures.extend(of_ledger("beside it", ledger)),
        None => failures.push("there is no ledger".to_owned()),
    }
    failures.extend(seen.album.iter().map(|wrong| format!("what was said before: {wrong}")));
    if seen.broken.is_some() {
        // What was not come to says nothing.
        return failures;
    }
    failures.extend(crashes(seen));
    match kind {
        Kind::Pods => failures.extend(of_pods(to, pair, seen)),
        Kind::Operator => failures.extend(of_operator(seen)),
    }
    failures
}

/// Processes that ended by themselves and were started again.
fn crashes(seen: &Seen) -> Option<String> {
    let before: BTreeMap<_, _> =
        seen.before.iter().map(|pod| (pod.uid.as_str(), pod.restarts)).collect();
    let new = seen.record.restarts.iter().map(|(uid, restarts)| {
        restarts.saturating_sub(before.get(uid.as_str()).copied().unwrap_or(0))
    });
    let new: u64 = new.sum();
    (new > 0).then(|| format!("{new} processes ended by themselves"))
}

fn of_pods(to: Version, pair: &Pair, seen: &Seen) -> Vec<String> {
    let mut failures = Vec::new();
    for (role, _) in ROLES {
        let were = seen.before.iter().filter(|pod| pod.role == role && pod.serves).count();
        // Owners are emptied and replaced in their places; of the others the next one is there first.
        let least = if role == "owner" { were.saturating_sub(1) } else { were };
        let fewest = seen.record.fewest(role);
        if fewest < least {
            failures.push(format!("{fewest} of {were} {role} pods served at once, {least} must"));
        }
        if !pair.differs(role) {
            continue;
        }
        if !seen.record.mixed(role) {
            failures.push(format!("no {role} pods of both versions served at once"));
        }
    }
    let others = pair.others(&seen.after, to);
    if !others.is_empty() {
        let names: Vec<_> = others.iter().map(|pod| pod.name.as_str()).collect();
        failures.push(format!("not of the version at the end: {}", names.join(", ")));
    }
    if pair.differs("edge") && seen.ledger.as_ref().is_some_and(|ledger| ledger.reconnects == 0) {
        failures.push("every edge was replaced, and no client connected again".to_owned());
    }
    failures
}

fn of_operator(seen: &Seen) -> Option<String> {
    let uids = |pods: &[Pod]| pods.iter().map(|pod| pod.uid.clone()).collect();
    let before: std::collections::BTreeSet<String> = uids(&seen.before);
    let new = seen.record.uids.difference(&before).count();
    let gone = before.difference(&uids(&seen.after)).count();
    (new + gone > 0).then(|| {
        format!("an operator alone restarts no pod, and this one made {new} and ended {gone}")
    })
}

/// The results, for a terminal.
pub fn page(outcomes: &[Outcome]) -> String {
    let mut page = String::new();
    for outcome in outcomes {
        let word = if outcome.passed { "passed" } else { "FAILED" };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "\n{}: {word}, {:.0} s", outcome.leg, outcome.seconds);
        for moment in &outcome.moments {
            let at = moment.at_ds;
            let _ = writeln!(page, "  [{:>4}.{} s] {moment}", at / 10, at % 10);
        }
        if let Some(ledger) = &outcome.ledger {
            let Ledger { acked, delivered, lost, duplicated, reordered, gaps, .. } = ledger;
            let _ = writeln!(
                page,
                "  acked {acked}, delivered {delivered}, lost {lost}, duplicated {duplicated}, \
                 reordered {reordered}, gaps {gaps}"
            );
            let (gap, pause) = (&ledger.write_gap_ms, &ledger.interruption_ms);
            let _ = writeln!(
                page,
                "  write gap p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms; {} interruptions, the longest \
                 {:.0} ms; {} sends put off, {} connections made again",
                gap.p50,
                gap.p99,
                gap.max,
                pause.count,
                pause.max,
                ledger.told_to_retry,
                ledger.reconnects,
            );
        }
        for failure in &outcome.failures {
            let _ = writeln!(page, "  - {failure}");
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::pods::tests::{pair, pod};
    use super::*;
    use crate::chaos::verdict::tests::ledger;

    fn all(owner: &str, others: &str) -> Vec<Pod> {
        vec![
            pod("c", "controlplane", others),
            pod("o-0", "owner", owner),
            pod("o-1", "owner", others),
            pod("e", "edge", others),
        ]
    }

    /// Every pod becomes an older one, as it should.
    fn back() -> Seen {
        let (pair, mut record) = (pair(), Record::default());
        let mut both = all("2", "2");
        both.extend([pod("c2", "controlplane", "1"), pod("e2", "edge", "1")]);
        for (at, pods) in [all("2", "2"), both, all("1", "2"), all("1", "1")].iter().enumerate() {
            record.take(&pair, pods, at as u64);
        }
        let (before, after) = (all("2", "2"), all("1", "1"));
        Seen { before, record, after, ledger: Some(ledger(|_| ())), ..Seen::default() }
    }

    fn judged(kind: Kind, seen: &Seen) -> Vec<String> {
        judge("leg", (kind, Version::Older), &pair(), seen, 1.0).failures
    }

    #[test]
    fn a_leg_on_which_everything_is_seen_passes() {
        assert_eq!(judged(Kind::Pods, &back()), [""; 0]);
        let same = all("2", "2");
        let mut record = Record::default();
        record.take(&pair(), &same, 0);
        let (before, after, ledger) = (same.clone(), same, Some(ledger(|_| ())));
        let rest = Seen { before, record, after, ledger, ..Seen::default() };
        assert_eq!(judged(Kind::Operator, &rest), [""; 0]);
        assert_eq!(judged(Kind::Operator, &back()).len(), 1, "pods restarted");
    }

    #[test]
    fn everything_that_is_wrong_fails_a_leg() {
        type Wrong = (&'static str, fn(&mut Seen));
        let wrong: [Wrong; 10] = [
            ("there is no ledger", |seen| seen.ledger = None),
            ("1 lost", |seen| {
                seen.ledger = Some(ledger(|report| {
                    report["ok"] = json!(false);
                    report["violations"] = json!(["1 lost"]);
                }));
            }),
            ("no client connected again", |seen| {
                seen.ledger = Some(ledger(|report| report["reconnects"] = json!(0)));
            }),
            ("no owner pods of both", |seen| drop(seen.record.moments.remove(2))),
            ("no edge pods of both", |seen| drop(seen.record.moments.remove(1))),
            ("0 of 2 owner pods", |seen| {
                let owners = seen.record.moments[0].serving.get_mut("owner").unwrap();
                owners.newer = 0;
            }),
            ("0 of 1 edge pods", |seen| {
                seen.record.moments[0].serving.get_mut("edge").unwrap().newer = 0;
            }),
            ("not of the version at the end: o-0", |seen| seen.after[1].image = "x:3".to_owned()),
            ("1 processes ended by themselves", |seen| {
                seen.record.restarts.insert("o-0-1".to_owned(), 1);
            }),
            ("what was said before", |seen| seen.album = Some("a line is gone".to_owned())),
        ];
        for (word, change) in wrong {
            let mut seen = back();
            change(&mut seen);
            let failures = judged(Kind::Pods, &seen).join("; ");
            assert!(failures.contains(word), "{word}: {failures}");
        }
    }

    #[test]
    fn a_leg_that_broke_says_why_and_what_its_ledger_says() {
        let broken = Some("no operator".to_owned());
        let failures = judged(Kind::Pods, &Seen { broken, ..Seen::default() });
        assert_eq!(failures, ["no operator", "there is no ledger"]);
    }

    #[test]
    fn the_page_has_the_proof_and_the_ledger() {
        let outcome = judge("pods back", (Kind::Pods, Version::Older), &pair(), &back(), 61.0);
        let page = page(&[outcome]);
        assert!(page.contains("pods back: passed, 61 s"), "{page}");
        assert!(page.contains("owner 1 older 1 newer"), "{page}");
        assert!(page.contains("acked 100, delivered 100, lost 0"), "{page}");
    }
}

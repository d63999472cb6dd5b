//! The result of a run: one JSON object, or a page for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::board::Events;
use super::groups::Plan;
use super::groups::ledger::GroupCounts;
use super::latency::{Latencies, Percentiles, ms};
use super::ledger::{Counts, INTERRUPTION_US, Measured};
use super::waits::Longest;

/// Later than this at the 99th percentile, and the generator was part of what was measured.
const LAG_MS_MAX: f64 = 25.0;

/// What was asked for, and how the generator did.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) servers: Vec<String>,
    pub(super) pairs: u32,
    /// Devices that only read, and slowly.
    pub(super) slow: usize,
    /// Connections that devices gave up and made again.
    pub(super) churned: u64,
    pub(super) connections: u32,
    pub(super) rate: f64,
    pub(super) payload_bytes: u32,
    pub(super) interrupted: bool,
    pub(super) offered: u64,
    /// From the first message to the last, in microseconds.
    pub(super) sending_us: u64,
    /// How late messages were given to the clients.
    pub(super) lag: Percentiles,
    /// Times that a client took no message at once.
    pub(super) held_back: u64,
    pub(super) cpu_us: u64,
    /// Connections after the first of each device.
    pub(super) reconnects: u64,
    pub(super) longest: Longest,
}

/// See the module.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) ok: bool,
    violations: Vec<String>,
    servers: Vec<String>,
    pairs: u32,
    slow: usize,
    churned: u64,
    connections: u32,
    payload_bytes: u32,
    duration_s: f64,
    interrupted: bool,
    offered: u64,
    submitted: u64,
    acked: u64,
    delivered: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    gaps: u64,
    missed: u64,
    damaged: u64,
    unexpected: u64,
    misanswered: u64,
    receipts_missing: u64,
    undecided: u64,
    refused: u64,
    noticed: u64,
    rate: Rates,
    write_gap_ms: Percentiles,
    interruption_ms: Percentiles,
    interruption_from_ms: u64,
    outage_ms: Percentiles,
    ack_ms: Percentiles,
    e2e_ms: Percentiles,
    longest_wait_ms: f64,
    longest_offline_ms: f64,
    told_to_retry: u64,
    retries: BTreeMap<String, u64>,
    refusals: BTreeMap<String, u64>,
    reconnects: u64,
    disconnects: BTreeMap<String, u64>,
    stopped: Vec<String>,
    own_copies: u64,
    foreign: u64,
    generator: Generator,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<GroupReport>,
}

/// What became of messages to groups.
#[derive(Debug, Serialize)]
pub(super) struct GroupReport {
    groups: usize,
    size: usize,
    online: usize,
    messages: u64,
    acked: u64,
    deliveries: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    gaps: u64,
    refused: u64,
    undecided: u64,
    unexpected: u64,
    e2e_ms: Percentiles,
}

impl GroupReport {
    /// `device_gaps` are those that devices found; the ledger counts them too.
    pub(super) fn new(
        plan: &Plan,
        counts: &GroupCounts,
        e2e: &Latencies,
        device_gaps: u64,
    ) -> Self {
        Self {
            groups: plan.groups,
            size: plan.size(),
            online: plan.online,
            messages: counts.messages,
            acked: counts.acked,
            deliveries: counts.deliveries,
            lost: counts.lost,
            duplicated: counts.duplicated,
            reordered: counts.reordered,
            gaps: counts.gaps.max(device_gaps),
            refused: counts.refused,
            undecided: counts.undecided,
            unexpected: counts.unexpected,
            e2e_ms: e2e.percentiles(),
        }
    }

    /// Everything that makes a run fail.
    fn violations(&self) -> Vec<String> {
        let found = [
            (self.lost, "lost"),
            (self.duplicated, "duplicated"),
            (self.reordered, "reordered"),
            (self.gaps, "gaps"),
            (self.refused, "refused"),
            (self.undecided, "without an answer"),
            (self.unexpected, "that should not have arrived"),
        ];
        let found = found.into_iter().filter(|(count, _)| *count > 0);
        let mut violations: Vec<_> =
            found.map(|(count, what)| format!("in groups: {count} {what}")).collect();
        if self.acked == 0 || self.deliveries == 0 {
            violations.push("in groups: no traffic".to_owned());
        }
        violations
    }

    fn for_people(&self) -> String {
        let Percentiles { p50, p99, max, .. } = self.e2e_ms;
        format!(
            "{} of {} members, {} of them there: {} messages, {} deliveries, {} lost, {} duplicated, \
             {} reordered, {} gaps; p50 {p50:.1}  p99 {p99:.1}  max {max:.1} ms",
            self.groups,
            self.size,
            self.online,
            self.messages,
            self.deliveries,
            self.lost,
            self.duplicated,
            self.reordered,
            self.gaps,
        )
    }
}

/// Messages in a second.
#[derive(Debug, Serialize)]
struct Rates {
    wanted: f64,
    submitted: f64,
    acked: f64,
    delivered: f64,
}

/// Whether the generator itself was fast enough.
#[derive(Debug, Serialize)]
struct Generator {
    bottleneck: bool,
    lag_ms: Percentiles,
    held_back: u64,
    cpu_cores: f64,
}

impl Report {
    pub(super) fn new(
        run: Run,
        counts: &Counts,
        measured: &Measured,
        events: Events,
        groups: Option<GroupReport>,
    ) -> Self {
        let mut violations = violations(counts, &events);
        violations.extend(groups.iter().flat_map(GroupReport::violations));
        let seconds = (ms(run.sending_us) / 1000.0).max(0.001);
        let per_second = |count: u64| rounded(ms(count) * 1000.0 / seconds);
        let lag = run.lag;
        Self {
            ok: violations.is_empty(),
            violations,
            servers: run.servers,
            pairs: run.pairs,
            slow: run.slow,
            churned: run.churned,
            connections: run.connections,
            payload_bytes: run.payload_bytes,
            duration_s: rounded(seconds),
            interrupted: run.interrupted,
            offered: run.offered,
            submitted: counts.submitted,
            acked: counts.acked,
            delivered: counts.delivered,
            lost: counts.lost,
            duplicated: counts.duplicated,
            reordered: counts.reordered,
            gaps: events.gaps,
            missed: events.missed,
            damaged: events.damaged,
            unexpected: counts.unexpected,
            misanswered: counts.misanswered,
            receipts_missing: events.receipts_missing,
            undecided: counts.undecided,
            refused: counts.refused,
            noticed: counts.noticed,
            rate: Rates {
                wanted: run.rate,
                submitted: per_second(counts.submitted),
                acked: per_second(counts.acked),
                delivered: per_second(counts.delivered),
            },
            write_gap_ms: measured.gap.percentiles(),
            interruption_ms: measured.interruption.percentiles(),
            interruption_from_ms: INTERRUPTION_US / 1000,
            outage_ms: measured.outage.percentiles(),
            ack_ms: measured.ack.percentiles(),
            e2e_ms: measured.e2e.percentiles(),
            longest_wait_ms: ms(run.longest.answer_us),
            longest_offline_ms: ms(run.longest.connection_us),
            told_to_retry: events.retries.values().sum(),
            retries: events.retries,
            refusals: events.refusals,
            reconnects: run.reconnects,
            disconnects: events.disconnects,
            stopped: events.stopped,
            own_copies: events.copies,
            foreign: events.foreign,
            groups,
            generator: Generator {
                bottleneck: lag.p99 > LAG_MS_MAX,
                lag_ms: lag,
                held_back: run.held_back,
                cpu_cores: rounded(ms(run.cpu_us) / 1000.0 / seconds),
            },
        }
    }

    pub(super) fn for_people(&self) -> String {
        let mut page = String::new();
        let mut line = |name: &str, text: String| {
            // A String takes everything.
            let _written = writeln!(page, "{name:<14}{text}").is_ok();
        };
        line(
            "messages",
            format!(
                "{} sent, {} acknowledged, {} delivered in {:.0} s",
                self.submitted, self.acked, self.delivered, self.duration_s
            ),
        );
        line(
            "rate",
            format!("{:.0}/s wanted, {:.0}/s acknowledged", self.rate.wanted, self.rate.acked),
        );
        line(
            "ledger",
            format!(
                "{} lost, {} duplicated, {} reordered, {} gaps, {} undecided, {} refused",
                self.lost, self.duplicated, self.reordered, self.gaps, self.undecided, self.refused
            ),
        );
        for (name, found) in
            [("ack", self.ack_ms), ("end to end", self.e2e_ms), ("write gap", self.write_gap_ms)]
        {
            let Percentiles { p50, p99, p999, max, .. } = found;
            line(name, format!("p50 {p50:.1}  p99 {p99:.1}  p99.9 {p999:.1}  max {max:.1} ms"));
        }
        if let Some(groups) = &self.groups {
            line("groups", groups.for_people());
        }
        let Percentiles { count, p50, max, .. } = self.interruption_ms;
        line("interruptions", format!("{count} of 100 ms or more, p50 {p50:.0}  max {max:.0} ms"));
        let Percentiles { count, p50, p99, max, .. } = self.outage_ms;
        line("outages", format!("{count}, p50 {p50:.0}  p99 {p99:.0}  max {max:.0} ms"));
        line(
            "waits",
            format!(
                "{:.0} ms at most for any answer, {:.0} ms for a connection; told to retry {} times",
                self.longest_wait_ms, self.longest_offline_ms, self.told_to_retry
            ),
        );
        line("connections", format!("{}, made again {} times", self.connections, self.reconnects));
        for (name, found) in
            [("retries", &self.retries), ("refusals", &self.refusals), ("lost", &self.disconnects)]
        {
            let found: Vec<_> = found.iter().map(|(code, n)| format!("{code}: {n}")).collect();
            if !found.is_empty() {
                line(name, found.join(", "));
            }
        }
        let Generator { bottleneck, lag_ms, cpu_cores, .. } = &self.generator;
        let verdict = if *bottleneck { "TOO SLOW: the latencies are partly its own" } else { "ok" };
        line("generator", format!("{verdict}; p99 {:.1} ms late, {cpu_cores} cores", lag_ms.p99));
        line("verdict", if self.ok { "ok".to_owned() } else { self.violations.join("; ") });
        page.trim_end().to_owned()
    }
}

/// Everything that makes a run fail.
fn violations(counts: &Counts, events: &Events) -> Vec<String> {
    let found = [
        (counts.lost, "lost"),
        (counts.duplicated, "duplicated"),
        (counts.reordered, "reordered"),
        (counts.undecided, "without an answer"),
        (counts.unexpected, "arrived that should not have"),
        (counts.misanswered, "answers to nothing"),
        (events.receipts_missing, "writers not told of what arrived"),
        (events.gaps, "gaps in an inbox"),
        (events.missed, "inboxes that went on elsewhere"),
        (events.damaged, "damaged on their way"),
        (events.stopped.len() as u64, "devices gave up"),
    ];
    let found = found.into_iter().filter(|(count, _)| *count > 0);
    let mut violations: Vec<_> = found.map(|(count, what)| format!("{count} {what}")).collect();
    if counts.acked == 0 || counts.delivered == 0 {
        violations.push("no traffic".to_owned());
    }
    violations
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Counts {
        Counts { submitted: 5, acked: 5, delivered: 5, ..Counts::default() }
    }

    #[test]
    fn a_run_without_traffic_is_no_success() {
        assert!(violations(&good(), &Events::default()).is_empty());
        assert_eq!(violations(&Counts::default(), &Events::default()), ["no traffic"]);
        let counts = Counts { delivered: 0, ..good() };
        assert_eq!(violations(&counts, &Events::default()), ["no traffic"]);
    }

    #[test]
    fn every_violation_in_a_group_fails_a_run() {
        let good = GroupCounts { messages: 5, acked: 5, deliveries: 20, ..GroupCounts::default() };
        let plan = Plan { groups: 1, online: 4, silent: 0, connected: 4 };
        let found = |counts: &GroupCounts, gaps| {
            GroupReport::new(&plan, counts, &Latencies::default(), gaps).violations()
        };
        assert!(found(&good, 0).is_empty());
        assert_eq!(found(&good, 1), ["in groups: 1 gaps"], "a device saw what the ledger did not");
        let set: [fn(&mut GroupCounts); 8] = [
            |c| c.lost = 1,
            |c| c.duplicated = 1,
            |c| c.reordered = 1,
            |c| c.gaps = 1,
            |c| c.refused = 1,
            |c| c.undecided = 1,
            |c| c.unexpected = 1,
            |c| c.deliveries = 0,
        ];
        for set in set {
            let mut counts = good;
            set(&mut counts);
            assert_eq!(found(&counts, 0).len(), 1, "{counts:?}");
        }
    }

    #[test]
    fn every_violation_fails_a_run() {
        let set: [fn(&mut Counts); 6] = [
            |c| c.lost = 1,
            |c| c.duplicated = 1,
            |c| c.reordered = 1,
            |c| c.undecided = 1,
            |c| c.unexpected = 1,
            |c| c.misanswered = 1,
        ];
        for set in set {
            let mut counts = good();
            set(&mut counts);
            assert_eq!(violations(&counts, &Events::default()).len(), 1, "{counts:?}");
        }
        for events in [
            Events { receipts_missing: 1, ..Events::default() },
            Events { gaps: 1, ..Events::default() },
            Events { missed: 1, ..Events::default() },
            Events { damaged: 1, ..Events::default() },
            Events { stopped: vec![String::new()], ..Events::default() },
        ] {
            assert_eq!(violations(&good(), &events).len(), 1, "{events:?}");
        }
    }
}

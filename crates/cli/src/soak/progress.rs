//! How a run goes, in a line every few seconds.

use super::board::State;
use super::ledger::Counts;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Progress {
    before: Counts,
    at_us: u64,
}

impl Progress {
    /// Of a run that begins now.
    pub(super) fn starting(at_us: u64) -> Self {
        Self { before: Counts::default(), at_us }
    }

    /// A line for people about the time since the last one.
    pub(super) fn line(&mut self, state: &mut State, now_us: u64) -> String {
        let counts = state.ledger.counts();
        let passed = super::latency::ms(now_us.saturating_sub(self.at_us)) / 1000.0;
        let per_second = |now: u64, before: u64| {
            let count = u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
            f64::from(count) / passed.max(0.001)
        };
        let acks = state.ledger.take_recent_acks().percentiles();
        let retries: u64 = state.events.retries.values().sum();
        let under_way = counts.submitted - counts.acked - counts.refused;
        let line = format!(
            "{:6.1}s  sent {:.0}/s  acked {:.0}/s  delivered {:.0}/s  unanswered {under_way}  \
             ack p50 {:.1} p99 {:.1} max {:.1} ms  retries {retries}  connections lost {}{}",
            super::latency::ms(now_us) / 1000.0,
            per_second(counts.submitted, self.before.submitted),
            per_second(counts.acked, self.before.acked),
            per_second(counts.delivered, self.before.delivered),
            acks.p50,
            acks.p99,
            acks.max,
            state.events.disconnects.values().sum::<u64>(),
            trouble(&counts),
        );
        (self.before, self.at_us) = (counts, now_us);
        line
    }
}

fn trouble(counts: &Counts) -> String {
    let found = [
        ("DUPLICATED", counts.duplicated),
        ("REORDERED", counts.reordered),
        ("UNEXPECTED", counts.unexpected),
        ("MISANSWERED", counts.misanswered),
        ("refused", counts.refused),
    ];
    let found = found.into_iter().filter(|(_, count)| *count > 0);
    found.map(|(name, count)| format!("  {name} {count}")).collect()
}

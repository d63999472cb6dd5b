//! Latencies and their percentiles.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longer ones count as this long: ten minutes.
const MAX_US: u64 = 600_000_000;

/// How long things took, in microseconds, to three digits.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
    sum_us: u64,
}

/// What is told of them, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many.
    pub count: u64,
    /// Half of them took no longer.
    pub p50: f64,
    /// Nine in ten took no longer.
    pub p90: f64,
    /// All but one in a hundred took no longer.
    pub p99: f64,
    /// All but one in a thousand took no longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, MAX_US, 3);
        Self { histogram: histogram.expect("the bounds are good for three digits"), sum_us: 0 }
    }
}

impl Latencies {
    /// One more.
    pub fn record(&mut self, us: u64) {
        let us = us.clamp(1, MAX_US);
        self.histogram.saturating_record(us);
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The latency that a share of `percent` does not exceed, in milliseconds; 0 of none.
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        if self.histogram.is_empty() {
            0.0
        } else {
            ms(self.histogram.value_at_percentile(percent))
        }
    }

    /// What is told of them.
    pub fn percentiles(&self) -> Percentiles {
        let count = self.count();
        let max = if count == 0 { 0 } else { self.histogram.max() };
        Percentiles {
            count,
            p50: self.percentile_ms(50.0),
            p90: self.percentile_ms(90.0),
            p99: self.percentile_ms(99.0),
            p999: self.percentile_ms(99.9),
            max: ms(max),
            mean: ms(self.sum_us.checked_div(count).unwrap_or(0)),
        }
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.histogram.clear();
        self.sum_us = 0;
    }
}

/// Milliseconds with three digits behind the point.
#[allow(clippy::cast_precision_loss, reason = "microseconds of a run are exact in an f64")]
pub(crate) fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected * 0.002 + 0.001
    }

    #[test]
    fn percentiles_of_a_known_set() {
        let mut latencies = Latencies::default();
        // 1 ms to 1000 ms, in no order.
        (1..=1000u64).for_each(|n| latencies.record(n * 10 % 1001 * 1000));
        let told = latencies.percentiles();
        assert_eq!(told.count, 1000);
        for (found, expected) in [
            (told.p50, 500.0),
            (told.p90, 900.0),
            (told.p99, 990.0),
            (told.p999, 999.0),
            (told.max, 1000.0),
            (told.mean, 500.5),
        ] {
            assert!(near(found, expected), "{found} {expected}");
        }
    }

    #[test]
    fn one_slow_answer_in_a_hundred_is_seen() {
        let mut latencies = Latencies::default();
        (0..99).for_each(|_| latencies.record(2_000));
        latencies.record(5_000_000);
        let told = latencies.percentiles();
        assert!(near(told.p50, 2.0) && near(told.p99, 2.0) && near(told.max, 5000.0), "{told:?}");
        assert!(near(told.p999, 5000.0), "{told:?}");
    }

    #[test]
    fn nothing_and_too_much() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentiles().max, 0.0);
        assert_eq!(latencies.percentile_ms(99.0), 0.0);
        latencies.record(u64::MAX);
        latencies.record(0);
        assert!(near(latencies.percentiles().max, 600_000.0));
        latencies.clear();
        assert_eq!(latencies.count(), 0);
    }
}

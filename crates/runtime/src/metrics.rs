//! A registry that components register their metrics in, and its exposition as text.
//!
//! Each component has a struct of documented fields, made by a constructor that takes [`Metrics`].
//! Labels are enums or pod names, never users.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Upper bounds of latency histograms, in seconds: 0.25 ms to 8 s, doubling.
pub const LATENCY_BUCKETS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0,
    2.0, 4.0, 8.0,
];

/// Where metrics are registered. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    registry: Registry,
}

/// Metric names are constants: a clash is a mistake in the program, found by its first test.
const UNIQUE: &str = "metric names are valid and registered once";

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// A counter.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        let metric = IntCounter::new(name, help).expect(UNIQUE);
        self.registry.register(Box::new(metric.clone())).expect(UNIQUE);
        metric
    }

    /// Counters by label.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let metric = IntCounterVec::new(Opts::new(name, help), labels).expect(UNIQUE);
        self.registry.register(Box::new(metric.clone())).expect(UNIQUE);
        metric
    }

    /// A gauge.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let metric = IntGauge::new(name, help).expect(UNIQUE);
        self.registry.register(Box::new(metric.clone())).expect(UNIQUE);
        metric
    }

    /// Gauges by label.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let metric = IntGaugeVec::new(Opts::new(name, help), labels).expect(UNIQUE);
        self.registry.register(Box::new(metric.clone())).expect(UNIQUE);
        metric
    }

    /// A histogram with the given upper bounds.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let metric = Histogram::with_opts(opts).expect(UNIQUE);
        self.registry.register(Box::new(metric.clone())).expect(UNIQUE);
        metric
    }

    /// Histograms by label.
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let metric = HistogramVec::new(opts, labels).expect(UNIQUE);
        self.registry.register(Box::new(metric.clone())).expect(UNIQUE);
        metric
    }

    /// Everything, in Prometheus' text format.
    pub fn expose(&self) -> String {
        let encoder = prometheus::TextEncoder::new();
        encoder.encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "metrics cannot be encoded");
            String::new()
        })
    }
}

//! What a control plane counts.

use iris_runtime::metrics::{LATENCY_BUCKETS, Metrics};
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

/// Metrics of a control plane.
#[derive(Debug, Clone)]
pub struct ControlMetrics {
    /// 1 while this replica leads.
    pub leading: IntGauge,
    /// Live sessions.
    pub sessions: IntGauge,
    /// Sessions declared dead, by why.
    pub deaths: IntCounterVec,
    /// Shards that nobody serves.
    pub unserved: IntGauge,
    /// Assignments written.
    pub assignments: IntCounter,
    /// Moves, by how they ended.
    pub moves: IntCounterVec,
    /// Write gap of moves.
    pub move_s: Histogram,
    /// Followers of the routes.
    pub followers: IntGauge,
}

impl ControlMetrics {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            leading: metrics.gauge("iris_control_leading", "1 while this replica leads"),
            sessions: metrics.gauge("iris_control_sessions", "Live owner sessions"),
            deaths: metrics.counters(
                "iris_control_deaths_total",
                "Sessions declared dead",
                &["why"],
            ),
            unserved: metrics.gauge("iris_control_unserved_shards", "Shards that nobody serves"),
            assignments: metrics.counter("iris_control_assignments_total", "Assignments written"),
            moves: metrics.counters("iris_control_moves_total", "Moves by outcome", &["outcome"]),
            move_s: metrics.histogram(
                "iris_control_move_seconds",
                "Write gap of moves",
                &LATENCY_BUCKETS,
            ),
            followers: metrics.gauge("iris_control_followers", "Followers of the routes"),
        }
    }
}

//! What an edge counts.

use iris_runtime::metrics::{LATENCY_BUCKETS, Metrics};
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

/// Metrics of an edge.
#[derive(Debug, Clone)]
pub(super) struct EdgeMetrics {
    /// Client connections now.
    pub(super) connections: IntGauge,
    /// TLS handshakes, by outcome: done, failed, refused.
    pub(super) handshakes: IntCounterVec,
    /// HELLOs, by outcome: a code, or 0.
    pub(super) hellos: IntCounterVec,
    /// From the first byte of HELLO to WELCOME.
    pub(super) welcome_s: Histogram,
    /// Frames read from clients.
    pub(super) frames_in: IntCounter,
    /// Frames written to clients.
    pub(super) frames_out: IntCounter,
    /// Bytes written to clients.
    pub(super) bytes_out: IntCounter,
    /// Connections ended, by code.
    pub(super) closed: IntCounterVec,
    /// Attachments to owners, by cause: first, moved, lost.
    pub(super) attaches: IntCounterVec,
    /// Clients told to send again, because their owner went away.
    pub(super) resends: IntCounter,
    /// Frames of owners that came before their answer to the attach.
    pub(super) early_frames: IntCounter,
    /// Calls of the HTTPS interface, by path and status.
    pub(super) requests: IntCounterVec,
    /// Streams to owners that are open.
    pub(super) links: IntGauge,
    /// Clients asked to leave.
    pub(super) drained: IntCounter,
}

impl EdgeMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let counter = |name, help| metrics.counter(name, help);
        Self {
            connections: metrics.gauge("iris_edge_connections", "Client connections"),
            handshakes: metrics.counters(
                "iris_edge_handshakes_total",
                "TLS handshakes by outcome",
                &["outcome"],
            ),
            hellos: metrics.counters("iris_edge_hellos_total", "HELLOs by code", &["code"]),
            welcome_s: metrics.histogram(
                "iris_edge_welcome_seconds",
                "From HELLO to WELCOME",
                &LATENCY_BUCKETS,
            ),
            frames_in: counter("iris_edge_frames_in_total", "Frames read from clients"),
            frames_out: counter("iris_edge_frames_out_total", "Frames written to clients"),
            bytes_out: counter("iris_edge_bytes_out_total", "Bytes written to clients"),
            closed: metrics.counters("iris_edge_closed_total", "Connections ended", &["code"]),
            attaches: metrics.counters("iris_edge_attaches_total", "Attachments", &["cause"]),
            early_frames: counter(
                "iris_edge_early_frames_total",
                "Frames that overtook a greeting",
            ),
            resends: counter("iris_edge_resends_total", "Clients told to send again"),
            requests: metrics.counters(
                "iris_edge_requests_total",
                "HTTPS requests",
                &["path", "status"],
            ),
            links: metrics.gauge("iris_edge_links", "Open streams to owners"),
            drained: counter("iris_edge_drained_total", "Clients asked to leave"),
        }
    }
}

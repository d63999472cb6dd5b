//! What an owner counts.

use iris_runtime::metrics::{LATENCY_BUCKETS, Metrics};
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

/// Upper bounds of the histogram of entries in a block.
const ENTRIES_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Metrics of an owner.
#[derive(Debug, Clone)]
pub(super) struct OwnerMetrics {
    /// Blocks written to the session log: one row and one commit-log sync each.
    pub(super) blocks: IntCounter,
    /// Entries in them.
    pub(super) entries: IntCounter,
    /// Bytes in them.
    pub(super) block_bytes: IntCounter,
    /// Entries in each block.
    pub(super) block_entries: Histogram,
    /// From forming a block to the end of its write.
    pub(super) write_s: Histogram,
    /// Writes of blocks that had to be tried again.
    pub(super) write_retries: IntCounter,
    /// Fence reads, by outcome: none, fenced, failed.
    pub(super) fence_reads: IntCounterVec,
    /// Duration of fence reads.
    pub(super) fence_s: Histogram,
    /// Messages accepted from senders.
    pub(super) accepted: IntCounter,
    /// Messages given a place in a recipient's inbox.
    pub(super) received: IntCounter,
    /// Messages that groups took: each has a place in its group's order.
    pub(super) group_messages: IntCounter,
    /// Places given to them in the inboxes of members.
    pub(super) group_places: IntCounter,
    /// Receipts decided: what devices have and people read, coalesced.
    pub(super) marked: IntCounter,
    /// Sends refused for good.
    pub(super) refused: IntCounter,
    /// Sends put off, by code.
    pub(super) put_off: IntCounterVec,
    /// Places handed to connections.
    pub(super) delivered: IntCounter,
    /// Derived rows written.
    pub(super) derived_rows: IntCounter,
    /// Flushes, by outcome: written, failed.
    pub(super) flushes: IntCounterVec,
    /// Items pushed to other sessions.
    pub(super) pushed: IntCounter,
    /// Shards in service.
    pub(super) shards: IntGauge,
    /// Accounts in memory.
    pub(super) accounts: IntGauge,
    /// Attached connections.
    pub(super) connections: IntGauge,
    /// How long the oldest unreleased block waits.
    pub(super) oldest_pending_ms: IntGauge,
    /// Shards acquired, by how: fresh, released, takeover.
    pub(super) acquired: IntCounterVec,
    /// Duration of acquisitions, from when they are ordered.
    pub(super) acquire_s: Histogram,
    /// Shards released in planned moves.
    pub(super) released: IntCounter,
    /// From the end of admission to the target's claim, in planned moves.
    pub(super) move_s: Histogram,
    /// Sessions that this one fenced and sealed.
    pub(super) takeovers: IntCounter,
    /// What cannot be understood, by what: account, group, item, log, inbox, group_log;
    /// input: what a session panicked over.
    pub(super) damaged: IntCounterVec,
    /// Protocol errors of clients.
    pub(super) protocol_errors: IntCounter,
    /// Streams given up because the other side did not read.
    pub(super) streams_given_up: IntCounter,
}

impl OwnerMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let counter = |name, help| metrics.counter(name, help);
        let latency = |name, help| metrics.histogram(name, help, &LATENCY_BUCKETS);
        Self {
            blocks: counter("iris_log_blocks_total", "Blocks (rows) written to the session log"),
            entries: counter("iris_log_entries_total", "Entries written to the session log"),
            block_bytes: counter("iris_log_bytes_total", "Bytes written to the session log"),
            block_entries: metrics.histogram(
                "iris_log_block_entries",
                "Entries in each block",
                &ENTRIES_BUCKETS,
            ),
            write_s: latency("iris_log_write_seconds", "Duration of writes of blocks"),
            write_retries: counter("iris_log_write_retries_total", "Writes of blocks tried again"),
            fence_reads: metrics.counters(
                "iris_fence_reads_total",
                "Fence reads by outcome",
                &["outcome"],
            ),
            fence_s: latency("iris_fence_read_seconds", "Duration of fence reads"),
            accepted: counter("iris_messages_accepted_total", "Messages accepted from senders"),
            received: counter("iris_messages_received_total", "Messages placed in inboxes"),
            group_messages: counter("iris_group_messages_total", "Messages that groups took"),
            group_places: counter(
                "iris_group_places_total",
                "Places of groups' messages in the inboxes of members",
            ),
            marked: counter("iris_receipts_total", "Receipts decided, coalesced"),
            refused: counter("iris_messages_refused_total", "Sends refused for good"),
            put_off: metrics.counters("iris_sends_put_off_total", "Sends put off", &["code"]),
            delivered: counter("iris_deliveries_total", "Places handed to connections"),
            derived_rows: counter("iris_derived_rows_total", "Derived rows written"),
            flushes: metrics.counters("iris_flushes_total", "Flushes by outcome", &["outcome"]),
            pushed: counter("iris_outbox_pushed_total", "Items pushed to other sessions"),
            shards: metrics.gauge("iris_owner_shards", "Shards in service"),
            accounts: metrics.gauge("iris_owner_accounts", "Accounts in memory"),
            connections: metrics.gauge("iris_owner_connections", "Attached connections"),
            oldest_pending_ms: metrics
                .gauge("iris_log_oldest_pending_ms", "Age of the oldest unreleased block"),
            acquired: metrics.counters("iris_shards_acquired_total", "Shards acquired", &["how"]),
            acquire_s: latency(
                "iris_shard_acquire_seconds",
                "Duration of acquisitions, from when they are ordered",
            ),
            released: counter("iris_shards_released_total", "Shards released in planned moves"),
            move_s: latency("iris_shard_move_seconds", "Write gap of planned moves"),
            takeovers: counter("iris_takeovers_total", "Sessions fenced and sealed by this one"),
            damaged: metrics.counters(
                "iris_damaged_total",
                "Times that something stored or sent could not be understood",
                &["what"],
            ),
            protocol_errors: counter("iris_protocol_errors_total", "Protocol errors of clients"),
            streams_given_up: counter("iris_streams_given_up_total", "Streams that did not read"),
        }
    }
}

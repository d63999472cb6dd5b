//! The suite, and what it leaves behind in the tables.

use std::collections::BTreeMap;

use iris_core::clock::LogicalTimestamp;
use iris_store::conformance;
use iris_testing::Cassandra;
use scylla::client::session::Session;

use crate::raw;

/// What is derived from the log, and nothing else. `conversation_index` is one of these: its rows have
/// keys and no values.
const DERIVED: [&str; 8] = [
    "account_state",
    "group_log",
    "group_member",
    "group_state",
    "inbox",
    "outbox",
    "shard_checkpoint",
    "shard_peer",
];
/// Values that not every row has.
const SOMETIMES: [&str; 4] = [
    "account_state.memberships",
    "account_state.relations",
    "group_log.expiring",
    "inbox.expiring",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cassandra_conforms_and_no_derived_cell_is_without_a_logical_timestamp() {
    let node = Cassandra::shared().await.unwrap();
    let store = node.store("conforms").await.unwrap();
    for seed in [1, 2] {
        let report = conformance::run(&store, seed).await;
        report.verdict().unwrap();
        assert_eq!(report.passed.len(), conformance::cases().len());
    }
    let session = raw::session(node).await;
    derived_cells_have_logical_timestamps(&session).await;
    marks_are_their_own_timestamps(&session).await;
    log_rows_have_the_time_they_were_written_at(&session).await;
    every_table_is_known(&session).await;
}

/// Reads the write timestamp of every cell of every derived table.
async fn derived_cells_have_logical_timestamps(session: &Session) {
    let mut seen = BTreeMap::new();
    for table in DERIVED {
        for column in value_columns(session, table).await {
            let cql = format!("SELECT WRITETIME({column}) FROM conforms.{table}");
            let stamps = raw::rows::<(Option<i64>,)>(session, &cql).await;
            let name = format!("{table}.{column}");
            let written: Vec<_> = stamps.iter().filter_map(|(stamp,)| *stamp).collect();
            assert!(!written.is_empty(), "the suite wrote no {name}");
            let all = written.len() == stamps.len() || SOMETIMES.contains(&name.as_str());
            assert!(all, "an empty {name}");
            for stamp in &written {
                check_logical(table, &column, *stamp);
            }
            seen.insert(name, written.len());
        }
    }
    assert_eq!(seen.len(), 16, "every column was looked at: {seen:?}");
}

/// A mark only grows, whatever order its writes arrive in.
async fn marks_are_their_own_timestamps(session: &Session) {
    let columns = value_columns(session, "conversation_mark").await;
    assert_eq!(columns.len(), 4, "{columns:?}");
    for column in columns {
        let cql = format!("SELECT {column}, WRITETIME({column}) FROM conforms.conversation_mark");
        let cells = raw::rows::<(Option<i64>, Option<i64>)>(session, &cql).await;
        assert!(cells.iter().any(|(value, _)| value.is_some()), "the suite wrote no {column}");
        assert!(cells.iter().all(|(value, written)| value == written), "{column}: {cells:?}");
    }
}

/// Not one of the suite's timestamps is near those of a clock, which would be epoch 26,000 or so.
fn check_logical(table: &str, column: &str, stamp: i64) {
    let home_gen = stamp >> 56;
    let epoch = u32::try_from(stamp >> 36 & 0xf_ffff).unwrap();
    let position = u64::try_from(stamp).unwrap() & LogicalTimestamp::POS_MAX;
    let written = (1..=9).contains(&epoch) || epoch == LogicalTimestamp::EPOCH_MAX;
    assert!(
        written && (0..=1).contains(&home_gen),
        "{table}.{column} carries {stamp}: home {home_gen}, epoch {epoch}, position {position}"
    );
}

async fn value_columns(session: &Session, table: &str) -> Vec<String> {
    let cql = format!(
        "SELECT column_name, kind FROM system_schema.columns \
         WHERE keyspace_name = 'conforms' AND table_name = '{table}'"
    );
    let columns = raw::rows::<(String, String)>(session, &cql).await;
    let values = columns.into_iter().filter(|(_, kind)| kind == "regular" || kind == "static");
    values.map(|(name, _)| name).collect()
}

async fn log_rows_have_the_time_they_were_written_at(session: &Session) {
    let now = raw::rows::<(i64,)>(session, "SELECT toUnixTimestamp(now()) FROM system.local").await;
    let now_us = now[0].0 * 1000;
    let cql = "SELECT WRITETIME(block), TTL(block) FROM conforms.session_log";
    let blocks = raw::rows::<(Option<i64>, Option<i32>)>(session, cql).await;
    assert!(blocks.len() > 500, "{} blocks", blocks.len());
    for (written, ttl) in blocks {
        let age_s = (now_us - written.unwrap()) / 1_000_000;
        assert!((0..600).contains(&age_s), "a block of {age_s} s ago");
        assert!((250_000..=259_200).contains(&ttl.unwrap()), "a block with {ttl:?} s to live");
    }
    for (table, column) in [("inbox", "run"), ("group_log", "message")] {
        let cql = format!("SELECT TTL({column}) FROM conforms.{table}");
        for (ttl,) in raw::rows::<(Option<i32>,)>(session, &cql).await {
            let ttl = ttl.unwrap();
            assert!((2_580_000..=2_592_000).contains(&ttl), "{table}: a row with {ttl} s to live");
        }
    }
    // Kept for as long as their sessions and shards may need them.
    for (table, column) in [
        ("session_fence", "fenced_by"),
        ("session_lane", "chunk"),
        ("shard_epoch", "session"),
        ("session_seal", "end_block"),
        ("account_state", "state"),
        ("group_state", "state"),
        ("group_member", "role"),
        ("shard_checkpoint", "pos"),
        ("shard_peer", "state"),
        ("outbox", "item"),
        ("handle", "account"),
        ("conversation_mark", "version"),
    ] {
        let cql = format!("SELECT TTL({column}) FROM conforms.{table}");
        let expires = raw::rows::<(Option<i32>,)>(session, &cql).await;
        assert!(!expires.is_empty(), "no row of {table}");
        assert!(expires.iter().all(|(ttl,)| ttl.is_none()), "{table} expires");
    }
    let chunks = raw::rows::<(Option<i64>, Option<i64>)>(
        session,
        "SELECT chunk, WRITETIME(chunk) FROM conforms.session_lane",
    );
    for (chunk, written) in chunks.await {
        assert_eq!(written, chunk.map(|chunk| chunk + 1), "a chunk's timestamp is its number");
    }
}

/// A table that nobody looks at here would escape these checks.
async fn every_table_is_known(session: &Session) {
    let cql = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'conforms'";
    let mut tables: Vec<_> =
        raw::rows::<(String,)>(session, cql).await.into_iter().map(|(name,)| name).collect();
    tables.sort();
    let mut known = vec![
        "conversation_index",
        "conversation_mark",
        "handle",
        "schema_migration",
        "session_fence",
        "session_lane",
        "session_log",
        "session_seal",
        "shard_epoch",
        "shard_suspect",
        "tenant",
    ];
    known.extend(DERIVED);
    known.sort_unstable();
    assert_eq!(tables, known);
}

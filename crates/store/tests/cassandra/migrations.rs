//! Migrations: safe to run at any time, by anybody, any number of times.

use std::num::NonZeroU32;
use std::time::Duration;

use iris_store::StoreError;
use iris_store::cassandra::{
    CassandraConfig, CassandraStore, MigrateOptions, MigrationEvent, Replication, SCHEMA_VERSION,
    migrate, schema_version,
};
use iris_store::conformance;
use iris_testing::Cassandra;

use crate::raw;

fn single() -> MigrateOptions {
    let replication = Replication(vec![("datacenter1".to_owned(), NonZeroU32::MIN)]);
    MigrateOptions { create_keyspace: Some(replication), lock_patience: None }
}

async fn events(config: &CassandraConfig) -> Result<Vec<MigrationEvent>, StoreError> {
    let mut events = Vec::new();
    migrate(config, &single(), |event| events.push(event)).await?;
    Ok(events)
}

fn words(error: &StoreError) -> &str {
    match error {
        StoreError::Schema(words) => words,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_keyspace_is_created_only_if_that_is_allowed() {
    let node = Cassandra::shared().await.unwrap();
    let config = node.config("fresh");
    let error = migrate(&config, &MigrateOptions::default(), |_| {}).await.unwrap_err();
    assert!(words(&error).contains("does not exist"), "{error}");
    let error = CassandraStore::connect(&config).await.unwrap_err();
    assert!(words(&error).contains("run the schema migrations"), "{error}");
    assert_eq!(schema_version(&config).await.unwrap(), 0);

    let first = events(&config).await.unwrap();
    assert_eq!(first.first(), Some(&MigrationEvent::CreatingKeyspace));
    assert_eq!(first.last(), Some(&MigrationEvent::Done { version: SCHEMA_VERSION }));
    let applied = MigrationEvent::Applied { version: SCHEMA_VERSION };
    assert!(first.contains(&applied), "{first:?}");
    assert_eq!(schema_version(&config).await.unwrap(), SCHEMA_VERSION);
    CassandraStore::connect(&config).await.unwrap();

    let again = events(&config).await.unwrap();
    assert_eq!(again, [MigrationEvent::Done { version: SCHEMA_VERSION }], "nothing is left to do");
}

#[tokio::test]
async fn several_jobs_at_once_do_what_one_does() {
    let node = Cassandra::shared().await.unwrap();
    let config = node.config("several");
    // Created first: concurrent creations of one keyspace are Cassandra's affair.
    let session = raw::session(node).await;
    raw::run(
        &session,
        "CREATE KEYSPACE several WITH replication = \
         {'class': 'NetworkTopologyStrategy', 'datacenter1': '1'}",
    )
    .await;
    let jobs = futures::future::join_all((0..3).map(|_| events(&config))).await;
    let jobs: Vec<_> = jobs.into_iter().map(Result::unwrap).collect();
    let applied = MigrationEvent::Applied { version: 1 };
    assert_eq!(jobs.iter().filter(|events| events.contains(&applied)).count(), 1, "{jobs:?}");
    let waited = jobs.iter().filter(|events| events.contains(&MigrationEvent::Waiting)).count();
    assert!(waited >= 1, "no job met another: {jobs:?}");
    CassandraStore::connect(&config).await.unwrap();
}

#[tokio::test]
async fn a_job_that_died_is_continued_once_its_lock_expired() {
    let node = Cassandra::shared().await.unwrap();
    let config = node.config("continued");
    let session = raw::session(node).await;
    for cql in [
        "CREATE KEYSPACE continued WITH replication = \
         {'class': 'NetworkTopologyStrategy', 'datacenter1': '1'}",
        "CREATE TABLE continued.schema_migration \
         (version int PRIMARY KEY, checksum text, applied_at timestamp, holder uuid)",
        "CREATE TABLE continued.session_fence (session uuid PRIMARY KEY, fenced_by uuid)",
        "INSERT INTO continued.schema_migration (version, holder) VALUES (0, uuid()) \
         IF NOT EXISTS USING TTL 4",
    ] {
        raw::run(&session, cql).await;
    }
    let impatient = MigrateOptions { lock_patience: Some(Duration::ZERO), ..single() };
    let error = migrate(&config, &impatient, |_| {}).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let events = events(&config).await.unwrap();
    assert!(events.contains(&MigrationEvent::Waiting), "{events:?}");
    CassandraStore::connect(&config).await.unwrap();
    let left = raw::rows::<(i32,)>(&session, "SELECT version FROM continued.schema_migration");
    let left: std::collections::BTreeSet<_> = left.await.into_iter().collect();
    let all = 1..=i32::try_from(SCHEMA_VERSION).unwrap();
    assert_eq!(left, all.map(|version| (version,)).collect(), "the lock is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_keyspace_is_served_and_left_as_it_is() {
    let node = Cassandra::shared().await.unwrap();
    let config = node.config("newer");
    events(&config).await.unwrap();
    let session = raw::session(node).await;
    let version = SCHEMA_VERSION + 1;
    // As a migration may be: a column in every table that is derived, and a table.
    let derived = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'newer'";
    let tables = raw::rows::<(String,)>(&session, derived).await;
    for (table,) in tables.iter().filter(|(table,)| table != "schema_migration") {
        raw::run(&session, &format!("ALTER TABLE newer.{table} ADD of_the_future blob")).await;
    }
    raw::run(&session, "CREATE TABLE newer.of_the_future (id uuid PRIMARY KEY)").await;
    let insert = format!(
        "INSERT INTO newer.schema_migration (version, checksum) VALUES ({version}, 'later') \
         IF NOT EXISTS"
    );
    raw::run(&session, &insert).await;
    let recorded = "SELECT version, checksum FROM newer.schema_migration";
    let before = raw::rows::<(i32, String)>(&session, recorded).await;
    // The schema job of the version before, when people go back to it, and then its pods.
    assert_eq!(events(&config).await.unwrap(), [MigrationEvent::Done { version }]);
    assert_eq!(schema_version(&config).await.unwrap(), version);
    assert_eq!(raw::rows::<(i32, String)>(&session, recorded).await, before);
    let store = CassandraStore::connect(&config).await.unwrap();
    conformance::run(&store, 1).await.verdict().unwrap();
}

/// The newer one's job died in the middle, and people went back.
#[tokio::test]
async fn a_newer_migration_that_is_half_done_keeps_nobody_away() {
    let node = Cassandra::shared().await.unwrap();
    let config = node.config("halfway");
    events(&config).await.unwrap();
    let session = raw::session(node).await;
    raw::run(&session, "ALTER TABLE halfway.account_state ADD of_the_future blob").await;
    let held = "INSERT INTO halfway.schema_migration (version, holder) VALUES (0, uuid()) \
                IF NOT EXISTS USING TTL 120";
    raw::run(&session, held).await;
    let done = [MigrationEvent::Done { version: SCHEMA_VERSION }];
    assert_eq!(events(&config).await.unwrap(), done, "it waits for no lock");
    CassandraStore::connect(&config).await.unwrap();
}

#[tokio::test]
async fn another_migration_under_a_known_version_is_refused() {
    let node = Cassandra::shared().await.unwrap();
    let config = node.config("changed");
    events(&config).await.unwrap();
    let session = raw::session(node).await;
    let update = "UPDATE changed.schema_migration SET checksum = 'other' WHERE version = 1 \
                  IF EXISTS";
    raw::run(&session, update).await;
    for error in
        [events(&config).await.unwrap_err(), CassandraStore::connect(&config).await.unwrap_err()]
    {
        assert!(words(&error).contains("install the version that applied it"), "{error}");
    }
}

#[tokio::test]
async fn a_datacenter_that_is_not_there_is_named() {
    let node = Cassandra::shared().await.unwrap();
    let config = CassandraConfig { datacenter: "dc9".to_owned(), ..node.config("nowhere") };
    let error = schema_version(&config).await.unwrap_err();
    assert!(words(&error).contains("no datacenter \"dc9\", but datacenter1"), "{error}");
}

#[tokio::test]
async fn nobody_at_the_contact_point_is_unavailable() {
    let config = CassandraConfig::new(
        vec!["127.0.0.1:1".to_owned()],
        "datacenter1".to_owned(),
        "nobody".to_owned(),
    );
    let error = CassandraStore::connect(&config).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

//! Applying migrations.
//!
//! Each statement may be repeated, each version is recorded once all of its statements are agreed on
//! by every node, and a job that died is continued by the next.

use std::num::NonZeroU32;
use std::time::Duration;

use scylla::client::session::Session;
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement as Text;
use uuid::Uuid;

use super::lock::Lock;
use super::migration::{MIGRATIONS, Migration};
use super::{SCHEMA_VERSION, applied, newest, verify};
use crate::cassandra::CassandraConfig;
use crate::cassandra::client::{Client, Kind};
use crate::cassandra::errors::{Effect, of_execution};
use crate::cassandra::value::int;
use crate::{Cas, StoreError};

/// How often a lock that another job holds is tried.
const LOCK_RETRY: Duration = Duration::from_secs(1);

/// For how long a record that was just created may not be usable.
const NEW_RECORD: Duration = Duration::from_secs(10);

/// Copies of each row in each datacenter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication(pub Vec<(String, NonZeroU32)>);

/// What a migration job may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrateOptions {
    /// With what a missing keyspace is created; without, a missing keyspace is refused.
    pub create_keyspace: Option<Replication>,
    /// How long to wait for another job that holds the lock.
    pub lock_patience: Option<Duration>,
}

/// What a migration job does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MigrationEvent {
    /// The keyspace is created.
    CreatingKeyspace,
    /// Another job holds the lock.
    Waiting,
    /// A statement is applied.
    Applying {
        /// Of which version.
        version: u32,
        /// What the version is called.
        name: &'static str,
        /// Which of its statements, from 1.
        statement: usize,
        /// How many it has.
        statements: usize,
    },
    /// A version is applied and recorded.
    Applied {
        /// Which.
        version: u32,
    },
    /// The keyspace is at the version that this program needs, or at a later one.
    Done {
        /// Which.
        version: u32,
    },
}

/// Brings a keyspace to the version that this program needs. Answers the version that it has.
///
/// Safe to run any number of times and by several jobs at once; what a newer program migrated is left as
/// it is. Refuses, with [`StoreError::Schema`], a keyspace that is missing and may not be created, and one
/// whose migrations are not the ones that this program knows.
pub async fn migrate(
    config: &CassandraConfig,
    options: &MigrateOptions,
    mut progress: impl FnMut(MigrationEvent) + Send,
) -> Result<u32, StoreError> {
    let client = Client::connect(config).await?;
    let job = Job { client: &client, timeout: config.timeouts.schema };
    if !job.has_keyspace().await? {
        progress(MigrationEvent::CreatingKeyspace);
        job.create_keyspace(options.create_keyspace.as_ref()).await?;
    }
    if !super::has_table(&client).await? {
        job.apply(BOOTSTRAP).await?;
    }
    await_record(&client, job.timeout).await?;
    if let Some(version) = complete(&client).await? {
        progress(MigrationEvent::Done { version });
        return Ok(version);
    }
    let mut lock = Lock::prepare(&client, holder()).await?;
    let patience = options.lock_patience.unwrap_or(2 * super::lock::TTL);
    take(&client, &mut lock, patience, &mut progress).await?;
    let done = job.apply_missing(&mut lock, &mut progress).await;
    lock.free(&client).await;
    let version = done?;
    progress(MigrationEvent::Done { version });
    Ok(version)
}

/// The record of migrations, which is there before the first of them.
const BOOTSTRAP: &str = "CREATE TABLE IF NOT EXISTS {keyspace}.schema_migration (version int PRIMARY \
    KEY, checksum text, applied_at timestamp, holder uuid)";

/// A name for this job that no other has.
fn holder() -> Uuid {
    Uuid::new_v4()
}

/// The schema names the record a moment before it can be read, and Cassandra says that itself in several
/// ways: a job that comes while another one creates it tries again.
async fn await_record(client: &Client, patience: Duration) -> Result<(), StoreError> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        match applied(client).await {
            Err(StoreError::Schema(_) | StoreError::Unavailable(_))
                if tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(LOCK_RETRY / 10).await;
            }
            read => return read.map(drop),
        }
    }
}

/// The keyspace's version, where this program has nothing to add. A newer program's migrations only add,
/// as this one's do: going back to this version is no reason to refuse, nor to take anything away.
async fn complete(client: &Client) -> Result<Option<u32>, StoreError> {
    let applied = applied(client).await?;
    verify(&applied)?;
    let newest = newest(&applied);
    Ok((newest >= SCHEMA_VERSION).then_some(newest))
}

async fn take(
    client: &Client,
    lock: &mut Lock,
    patience: Duration,
    progress: &mut (impl FnMut(MigrationEvent) + Send),
) -> Result<(), StoreError> {
    let now = tokio::time::Instant::now;
    let (begun, deadline) = (now(), now() + patience);
    loop {
        match lock.take(client).await {
            Ok(Cas::Applied) => return Ok(()),
            // An unknown outcome is resolved by trying again: the holder is in the row.
            Ok(Cas::Refused) | Err(StoreError::Unknown(_)) => {}
            // The record may just have been created.
            Err(StoreError::Unavailable(_)) if begun.elapsed() < NEW_RECORD => {}
            Err(error) => return Err(error),
        }
        if now() > deadline {
            return Err(StoreError::Unavailable(format!(
                "another job has held the schema lock of keyspace {} for {} s: look for it, or wait \
                 until its lock expires",
                client.keyspace(),
                patience.as_secs()
            )));
        }
        progress(MigrationEvent::Waiting);
        tokio::time::sleep(LOCK_RETRY).await;
    }
}

struct Job<'a> {
    client: &'a Client,
    timeout: Duration,
}

impl Job<'_> {
    fn session(&self) -> &Session {
        self.client.session()
    }

    async fn has_keyspace(&self) -> Result<bool, StoreError> {
        let read = self
            .client
            .prepare(
                Kind::Read,
                "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?",
            )
            .await?;
        let result = self.client.read(&read, (self.client.keyspace(),)).await?;
        Ok(result.rows_num() > 0)
    }

    async fn create_keyspace(&self, replication: Option<&Replication>) -> Result<(), StoreError> {
        let keyspace = self.client.keyspace();
        let Some(Replication(datacenters)) = replication else {
            return Err(StoreError::Schema(format!(
                "keyspace {keyspace} does not exist, and this job may not create it: create it with \
                 NetworkTopologyStrategy and 3 replicas in each datacenter, or allow its creation"
            )));
        };
        let known = |name: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !name.is_empty() && name.chars().all(plain)
        };
        if datacenters.is_empty() || !datacenters.iter().all(|(name, _)| known(name)) {
            return Err(StoreError::Schema(
                "name each datacenter of the keyspace, with letters, digits and -_. only"
                    .to_owned(),
            ));
        }
        let copies: Vec<_> =
            datacenters.iter().map(|(name, copies)| format!("'{name}': '{copies}'")).collect();
        self.apply(&format!(
            "CREATE KEYSPACE IF NOT EXISTS {{keyspace}} WITH replication = \
             {{'class': 'NetworkTopologyStrategy', {}}} AND durable_writes = true",
            copies.join(", ")
        ))
        .await
    }

    /// Executes a statement that changes the schema, and waits until every node agrees.
    async fn apply(&self, cql: &str) -> Result<(), StoreError> {
        let mut statement = Text::new(cql.replace("{keyspace}", self.client.keyspace()));
        statement.set_request_timeout(Some(self.timeout));
        statement.set_consistency(Consistency::One);
        self.session()
            .query_unpaged(statement, ())
            .await
            .map_err(|error| of_execution(&error, Effect::Possible))?;
        self.session().await_schema_agreement().await.map(drop).map_err(|error| {
            StoreError::Unknown(format!("the nodes do not agree on the schema: {error}"))
        })
    }

    async fn apply_missing(
        &self,
        lock: &mut Lock,
        progress: &mut (impl FnMut(MigrationEvent) + Send),
    ) -> Result<u32, StoreError> {
        // Another job may have been here while this one waited for the lock.
        if let Some(version) = complete(self.client).await? {
            return Ok(version);
        }
        let done = newest(&applied(self.client).await?);
        for (version, migration) in (1..).zip(MIGRATIONS) {
            if version > done {
                self.apply_one(lock, version, migration, progress).await?;
                progress(MigrationEvent::Applied { version });
            }
        }
        Ok(SCHEMA_VERSION)
    }

    async fn apply_one(
        &self,
        lock: &mut Lock,
        version: u32,
        migration: &'static Migration,
        progress: &mut (impl FnMut(MigrationEvent) + Send),
    ) -> Result<(), StoreError> {
        let statements = migration.statements();
        for (index, statement) in statements.iter().enumerate() {
            progress(MigrationEvent::Applying {
                version,
                name: migration.name,
                statement: index + 1,
                statements: statements.len(),
            });
            // The statement, and the agreement on it.
            lock.hold(self.client, 2 * self.timeout).await?;
            self.apply(statement).await?;
        }
        self.record(version, &migration.checksum()).await
    }

    async fn record(&self, version: u32, checksum: &str) -> Result<(), StoreError> {
        let insert = self
            .client
            .prepare(
                Kind::Cas,
                "INSERT INTO {keyspace}.schema_migration (version, checksum, applied_at) \
                 VALUES (?, ?, toTimestamp(now())) IF NOT EXISTS",
            )
            .await?;
        let swap =
            self.client.compare(&insert, (int("version", version.into())?, checksum)).await?;
        let found = swap.found("checksum").and_then(|value| value.into_string());
        match swap.outcome {
            Cas::Applied => Ok(()),
            Cas::Refused if found.as_deref() == Some(checksum) => Ok(()),
            Cas::Refused => Err(StoreError::Schema(format!(
                "another program applied another schema migration {version} at the same time: run \
                 one version of the migrations only"
            ))),
        }
    }
}

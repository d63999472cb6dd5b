//! The schema and its migrations: versioned, additive, resumable, and never dropping anything.

mod lock;
mod migrate;
mod migration;

pub use migrate::{MigrateOptions, MigrationEvent, Replication, migrate};

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::CassandraConfig;
use super::client::{Client, Kind, first};
use super::value::int;
use crate::StoreError;
use migration::MIGRATIONS;

/// The version that this program needs.
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// The version of the keyspace; 0 for one that was never migrated.
pub async fn schema_version(config: &CassandraConfig) -> Result<u32, StoreError> {
    let client = Client::connect(config).await?;
    Ok(newest(&applied(&client).await?))
}

/// As [`schema_version`], of a connected keyspace.
pub(super) async fn newest_applied(client: &Client) -> Result<u32, StoreError> {
    Ok(newest(&applied(client).await?))
}

/// Refuses a keyspace that this program cannot work with.
pub(super) async fn check(client: &Client) -> Result<(), StoreError> {
    let applied = applied(client).await?;
    verify(&applied)?;
    let (newest, keyspace) = (newest(&applied), client.keyspace());
    if newest < SCHEMA_VERSION {
        return Err(StoreError::Schema(format!(
            "keyspace {keyspace} has schema version {newest} and this program needs \
             {SCHEMA_VERSION}: run the schema migrations of this version"
        )));
    }
    Ok(())
}

/// The migrations of a keyspace, by version, with the checksums of what they did.
async fn applied(client: &Client) -> Result<BTreeMap<u32, String>, StoreError> {
    let mut applied = BTreeMap::new();
    if !has_table(client).await? {
        return Ok(applied);
    }
    let read = client
        .prepare(
            Kind::SerialRead,
            "SELECT checksum FROM {keyspace}.schema_migration WHERE version = ?",
        )
        .await?;
    // Versions have no gaps, and a serial read is of one row.
    for version in 1.. {
        let result = client.read(&read, (int("version", version.into())?,)).await?;
        match first::<(Option<String>,)>(&result)? {
            Some((Some(checksum),)) => applied.insert(version, checksum),
            Some((None,)) | None => break,
        };
    }
    Ok(applied)
}

async fn has_table(client: &Client) -> Result<bool, StoreError> {
    let read = client
        .prepare(
            Kind::Read,
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?",
        )
        .await?;
    let mut found = false;
    let take = |_: (String,)| {
        found = true;
        Ok(ControlFlow::Continue(()))
    };
    client.pages(&read, 10, (client.keyspace(), "schema_migration"), take).await?;
    Ok(found)
}

fn newest(applied: &BTreeMap<u32, String>) -> u32 {
    applied.keys().next_back().copied().unwrap_or_default()
}

/// Refuses migrations that were not the ones that this program knows under their versions.
fn verify(applied: &BTreeMap<u32, String>) -> Result<(), StoreError> {
    for (version, migration) in (1..).zip(MIGRATIONS) {
        let known = migration.checksum();
        match applied.get(&version) {
            Some(found) if *found != known => {
                return Err(StoreError::Schema(format!(
                    "schema migration {version} was applied with checksum {found}, and this program \
                     knows it with {known}: install the version that applied it, or restore the \
                     keyspace of this one"
                )));
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

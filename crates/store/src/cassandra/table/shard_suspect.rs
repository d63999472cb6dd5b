//! `shard_suspect`: what a session was deciding for a shard when it panicked. Each session writes its own
//! row, once, as the last thing that it does; nobody changes it.
//!
//! Never deleted; a row expires by the table's own time to live.

use std::ops::ControlFlow;

use iris_core::clock::WallMs;
use iris_core::id::{SessionId, ShardId};
use uuid::Uuid;

use crate::cassandra::client::{Client, Kind, Statement};
use crate::cassandra::value::{bigint, number, present, shard};
use crate::{StoreError, Suspect};

/// Rows of one page: there are a few, or a shard has more than it is served with.
const PAGE: i32 = 64;

type Columns = (Uuid, Option<String>, Option<String>, Option<i64>);

#[derive(Debug)]
pub(in crate::cassandra) struct ShardSuspect {
    insert: Statement,
    read: Statement,
}

impl ShardSuspect {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        let insert = "INSERT INTO {keyspace}.shard_suspect (shard, session, version, deciding, until) \
                      VALUES (?, ?, ?, ?, ?)";
        let read = "SELECT session, version, deciding, until FROM {keyspace}.shard_suspect \
                    WHERE shard = ?";
        Ok(Self {
            insert: client.prepare(Kind::Write, insert).await?,
            read: client.prepare(Kind::Read, read).await?,
        })
    }

    pub(in crate::cassandra) async fn write(
        &self,
        client: &Client,
        of: ShardId,
        suspect: &Suspect,
    ) -> Result<(), StoreError> {
        let Suspect { session, version, input, until } = suspect;
        let until = bigint("until", until.0)?;
        client.write(&self.insert, (shard(of), session.uuid(), version, input, until)).await
    }

    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        of: ShardId,
    ) -> Result<Vec<Suspect>, StoreError> {
        let mut found = Vec::new();
        let take = |(session, version, input, until): Columns| {
            found.push(Suspect {
                session: SessionId::from_uuid(session),
                version: present("version", version)?,
                input: present("deciding", input)?,
                until: WallMs(number("until", present("until", until)?)?),
            });
            Ok(ControlFlow::Continue(()))
        };
        client.pages(&self.read, PAGE, (shard(of),), take).await?;
        Ok(found)
    }
}

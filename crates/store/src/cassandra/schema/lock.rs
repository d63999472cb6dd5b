//! One migration job at a time: a row that expires, taken and renewed by compare-and-swap.
//!
//! It keeps two jobs from changing the schema at once. It is no proof: a job that was paused for
//! longer than the lock lives finds out before its next statement, and all statements are such that
//! two jobs in the same one do what one does.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::cassandra::client::{Client, Kind, Statement};
use crate::{Cas, StoreError};

/// How long the lock outlives its last renewal: well above one statement with its agreement.
pub(super) const TTL: Duration = Duration::from_secs(120);

/// The lock's place among the versions, which begin at 1.
const ROW: i32 = 0;

#[derive(Debug)]
pub(super) struct Lock {
    holder: Uuid,
    take: Statement,
    renew: Statement,
    free: Statement,
    /// Held for certain until then.
    until: Option<Instant>,
}

impl Lock {
    pub(super) async fn prepare(client: &Client, holder: Uuid) -> Result<Self, StoreError> {
        let table = "{keyspace}.schema_migration";
        let ttl = TTL.as_secs();
        Ok(Self {
            holder,
            take: client
                .prepare(
                    Kind::Cas,
                    &format!(
                        "INSERT INTO {table} (version, holder) VALUES (?, ?) IF NOT EXISTS \
                         USING TTL {ttl}"
                    ),
                )
                .await?,
            renew: client
                .prepare(
                    Kind::Cas,
                    &format!(
                        "UPDATE {table} USING TTL {ttl} SET holder = ? WHERE version = ? \
                         IF holder = ?"
                    ),
                )
                .await?,
            free: client
                .prepare(Kind::Cas, &format!("DELETE FROM {table} WHERE version = ? IF holder = ?"))
                .await?,
            until: None,
        })
    }

    /// Tries to take the lock; one that this holder has already is renewed.
    pub(super) async fn take(&mut self, client: &Client) -> Result<Cas, StoreError> {
        let begun = Instant::now();
        let swap = client.compare(&self.take, (ROW, self.holder)).await?;
        let mine = || swap.found("holder").and_then(|value| value.as_uuid()) == Some(self.holder);
        if swap.outcome == Cas::Refused && !mine() {
            return Ok(Cas::Refused);
        }
        self.until = Some(begun + TTL);
        Ok(Cas::Applied)
    }

    /// Makes sure of the lock for a statement that takes up to `needed`.
    pub(super) async fn hold(
        &mut self,
        client: &Client,
        needed: Duration,
    ) -> Result<(), StoreError> {
        let begun = Instant::now();
        let swap = client.compare(&self.renew, (self.holder, ROW, self.holder)).await?;
        let until = begun + TTL;
        self.until = (swap.outcome == Cas::Applied).then_some(until);
        match self.until {
            Some(until) if Instant::now() + needed < until => Ok(()),
            _ => Err(StoreError::Unavailable(
                "another job took over the schema migrations; nothing is wrong: try again"
                    .to_owned(),
            )),
        }
    }

    /// Frees the lock; one that cannot be freed expires.
    pub(super) async fn free(self, client: &Client) {
        let freed = client.compare(&self.free, (ROW, self.holder)).await;
        if let Err(error) = freed {
            tracing::debug!(%error, "schema lock left to expire");
        }
    }
}

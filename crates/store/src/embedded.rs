//! The store of one process on one disk, for `iris dev` and for tests.
//!
//! An operation answers once what it wrote, or what it read of the control rows, is synced to the
//! disk; operations that wait for the disk at the same time share one sync. Never expires anything,
//! and never serves two processes.

mod codec;
mod control;
mod derived;
mod directory;
mod disk;
mod log;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{HealthStore, StoreError, StoreReport};
use disk::Disk;

/// What this program writes; it refuses what a later one wrote.
const FORMAT: u32 = 1;

/// A store in a directory.
#[derive(Debug, Clone)]
pub struct EmbeddedStore {
    disk: Arc<Disk>,
}

impl EmbeddedStore {
    /// Opens the store in `directory`, which is made if it is not there.
    pub async fn open(directory: &Path) -> Result<Self, StoreError> {
        let directory = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || Disk::open(&directory, FORMAT)).await;
        let disk = Arc::new(opened.map_err(disk::interrupted)??);
        disk.sync().await?;
        Ok(Self { disk })
    }

    /// Reads, away from the threads that must not wait.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let disk = Arc::clone(&self.disk);
        tokio::task::spawn_blocking(move || work(&disk)).await.map_err(disk::interrupted)?
    }

    /// Writes, or reads what decides who may write: what is seen is on the disk.
    async fn settled<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = self.read(work).await?;
        self.disk.sync().await?;
        Ok(done)
    }
}

#[async_trait]
impl HealthStore for EmbeddedStore {
    async fn report(&self) -> Result<StoreReport, StoreError> {
        let one_copy = "the embedded store keeps one copy on one disk: use Cassandra with 3 \
                        replicas for anything that must last";
        Ok(StoreReport {
            version: "embedded".to_owned(),
            replication: 1,
            unfit: Vec::new(),
            development_only: vec![one_copy.to_owned()],
            schema: FORMAT,
        })
    }
}

#[cfg(test)]
mod tests;

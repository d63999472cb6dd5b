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
mod weather;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{HealthStore, StoreError, StoreReport};
use disk::Disk;
use weather::Sky;

pub use weather::{Access, Answer, Counts, Fate, Weather};

/// What this program writes; it refuses what a later one wrote.
const FORMAT: u32 = 1;

/// A store in a directory.
#[derive(Clone)]
pub struct EmbeddedStore {
    disk: Arc<Disk>,
    /// Of a store in memory: what becomes of each access.
    sky: Option<Arc<Sky>>,
}

impl EmbeddedStore {
    /// Opens the store in `directory`, which is made if it is not there.
    pub async fn open(directory: &Path) -> Result<Self, StoreError> {
        let directory = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || Disk::open(&directory, FORMAT)).await;
        let disk = Arc::new(opened.map_err(disk::interrupted)??);
        disk.sync().await?;
        Ok(Self { disk, sky: None })
    }

    /// An empty store in memory, for simulations: the model of a database in this weather.
    pub fn simulated(weather: impl Weather) -> Self {
        Self { disk: Arc::new(Disk::in_memory()), sky: Some(Arc::new(Sky::new(weather))) }
    }

    /// The same store as another process sees it; one on a disk is the same for all.
    #[must_use]
    pub fn seen_in(&self, weather: impl Weather) -> Self {
        let sky = self.sky.as_ref().map(|sky| Arc::new(sky.of_another(weather)));
        Self { disk: Arc::clone(&self.disk), sky }
    }

    /// What happened to a store in memory.
    pub fn counts(&self) -> Option<Arc<Counts>> {
        self.sky.as_ref().map(|sky| Arc::clone(sky.counts()))
    }

    /// Reads, away from the threads that must not wait.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.access(Access::Read, work).await
    }

    async fn access<T: Send + 'static>(
        &self,
        access: Access,
        work: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if let Some(sky) = &self.sky {
            return sky.access(&self.disk, access, work).await;
        }
        let disk = Arc::clone(&self.disk);
        tokio::task::spawn_blocking(move || work(&disk)).await.map_err(disk::interrupted)?
    }

    /// Writes, and waits until it is on the disk.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = self.access(Access::Write, work).await?;
        self.disk.sync().await?;
        Ok(done)
    }

    /// Reads what decides who may write: what is seen is on the disk.
    async fn settled<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = self.read(work).await?;
        self.disk.sync().await?;
        Ok(done)
    }
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStore").field("disk", &self.disk).finish_non_exhaustive()
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

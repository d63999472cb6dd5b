//! Whether a store can keep the promises that Iris makes on top of it.

use async_trait::async_trait;

use crate::StoreError;

/// What a store says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreReport {
    /// Its version.
    pub version: String,
    /// Copies of each row in the home datacenter.
    pub replication: u32,
    /// What makes it unfit for any use: an acknowledged write may be lost. In words that say what to do.
    pub unfit: Vec<String>,
    /// What makes it unfit for production only.
    pub development_only: Vec<String>,
    /// The schema's version.
    pub schema: u32,
}

/// A store's account of itself.
#[async_trait]
pub trait HealthStore: Send + Sync + 'static {
    /// Asks the store.
    async fn report(&self) -> Result<StoreReport, StoreError>;
}

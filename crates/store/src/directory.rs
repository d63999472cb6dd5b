//! Handles: names that people choose, unique within their tenant, claimed once by compare-and-swap.

use async_trait::async_trait;
use iris_core::id::{AccountId, TenantId};

use crate::StoreError;

/// A name within a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HandleKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The name, normalised by the caller.
    pub handle: String,
}

/// What a handle names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandleRecord {
    /// The account.
    pub account: AccountId,
    /// The password's hash, in the PHC string format.
    pub password: String,
    /// Wall-clock milliseconds.
    pub created_at_ms: u64,
}

/// The outcome of claiming a handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandleClaim {
    /// It is the caller's now.
    Claimed,
    /// It was somebody's before.
    Taken(HandleRecord),
}

/// The directory.
#[async_trait]
pub trait DirectoryStore: Send + Sync + 'static {
    /// Claims a handle. [`StoreError::Unknown`] is resolved by [`DirectoryStore::handle`].
    async fn claim_handle(
        &self,
        key: &HandleKey,
        record: &HandleRecord,
    ) -> Result<HandleClaim, StoreError>;

    /// What a handle names; serially.
    async fn handle(&self, key: &HandleKey) -> Result<Option<HandleRecord>, StoreError>;
}

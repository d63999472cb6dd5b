//! What a caller must know of a failure: whether it may have had an effect.

/// Why an operation did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It had no effect, or was a read. Trying again may help.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It may or may not have had its effect, now or later. A compare-and-swap is resolved by a serial
    /// read; any other write is idempotent and may be written again.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// What is stored cannot be understood. Someone must look; trying again cannot help.
    #[error("stored data is corrupt: {0}")]
    Corrupt(String),
    /// The keyspace or its schema is not what this program needs.
    #[error("{0}")]
    Schema(String),
    /// The store refuses who we are.
    #[error("the store refuses the credentials: {0}")]
    Denied(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Unknown(_) => true,
            Self::Corrupt(_) | Self::Schema(_) | Self::Denied(_) => false,
        }
    }
}

//! What a caller must know of a failure.

/// Why an operation did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoordError {
    /// It had no effect, or was a read.
    #[error("coordination is unavailable: {0}")]
    Unavailable(String),
    /// It may have been done.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The lease ended.
    #[error("the lease is gone")]
    LeaseGone,
    /// The changes asked for were forgotten: list again.
    #[error("the revision was compacted")]
    Compacted,
    /// The store refuses who we are.
    #[error("the store refuses the credentials: {0}")]
    Denied(String),
}

//! The cluster's own certificates: an authority that is replaced without a failed handshake, and the
//! leaves that it signs. Pure: what is kept where is for others to say.
//!
//! No key of an authority ever leaves the operator and its Secret.

pub mod authority;
pub mod leaf;
pub mod tokens;

/// Why keys or certificates cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A certificate or a key cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// What is kept is not what it should be. It is never replaced by something new: pods trust it.
    #[error("{what} is damaged: {why}. Restore the Secret, or delete it to begin with a new one")]
    Damaged {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// A request for a certificate is not one.
    #[error("not a certificate request: {0}")]
    Request(String),
}

impl PkiError {
    fn damaged(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Damaged { what: what.into(), why: why.to_string() }
    }
}

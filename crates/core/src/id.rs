//! Identifiers, parsed once at the boundary.

mod account;
mod session;
mod shard;
mod tenant;

pub use account::{AccountId, DeviceId, DeviceNo, GroupId, MsgId, PublicKey, encoding};
pub use session::{LaneId, LaneNo, SessionId};
pub use shard::{ShardCount, ShardId};
pub use tenant::{TenantId, TenantNo};

/// Why a text or a byte string is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}: {found}")]
pub struct IdError {
    /// What the text should have been.
    pub expected: &'static str,
    /// What it was, shortened to 64 characters.
    pub found: String,
}

impl IdError {
    fn new(expected: &'static str, found: &str) -> Self {
        Self { expected, found: found.chars().take(64).collect() }
    }

    fn bytes(expected: &'static str, found: &[u8]) -> Self {
        Self { expected, found: format!("{} bytes", found.len()) }
    }
}

//! The wall clock, for what outlives the process: when a token ends.

use std::time::UNIX_EPOCH;

/// Milliseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "the one place of the SDK that asks for it")]
pub fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

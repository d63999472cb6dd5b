//! Numbers between the core, where none is negative, and Cassandra, where all are signed.

use std::time::{SystemTime, UNIX_EPOCH};

use iris_core::clock::WallMs;
use iris_core::id::{LaneNo, ShardId};

use crate::StoreError;

/// A number as a `bigint`.
pub(super) fn bigint(what: &str, number: u64) -> Result<i64, StoreError> {
    i64::try_from(number)
        .map_err(|_| StoreError::Corrupt(format!("{what} {number} does not fit a bigint")))
}

/// A number as an `int`.
pub(super) fn int(what: &str, number: u64) -> Result<i32, StoreError> {
    i32::try_from(number)
        .map_err(|_| StoreError::Corrupt(format!("{what} {number} does not fit an int")))
}

/// A stored number.
pub(super) fn number<N: TryFrom<i64>>(what: &str, stored: impl Into<i64>) -> Result<N, StoreError> {
    let stored = stored.into();
    N::try_from(stored)
        .map_err(|_| StoreError::Corrupt(format!("{what} is stored as {stored}, which cannot be")))
}

/// A value that every row has.
pub(super) fn present<T>(what: &str, value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Corrupt(format!("a row is without its {what}")))
}

pub(super) fn lane(lane: LaneNo) -> i32 {
    i32::from(lane.0)
}

pub(super) fn shard(shard: ShardId) -> i32 {
    i32::from(shard.get())
}

/// How long a cell with something that expires then is kept, in seconds; 0 where its time has come.
pub(super) fn left_s(expires: WallMs, most_s: i32) -> i32 {
    let left_s = expires.0.saturating_sub(now().0).div_ceil(1000);
    i32::try_from(left_s).unwrap_or(most_s).min(most_s)
}

/// A cell is given the time that is left by the clock of its writer; what decides whether a message is
/// shown is the shard's own clock.
#[expect(clippy::disallowed_methods, reason = "it decides nothing but when a cell may go")]
fn now() -> WallMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    WallMs(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

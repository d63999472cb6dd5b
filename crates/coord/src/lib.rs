//! Coordination of a region: small values under keys, compared and swapped, leased and watched.
//!
//! etcd and an in-memory store implement the trait, held to the same behaviour by one conformance
//! suite. It is for liveness only: that nothing acknowledged is lost never depends on it, nor on the
//! order of its events or the age of its answers.

pub mod conformance;
pub mod election;
mod error;
pub mod etcd;
pub mod memory;

pub use error::CoordError;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// How often the whole store was changed when something happened; grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub i64);

/// A value with the revision of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The key, without the store's prefix.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// The revision of the last change of this key.
    pub modified: Revision,
}

/// A lease; keys bound to it go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// What must hold for a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The key does not exist.
    Absent(String),
    /// The key was last changed at this revision.
    Unchanged(String, Revision),
}

/// What a commit does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Bytes,
        /// The lease that it lives by.
        lease: Option<LeaseId>,
    },
    /// Removes a key, if it is there.
    Delete {
        /// The key.
        key: String,
    },
}

/// The outcome of a commit that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Every guard held, and every write was done, at this revision.
    Done(Revision),
    /// A guard did not hold, and nothing was done.
    Conflict,
}

/// What a watch sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A key was set.
    Put(Versioned),
    /// A key went.
    Delete {
        /// Which.
        key: String,
        /// When.
        at: Revision,
    },
}

/// A store for coordination. Calls answer within a few seconds or fail.
#[async_trait]
pub trait Coord: Send + Sync + 'static {
    /// A key's value; linearizable.
    async fn get(&self, key: &str) -> Result<Option<Versioned>, CoordError>;

    /// Every key with this prefix, ascending, with the revision of the whole answer; linearizable.
    async fn list(&self, prefix: &str) -> Result<(Vec<Versioned>, Revision), CoordError>;

    /// Does every write if every guard holds, at once. [`CoordError::Unknown`] means that it may have
    /// been done.
    async fn commit(&self, guards: &[Guard], writes: &[Write]) -> Result<Commit, CoordError>;

    /// Grants a lease that ends `ttl` after it was last renewed (whole seconds, at least one).
    async fn grant(&self, ttl: Duration) -> Result<LeaseId, CoordError>;

    /// Renews a lease; [`CoordError::LeaseGone`] when it ended.
    async fn renew(&self, lease: LeaseId) -> Result<(), CoordError>;

    /// Ends a lease, and every key that lives by it.
    async fn revoke(&self, lease: LeaseId) -> Result<(), CoordError>;

    /// Changes of keys with this prefix after `after`, in order. The stream ends with
    /// [`CoordError::Compacted`] when the store forgot them, and with another error when it breaks: the
    /// caller lists again.
    async fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Event, CoordError>>, CoordError>;
}

/// A coordination store that a process shares.
pub type SharedCoord = Arc<dyn Coord>;

//! Everything durable of Iris but coordination: the shard log, what is derived from it, the control
//! rows that decide who may write, and the directory of handles.
//!
//! Callers see traits; Cassandra and the embedded store implement them, and one conformance suite
//! (`conformance`) holds both to the same behaviour. Nothing here decides anything about a message, and
//! no statement on a derived table can be expressed without its logical timestamp.

mod apart;
pub mod cassandra;
pub mod conformance;
mod control;
mod derived;
mod directory;
pub mod embedded;
mod error;
mod health;
mod log;
mod observe;

pub use control::{Cas, ControlStore, ShardRef};
pub use derived::{Checkpoint, DamagedRow, DerivedStore};
pub use directory::{DirectoryStore, HandleClaim, HandleKey, HandleRecord};
pub use error::StoreError;
pub use health::{HealthStore, StoreReport};
pub use log::{LogRow, LogStore, Suspect};
pub use observe::{Observed, Operation, Outcome, StoreObserver, Table};

use std::sync::Arc;

/// A whole store.
pub trait Store: ControlStore + LogStore + DerivedStore + DirectoryStore + HealthStore {}

impl<S: ControlStore + LogStore + DerivedStore + DirectoryStore + HealthStore> Store for S {}

/// A store that a process shares.
pub type SharedStore = Arc<dyn Store>;

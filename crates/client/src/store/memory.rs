//! A store that forgets with its process: for load generation and tests.
//!
//! Never for a person: after a restart it knows neither its numbers nor its key.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{HistoryMax, Record, State, Store, StoreError};

/// See the module.
#[derive(Debug)]
pub struct MemoryStore {
    state: State,
    kept: Option<Arc<Mutex<State>>>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new(history_max: HistoryMax) -> Self {
        Self { state: State::new(history_max), kept: None }
    }

    /// One that begins with `state`.
    pub fn with_state(state: State) -> Self {
        Self { state, kept: None }
    }

    /// One whose state outlives it, as a disk outlives a process.
    pub fn on(kept: &Arc<Mutex<State>>) -> Self {
        let state = kept.lock().clone();
        Self { state, kept: Some(Arc::clone(kept)) }
    }
}

impl Store for MemoryStore {
    fn state(&self) -> &State {
        &self.state
    }

    fn append(&mut self, records: Vec<Record>, _durable: bool) -> Result<(), StoreError> {
        records.into_iter().for_each(|record| self.state.apply(record));
        if let Some(kept) = &self.kept {
            kept.lock().clone_from(&self.state);
        }
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }
}

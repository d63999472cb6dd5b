//! The store of a run's devices: in memory, with the few facts that a later run needs set aside.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use iris_client::key::Seed;
use iris_client::store::{
    HistoryMax, Login, MemoryStore, Record, State, Store, StoreError, Tokens,
};
use iris_core::id::DeviceNo;
use iris_core::seq::{ClientSeq, InboxSeq};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// What a later run needs of a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) handle: String,
    pub(super) account: String,
    pub(super) device: u32,
    pub(super) key: String,
    pub(super) refresh: String,
    pub(super) access: String,
    pub(super) access_until_ms: u64,
    pub(super) stream_gen: u32,
    pub(super) cursor: u64,
    pub(super) next_client_seq: u64,
}

impl Account {
    /// Of a device that is registered.
    pub(super) fn of(state: &State) -> Option<Self> {
        let (login, tokens) = (state.login.as_ref()?, state.tokens.as_ref()?);
        Some(Self {
            handle: login.handle.clone(),
            account: login.account.to_string(),
            device: login.device.0,
            key: BASE64URL_NOPAD.encode(state.key.as_ref()?.bytes()),
            refresh: tokens.refresh.clone(),
            access: tokens.access.clone(),
            access_until_ms: tokens.access_until_ms,
            stream_gen: state.stream_gen,
            cursor: state.cursor.0,
            next_client_seq: state.next_client_seq.0,
        })
    }

    /// The device's state; nothing when this was not written by us.
    pub(super) fn state(&self) -> Option<State> {
        let key = BASE64URL_NOPAD.decode(self.key.as_bytes()).ok()?;
        let mut state = State::new(HistoryMax::NONE);
        state.key = Some(Seed::from_bytes(&key)?);
        state.login = Some(Login {
            handle: self.handle.clone(),
            tenant: "default".to_owned(),
            account: self.account.parse().ok()?,
            device: DeviceNo(self.device),
            device_name: "soak".to_owned(),
        });
        state.tokens = Some(Tokens {
            access: self.access.clone(),
            access_until_ms: self.access_until_ms,
            refresh: self.refresh.clone(),
        });
        state.stream_gen = self.stream_gen;
        state.cursor = InboxSeq(self.cursor);
        state.next_client_seq = ClientSeq(self.next_client_seq);
        Some(state)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct SoakStore {
    inner: MemoryStore,
    kept: Arc<Mutex<Account>>,
}

impl SoakStore {
    pub(super) fn new(state: State, kept: Arc<Mutex<Account>>) -> Self {
        Self { inner: MemoryStore::with_state(state), kept }
    }
}

impl Store for SoakStore {
    fn state(&self) -> &State {
        self.inner.state()
    }

    fn append(&mut self, records: Vec<Record>, durable: bool) -> Result<(), StoreError> {
        let tokens = records.iter().rev().find_map(|record| match record {
            Record::Tokens(tokens) => Some(tokens.clone()),
            _ => None,
        });
        self.inner.append(records, durable)?;
        let state = self.inner.state();
        let mut kept = self.kept.lock();
        kept.stream_gen = state.stream_gen;
        kept.cursor = state.cursor.0;
        // What is not decided when a run ends is given up. The server may have taken some of it, and
        // expects a higher number then; never a lower one.
        let first = state.undecided.front().map_or(state.next_client_seq, |(number, _)| *number);
        kept.next_client_seq = first.0;
        if let Some(tokens) = tokens {
            kept.access = tokens.access;
            kept.access_until_ms = tokens.access_until_ms;
            kept.refresh = tokens.refresh;
        }
        drop(kept);
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_comes_back_from_its_account() {
        let account = Account {
            handle: "soak-1".to_owned(),
            account: iris_core::id::AccountId::from_bytes(&[5; 16]).unwrap().to_string(),
            device: 1,
            key: BASE64URL_NOPAD.encode(&[9; 32]),
            refresh: "r".to_owned(),
            access: "a".to_owned(),
            access_until_ms: 7,
            stream_gen: 3,
            cursor: 40,
            next_client_seq: 9,
        };
        let state = account.state().unwrap();
        let again = Account::of(&state).unwrap();
        assert_eq!(serde_json::to_value(&again).unwrap(), serde_json::to_value(&account).unwrap());
        let kept = Arc::new(Mutex::new(again));
        let mut store = SoakStore::new(state, Arc::clone(&kept));
        let tokens = Tokens { access: "b".to_owned(), access_until_ms: 8, refresh: "s".to_owned() };
        let record = Record::Bound { client_seq: ClientSeq(9), send: bytes::Bytes::new() };
        store.append(vec![Record::Tokens(tokens), record], true).unwrap();
        let found = |kept: &Mutex<Account>| kept.lock().next_client_seq;
        assert_eq!((found(&kept), kept.lock().refresh.as_str()), (9, "s"));
        store.append(vec![Record::Decided { upto: ClientSeq(9) }], true).unwrap();
        assert_eq!(found(&kept), 10);
        assert!(Account { key: "x".to_owned(), ..account }.state().is_none());
    }
}

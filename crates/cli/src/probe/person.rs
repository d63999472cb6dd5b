//! An account of the probe's own.

use data_encoding::HEXLOWER;
use iris_client::key::DeviceKey;
use iris_client::store::{HistoryMax, MemoryStore, State, Store as _};
use iris_client::{Client, Connector, Credentials, Options, login, register};
use iris_core::id::{AccountId, DeviceNo};

use crate::failure::Failure;

/// A device with all its secrets in the hand.
pub(super) struct Person {
    pub(super) credentials: Credentials,
    pub(super) account: AccountId,
    pub(super) device: DeviceNo,
    pub(super) key: DeviceKey,
    pub(super) access: String,
    pub(super) refresh: String,
    state: State,
}

impl Person {
    pub(super) async fn register(connector: &Connector) -> Result<Self, Failure> {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| Failure::new("the system gives no random bytes"))?;
        let random = HEXLOWER.encode(&random);
        let who = Credentials::new(&format!("probe-{random}"), &random, "probe");
        let store = register(connector, MemoryStore::new(HistoryMax::PERSON), &who).await?;
        Self::of(store, who)
    }

    /// Another device of this account.
    pub(super) async fn another_device(&self, connector: &Connector) -> Result<Self, Failure> {
        let who = self.credentials.clone();
        let store = login(connector, MemoryStore::new(HistoryMax::PERSON), &who).await?;
        Self::of(store, who)
    }

    fn of(store: MemoryStore, credentials: Credentials) -> Result<Self, Failure> {
        let state = store.state().clone();
        let parts = (state.login.as_ref(), state.key.as_ref(), state.tokens.as_ref());
        let (Some(login), Some(key), Some(tokens)) = parts else {
            return Err(Failure::new("the server made no account"));
        };
        let key = DeviceKey::new(key).map_err(iris_client::ClientError::from)?;
        let (access, refresh) = (tokens.access.clone(), tokens.refresh.clone());
        let (account, device) = (login.account, login.device);
        Ok(Self { credentials, account, device, key, access, refresh, state })
    }

    /// As an ordinary client.
    pub(super) fn client(&self, connector: &Connector) -> Result<Client, Failure> {
        let store = MemoryStore::with_state(self.state.clone());
        Ok(Client::open(connector, store, Options::default())?)
    }
}

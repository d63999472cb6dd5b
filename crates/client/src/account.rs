//! Accounts and tokens: registering, logging in, renewing.

use data_encoding::BASE64URL_NOPAD;
use iris_core::id::{AccountId, DeviceNo};
use serde::{Deserialize, Serialize};

use crate::clock::wall_ms;
use crate::connector::Connector;
use crate::error::ClientError;
use crate::key::{DeviceKey, Seed};
use crate::net;
use crate::store::{Login, Record, Store, Tokens};

/// Who somebody is, or wants to be.
#[derive(Clone)]
pub struct Credentials {
    /// The user name; upper case is folded.
    pub handle: String,
    /// The password.
    pub password: String,
    /// What this device is called in the list of devices.
    pub device_name: String,
    /// The tenant; the default one's name is `default`.
    pub tenant: String,
}

impl Credentials {
    /// In the default tenant.
    pub fn new(handle: &str, password: &str, device_name: &str) -> Self {
        Self {
            handle: handle.to_owned(),
            password: password.to_owned(),
            device_name: device_name.to_owned(),
            tenant: "default".to_owned(),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({}, {})", self.handle, self.device_name)
    }
}

#[derive(Serialize)]
struct OpenRequest<'a> {
    handle: &'a str,
    password: &'a str,
    device: NewDevice<'a>,
    tenant: &'a str,
}

#[derive(Serialize)]
struct NewDevice<'a> {
    public_key: String,
    name: &'a str,
}

#[derive(Serialize)]
struct RefreshRequest<'a> {
    refresh_token: &'a str,
    proof: String,
}

#[derive(Deserialize)]
pub(crate) struct TokenAnswer {
    account: String,
    device: u32,
    /// What the account's list of devices calls it.
    #[serde(default)]
    pub(crate) device_name: String,
    access_token: String,
    /// Seconds.
    expires_in: u64,
    refresh_token: String,
}

/// Registers a new account with this device as its first; the store must be a new one.
///
/// # Errors
/// When the server refuses or cannot be reached; the same may be tried again with the same store.
pub async fn register<S: Store>(
    connector: &Connector,
    store: S,
    who: &Credentials,
) -> Result<S, ClientError> {
    open(connector, store, who, "/v1/register").await
}

/// Adds this device to an account, or renews its tokens; the store must be a new one or of the same user.
///
/// # Errors
/// When the server refuses or cannot be reached.
pub async fn login<S: Store>(
    connector: &Connector,
    store: S,
    who: &Credentials,
) -> Result<S, ClientError> {
    open(connector, store, who, "/v1/login").await
}

async fn open<S: Store>(
    connector: &Connector,
    store: S,
    who: &Credentials,
    path: &str,
) -> Result<S, ClientError> {
    let folded = who.handle.to_ascii_lowercase();
    if let Some(login) = &store.state().login
        && (login.handle != folded || login.tenant != who.tenant || path == "/v1/register")
    {
        return Err(ClientError::LoggedIn { handle: login.handle.clone() });
    }
    let (store, key) = with_key(store).await?;
    let public = key.public();
    let device =
        NewDevice { public_key: BASE64URL_NOPAD.encode(&public.0), name: &who.device_name };
    let request =
        OpenRequest { handle: &folded, password: &who.password, device, tenant: &who.tenant };
    let answer: TokenAnswer = net::post(connector, path, &request).await?;
    let name = who.device_name.clone();
    keep(store, (folded, who.tenant.clone(), name), answer).await
}

/// The store with the device's key. The key is on the disk before anybody hears of it: a lost answer
/// leads to the same device.
pub(crate) async fn with_key<S: Store>(store: S) -> Result<(S, DeviceKey), ClientError> {
    let (store, seed) = match store.state().key.clone() {
        Some(seed) => (store, seed),
        None => {
            let seed = Seed::generate()?;
            (append(store, vec![Record::Key(seed.clone())]).await?, seed)
        }
    };
    Ok((store, DeviceKey::new(&seed)?))
}

/// The store with whose device it is, and its tokens.
pub(crate) async fn keep<S: Store>(
    store: S,
    (handle, tenant, device_name): (String, String, String),
    answer: TokenAnswer,
) -> Result<S, ClientError> {
    let (account, device) = (account(&answer)?, DeviceNo(answer.device));
    let login = Login { handle, tenant, account, device, device_name };
    let known = store.state().login.as_ref();
    if known.is_some_and(|known| (known.account, known.device) != (login.account, login.device)) {
        let text = "another account or device than before has this key".to_owned();
        return Err(ClientError::Malformed(text));
    }
    append(store, vec![Record::Login(login), Record::Tokens(tokens(answer))]).await
}

/// The tokens that the refresh token of `tokens` brings, and for how many milliseconds the access token
/// is good. They must be on the disk before they are used.
pub(crate) async fn refresh(
    connector: &Connector,
    key: &DeviceKey,
    refresh_token: &str,
) -> Result<(Tokens, u64), net::HttpError> {
    let proof = BASE64URL_NOPAD.encode(&key.prove_refresh(refresh_token));
    let request = RefreshRequest { refresh_token, proof };
    let answer: TokenAnswer = net::post(connector, "/v1/token", &request).await?;
    let valid_ms = answer.expires_in.saturating_mul(1000);
    Ok((tokens(answer), valid_ms))
}

/// The public keys that sign access tokens, as the server publishes them.
///
/// # Errors
/// When no edge answers.
pub async fn jwks(connector: &Connector) -> Result<serde_json::Value, ClientError> {
    Ok(net::get(connector, "/v1/jwks.json").await?)
}

/// Appends durably, off the asynchronous threads where that takes long.
pub(crate) async fn append<S: Store>(mut store: S, records: Vec<Record>) -> Result<S, ClientError> {
    if !store.blocks() {
        store.append(records, true)?;
        return Ok(store);
    }
    let written = tokio::task::spawn_blocking(move || store.append(records, true).map(|()| store));
    Ok(written.await.map_err(|_| ClientError::Closed)??)
}

fn account(answer: &TokenAnswer) -> Result<AccountId, ClientError> {
    answer.account.parse().map_err(|error| ClientError::Malformed(format!("{error}")))
}

fn tokens(answer: TokenAnswer) -> Tokens {
    Tokens {
        access: answer.access_token,
        access_until_ms: wall_ms().saturating_add(answer.expires_in.saturating_mul(1000)),
        refresh: answer.refresh_token,
    }
}

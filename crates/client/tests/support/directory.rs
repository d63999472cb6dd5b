//! Handles, passwords, tokens: as a server has them, without its secrets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use iris_client::key::{link_input, refresh_input};
use iris_core::code::Code;
use iris_core::id::{AccountId, DeviceId, DeviceNo, PublicKey};
use iris_core::shard::DirectoryAnswer;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::owner::Owner;

#[derive(Default)]
pub struct Directory {
    handles: Mutex<HashMap<String, (AccountId, String)>>,
    access: Mutex<HashMap<String, Access>>,
    refresh: Mutex<HashMap<String, (DeviceId, u32)>>,
    next: AtomicU64,
    /// How often tokens were renewed.
    pub refreshes: AtomicU64,
}

/// What an access token says.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    pub device: DeviceId,
    pub key: PublicKey,
    pub until: Instant,
}

pub type Answer = Result<Value, (Code, String)>;

impl Directory {
    pub fn find(&self, handle: &str) -> Option<AccountId> {
        self.handles.lock().get(handle).map(|(account, _)| *account)
    }

    pub fn access(&self, token: &str) -> Option<Access> {
        self.access.lock().get(token).copied()
    }

    pub async fn register(&self, owner: &Owner, request: &Value, seconds: u64) -> Answer {
        let (handle, password) = (text(request, "handle")?, text(request, "password")?);
        if password.len() < 8 {
            return Err((Code::Invalid, "a password has at least 8 characters".to_owned()));
        }
        let account = {
            let mut handles = self.handles.lock();
            match handles.get(&handle) {
                Some((account, known)) if *known == password => *account,
                Some(_) => return Err((Code::HandleTaken, "this name is taken".to_owned())),
                None => {
                    let account = owner.new_account();
                    handles.insert(handle, (account, password));
                    account
                }
            }
        };
        self.open(owner, account, request, seconds).await
    }

    pub async fn login(&self, owner: &Owner, request: &Value, seconds: u64) -> Answer {
        let (handle, password) = (text(request, "handle")?, text(request, "password")?);
        let known = self.handles.lock().get(&handle).cloned();
        match known {
            Some((account, right)) if right == password => {
                self.open(owner, account, request, seconds).await
            }
            _ => Err((Code::BadCredentials, "wrong name or password".to_owned())),
        }
    }

    async fn open(
        &self,
        owner: &Owner,
        account: AccountId,
        request: &Value,
        seconds: u64,
    ) -> Answer {
        let key = text(&request["device"], "public_key")?;
        let name = text(&request["device"], "name")?;
        let key = BASE64URL_NOPAD.decode(key.as_bytes()).ok();
        let key = key.and_then(|key| PublicKey::from_bytes(&key).ok());
        let key = key.ok_or((Code::Invalid, "not a key".to_owned()))?;
        let answer = owner.open(account, key, &name).await;
        self.issue(account, answer, seconds)
    }

    /// A device that another one vouched for comes in.
    pub async fn link(&self, owner: &Owner, request: &Value, seconds: u64) -> Answer {
        let (handle, tenant) = (text(request, "handle")?, text(request, "tenant")?);
        let (key, proof) = (bytes(request, "public_key")?, bytes(request, "proof")?);
        let key = PublicKey::from_bytes(&key).map_err(|e| (Code::Invalid, e.to_string()))?;
        let signed = link_input(&tenant, &handle);
        let verified = UnparsedPublicKey::new(&ED25519, key.0).verify(&signed, &proof);
        verified.map_err(|_| (Code::DeviceProof, "a wrong proof".to_owned()))?;
        let account = self.find(&handle).ok_or((Code::NotFound, "not yet".to_owned()))?;
        let answer = owner.open_linked(account, key).await;
        self.issue(account, answer, seconds)
    }

    pub async fn refresh(&self, owner: &Owner, request: &Value, seconds: u64) -> Answer {
        let (token, proof) = (text(request, "refresh_token")?, text(request, "proof")?);
        let known = self.refresh.lock().get(&token).copied();
        let invalid = || (Code::AuthInvalid, "not a refresh token".to_owned());
        let (id, generation) = known.ok_or_else(invalid)?;
        let key = owner.device_key(id.account, id.device).ok_or_else(invalid)?;
        let proof = BASE64URL_NOPAD.decode(proof.as_bytes()).map_err(|_| invalid())?;
        let verified =
            UnparsedPublicKey::new(&ED25519, key.0).verify(&refresh_input(&token), &proof);
        verified.map_err(|_| (Code::DeviceProof, "a wrong proof".to_owned()))?;
        self.refreshes.fetch_add(1, Relaxed);
        let answer = owner.refresh(id.account, id.device, generation).await;
        self.issue(id.account, answer, seconds)
    }

    fn issue(&self, account: AccountId, answer: DirectoryAnswer, seconds: u64) -> Answer {
        match answer {
            DirectoryAnswer::Refused(code, text) => Err((code, text.to_owned())),
            DirectoryAnswer::Tokens { device, name, key, refresh } => {
                let n = self.next.fetch_add(1, Relaxed);
                let (access_token, refresh_token) = (format!("access-{n}"), format!("refresh-{n}"));
                let id = DeviceId { account, device };
                let until = Instant::now() + Duration::from_secs(seconds);
                self.access.lock().insert(access_token.clone(), Access { device: id, key, until });
                self.refresh.lock().insert(refresh_token.clone(), (id, refresh));
                let device: DeviceNo = device;
                Ok(json!({
                    "account": account.to_string(),
                    "device": device.0,
                    "device_name": name,
                    "access_token": access_token,
                    "expires_in": seconds,
                    "refresh_token": refresh_token,
                }))
            }
        }
    }
}

fn bytes(value: &Value, field: &str) -> Result<Vec<u8>, (Code, String)> {
    let bytes = BASE64URL_NOPAD.decode(text(value, field)?.as_bytes());
    bytes.map_err(|_| (Code::Invalid, format!("{field} is not base64url")))
}

fn text(value: &Value, field: &str) -> Result<String, (Code, String)> {
    let text = value[field].as_str().map(str::to_owned);
    text.ok_or_else(|| (Code::Invalid, format!("{field} is missing")))
}

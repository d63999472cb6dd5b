//! The claims of every type of token, and what they mean once checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use iris_core::clock::WallMs;
use iris_core::id::{AccountId, DeviceId, DeviceNo, PublicKey, TenantId};
use serde::{Deserialize, Serialize};

use super::{Kind, TokenError, device_no};

/// A checked access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Who.
    pub device: DeviceId,
    /// The key that must sign HELLO.
    pub key: PublicKey,
    /// Until when, seconds since 1970.
    pub expires_at_s: u64,
}

/// A checked grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The account that its bearer owns.
    pub account: AccountId,
    /// Its tenant.
    pub tenant: TenantId,
}

/// A checked refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// Whose.
    pub device: DeviceId,
    /// Which of the device's.
    pub generation: u32,
    /// The key that must sign its use.
    pub key: PublicKey,
    /// The account's tenant.
    pub tenant: TenantId,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: String,
    sub: String,
    ten: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cnf: Option<Confirmation>,
    #[serde(rename = "gen", skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<u32>,
    iat: u64,
    pub(super) exp: u64,
    jti: String,
}

/// The key that the bearer must prove to hold (RFC 7800).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Confirmation {
    jwk: KeyClaim,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeyClaim {
    kty: String,
    crv: String,
    x: String,
}

impl Claims {
    pub(super) fn new(
        issuer: &str,
        kind: Kind,
        account: AccountId,
        tenant: &str,
        now: WallMs,
    ) -> Self {
        let iat = now.0 / 1000;
        Self {
            iss: issuer.to_owned(),
            aud: kind.audience().to_owned(),
            sub: account.to_string(),
            ten: tenant.to_owned(),
            dev: None,
            cnf: None,
            generation: None,
            iat,
            exp: iat + kind.life_s(),
            jti: uuid::Uuid::new_v4().to_string(),
        }
    }

    pub(super) fn of_device(self, device: DeviceNo, key: PublicKey) -> Self {
        let jwk = KeyClaim {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: URL_SAFE_NO_PAD.encode(key.0),
        };
        Self { dev: Some(device.0), cnf: Some(Confirmation { jwk }), ..self }
    }

    pub(super) fn of_generation(self, generation: u32) -> Self {
        Self { generation: Some(generation), ..self }
    }

    pub(super) fn account(&self) -> Result<AccountId, TokenError> {
        self.sub.parse().map_err(|_| TokenError::Invalid)
    }

    pub(super) fn device(&self) -> Result<DeviceId, TokenError> {
        let device = device_no(self.dev.ok_or(TokenError::Invalid)?)?;
        Ok(DeviceId { account: self.account()?, device })
    }

    pub(super) fn tenant(&self) -> Result<TenantId, TokenError> {
        self.ten.parse().map_err(|_| TokenError::Invalid)
    }

    pub(super) fn check_times(&self, now_s: u64, leeway_s: u64) -> Result<(), TokenError> {
        if self.iat > now_s + leeway_s || self.exp <= self.iat {
            return Err(TokenError::Invalid);
        }
        if self.exp + leeway_s <= now_s { Err(TokenError::Expired) } else { Ok(()) }
    }
}

impl Confirmation {
    pub(super) fn public_key(&self) -> Result<PublicKey, TokenError> {
        if self.jwk.kty != "OKP" || self.jwk.crv != "Ed25519" {
            return Err(TokenError::Invalid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(&self.jwk.x).map_err(|_| TokenError::Invalid)?;
        PublicKey::from_bytes(&bytes).map_err(|_| TokenError::Invalid)
    }
}

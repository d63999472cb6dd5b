//! Tokens: EdDSA, of one type each, with every claim checked (RFC 8725).
//!
//! Owners sign; edges know public keys only. The keys are files that the operator rotates and that are
//! read again while the process runs. A token of one type is never accepted as another.

mod claims;
mod keys;
#[cfg(test)]
mod tests;

use iris_core::clock::WallMs;
use iris_core::id::{AccountId, DeviceId, DeviceNo, PublicKey};
use jsonwebtoken::{Algorithm, Header, Validation};

pub use claims::{Access, Grant, Refresh};
pub use keys::{KeyError, SigningKeys, VerifyingKeys, reload_signing, reload_verifying};

use claims::Claims;

/// Seconds that an access token is good for.
pub const ACCESS_LIFE_S: u64 = 15 * 60;
/// Seconds that a grant is good for: the way from one owner to another.
const GRANT_LIFE_S: u64 = 60;
/// Seconds that a refresh token is good for.
const REFRESH_LIFE_S: u64 = 30 * 24 * 3600;
/// Seconds by which clocks of pods may differ.
const LEEWAY_S: u64 = 5;
/// Longer tokens are refused before anything is parsed.
const TOKEN_BYTES_MAX: usize = 4096;

/// What a token is for. Each has a `typ` and an audience of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Access,
    Grant,
    Refresh,
}

impl Kind {
    const fn typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Grant => "iris-grant+jwt",
            Self::Refresh => "iris-refresh+jwt",
        }
    }

    const fn audience(self) -> &'static str {
        match self {
            Self::Access => "iris",
            Self::Grant => "iris-grant",
            Self::Refresh => "iris-refresh",
        }
    }

    const fn life_s(self) -> u64 {
        match self {
            Self::Access => ACCESS_LIFE_S,
            Self::Grant => GRANT_LIFE_S,
            Self::Refresh => REFRESH_LIFE_S,
        }
    }
}

/// Why a token is refused. Only the first may be helped by a new token of the same login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// It is not one of ours, not of this type, or not whole.
    #[error("the token is invalid")]
    Invalid,
    /// It cannot be signed: no usable key.
    #[error("no token can be signed")]
    NoKey,
}

/// Checks and signs tokens of one cluster (`iss`).
#[derive(Debug, Clone)]
pub struct Tokens {
    issuer: String,
    verifying: VerifyingKeys,
}

impl Tokens {
    /// For tokens of `issuer`.
    pub fn new(issuer: String, verifying: VerifyingKeys) -> Self {
        Self { issuer, verifying }
    }

    /// The public keys, as clients may fetch them.
    pub fn jwks(&self) -> bytes::Bytes {
        self.verifying.document()
    }

    /// Who an access token says is calling.
    pub fn access(&self, token: &str, now: WallMs) -> Result<Access, TokenError> {
        let claims = self.check(Kind::Access, token, now)?;
        let x = claims.cnf.as_ref().ok_or(TokenError::Invalid)?;
        Ok(Access { device: claims.device()?, key: x.public_key()?, expires_at_s: claims.exp })
    }

    /// Which account somebody proved to own.
    pub fn grant(&self, token: &str, now: WallMs) -> Result<Grant, TokenError> {
        let claims = self.check(Kind::Grant, token, now)?;
        Ok(Grant { account: claims.account()?, tenant: claims.tenant()? })
    }

    /// Which generation of a device's refresh tokens is being used.
    pub fn refresh(&self, token: &str, now: WallMs) -> Result<Refresh, TokenError> {
        let claims = self.check(Kind::Refresh, token, now)?;
        let generation = claims.generation.ok_or(TokenError::Invalid)?;
        let key = claims.cnf.as_ref().ok_or(TokenError::Invalid)?.public_key()?;
        Ok(Refresh { device: claims.device()?, generation, key, tenant: claims.tenant()? })
    }

    fn check(&self, kind: Kind, token: &str, now: WallMs) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX || !is_canonical(token) {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let of_kind = header.typ.as_deref() == Some(kind.typ());
        if !of_kind || header.alg != Algorithm::EdDSA || header.crit.is_some() {
            return Err(TokenError::Invalid);
        }
        let kid = header.kid.ok_or(TokenError::Invalid)?;
        let key = self.verifying.find(&kid).ok_or(TokenError::Invalid)?;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &self.validation(kind));
        let claims = claims.map_err(|_| TokenError::Invalid)?.claims;
        claims.check_times(now.0 / 1000, LEEWAY_S)?;
        Ok(claims)
    }

    /// The library checks algorithm, signature, issuer, audience and presence; the times are checked
    /// by this process's clock.
    fn validation(&self, kind: Kind) -> Validation {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[kind.audience()]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }

    /// An access token for a device.
    pub fn sign_access(
        &self,
        keys: &SigningKeys,
        device: DeviceId,
        key: PublicKey,
        tenant: &str,
        now: WallMs,
    ) -> Result<String, TokenError> {
        let claims = Claims::new(&self.issuer, Kind::Access, device.account, tenant, now);
        self.sign(keys, Kind::Access, claims.of_device(device.device, key))
    }

    /// A refresh token of one generation.
    pub fn sign_refresh(
        &self,
        keys: &SigningKeys,
        device: DeviceId,
        key: PublicKey,
        (tenant, generation): (&str, u32),
        now: WallMs,
    ) -> Result<String, TokenError> {
        let claims = Claims::new(&self.issuer, Kind::Refresh, device.account, tenant, now);
        let claims = claims.of_device(device.device, key).of_generation(generation);
        self.sign(keys, Kind::Refresh, claims)
    }

    /// A grant for whoever proved to own an account.
    pub fn sign_grant(
        &self,
        keys: &SigningKeys,
        account: AccountId,
        tenant: &str,
        now: WallMs,
    ) -> Result<String, TokenError> {
        let claims = Claims::new(&self.issuer, Kind::Grant, account, tenant, now);
        self.sign(keys, Kind::Grant, claims)
    }

    fn sign(&self, keys: &SigningKeys, kind: Kind, claims: Claims) -> Result<String, TokenError> {
        let current = keys.current();
        let header = Header {
            typ: Some(kind.typ().to_owned()),
            kid: Some(current.kid.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        jsonwebtoken::encode(&header, &claims, &current.key).map_err(|_| TokenError::NoKey)
    }
}

/// Three base64url parts without padding, and nothing else: a token has one form only.
fn is_canonical(token: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    token.bytes().all(plain) && token.split('.').filter(|part| !part.is_empty()).count() == 3
}

/// A device number that can be one.
fn device_no(number: u32) -> Result<DeviceNo, TokenError> {
    if number == 0 { Err(TokenError::Invalid) } else { Ok(DeviceNo(number)) }
}

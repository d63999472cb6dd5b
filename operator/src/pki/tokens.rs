//! The keys that sign the tokens of accounts: Ed25519. The next key is published for a while before
//! it signs, and one that signed is published until the last token that it signed has ended.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::PkiError;

/// How keys live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifetimes {
    /// When the one that signs is replaced, counted from when it began to.
    pub rotate_after_s: u64,
    /// How long the next one is only published.
    pub settle_s: u64,
    /// How long one that signed is still published.
    pub retire_after_s: u64,
    /// Raised by people to have it replaced now.
    pub rotation: u32,
}

/// A key that signs, or will.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// PKCS#8, PEM.
    pub pem: String,
    /// Its public half.
    pub public: Public,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.public.kid)
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Public {
    /// Its name, in the header of every token.
    pub kid: String,
    /// The key, as JWKS has it.
    pub x: String,
    /// Since when it is what it is: published, signing, or retired.
    pub since_s: u64,
}

/// All keys of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Signs now.
    pub signing: Key,
    /// Will sign next.
    pub next: Option<Key>,
    /// Signed before.
    pub retired: Vec<Public>,
    /// The last request of people that was acted on.
    pub rotation: u32,
}

/// What is written down beside the keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The one that signs.
    pub signing: Public,
    /// The one that will.
    pub next: Option<Public>,
    /// Those that did.
    pub retired: Vec<Public>,
    /// The last request of people that was acted on.
    pub rotation: u32,
}

impl Keys {
    /// The first key.
    pub fn create(lifetimes: &Lifetimes, now_s: u64) -> Result<Self, PkiError> {
        let rotation = lifetimes.rotation;
        Ok(Self { signing: make(now_s)?, next: None, retired: Vec::new(), rotation })
    }

    /// From what was written down.
    pub fn restored(
        record: Record,
        signing: String,
        next: Option<String>,
    ) -> Result<Self, PkiError> {
        let Record { signing: public, next: next_public, retired, rotation } = record;
        let key = |pem: String, public: Public| {
            let damaged =
                |error: &dyn ToString| PkiError::damaged("the key of tokens", error.to_string());
            let pair = KeyPair::from_pem(&pem).map_err(|error| damaged(&error))?;
            if x_of(&pair) != public.x {
                return Err(damaged(&"the private key is not that of the published one"));
            }
            Ok(Key { pem, public })
        };
        let next = match (next, next_public) {
            (Some(pem), Some(public)) => Some(key(pem, public)?),
            (None, None) => None,
            _ => return Err(PkiError::damaged("the next key of tokens", "half of it is missing")),
        };
        Ok(Self { signing: key(signing, public)?, next, retired, rotation })
    }

    /// What to write down.
    pub fn record(&self) -> Record {
        Record {
            signing: self.signing.public.clone(),
            next: self.next.as_ref().map(|next| next.public.clone()),
            retired: self.retired.clone(),
            rotation: self.rotation,
        }
    }

    /// The next state, if it is time for one.
    pub fn advanced(&self, lifetimes: &Lifetimes, now_s: u64) -> Result<Option<Self>, PkiError> {
        let mut keys = self.clone();
        let over =
            |public: &Public| now_s >= public.since_s.saturating_add(lifetimes.retire_after_s);
        keys.retired.retain(|public| !over(public));
        match &self.next {
            Some(next) if now_s >= next.public.since_s.saturating_add(lifetimes.settle_s) => {
                let public = Public { since_s: now_s, ..next.public.clone() };
                keys.signing = Key { public, ..next.clone() };
                keys.next = None;
                keys.retired.push(Public { since_s: now_s, ..self.signing.public.clone() });
            }
            Some(_) => {}
            None => {
                let due_s = self.signing.public.since_s.saturating_add(lifetimes.rotate_after_s);
                if now_s >= due_s || lifetimes.rotation > self.rotation {
                    keys.next = Some(make(now_s)?);
                    keys.rotation = lifetimes.rotation.max(self.rotation);
                }
            }
        }
        Ok((keys != *self).then_some(keys))
    }

    /// Every key that is published, the one that signs first.
    pub fn published(&self) -> Vec<&Public> {
        let next = self.next.as_ref().map(|next| &next.public);
        std::iter::once(&self.signing.public).chain(next).chain(&self.retired).collect()
    }

    /// The public keys as a JWKS document (RFC 8037).
    pub fn jwks(&self) -> String {
        let keys: Vec<_> = self
            .published()
            .into_iter()
            .map(|public| {
                json!({
                    "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
                    "kid": public.kid, "x": public.x,
                })
            })
            .collect();
        format!("{}\n", json!({ "keys": keys }))
    }
}

fn make(now_s: u64) -> Result<Key, PkiError> {
    let pair = KeyPair::generate_for(&PKCS_ED25519)?;
    let x = x_of(&pair);
    // A name of the key's own: two replicas never give one name to two keys.
    let raw = pair.der_bytes();
    let kid = HEXLOWER.encode(raw.get(..8).unwrap_or(raw));
    Ok(Key { pem: pair.serialize_pem(), public: Public { kid, x, since_s: now_s } })
}

fn x_of(pair: &KeyPair) -> String {
    BASE64URL_NOPAD.encode(pair.der_bytes())
}

#[cfg(test)]
mod tests;

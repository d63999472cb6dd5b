//! Keys in Secrets. The first writer wins, and every change is refused if somebody was faster: two
//! replicas never replace each other's keys, and what cannot be read is never overwritten.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};

use crate::apply::Owner;
use crate::error::{Error, Tried};
use crate::names::Labels;
use crate::pki::PkiError;
use crate::pki::authority::{self, Authority, Pair};
use crate::pki::tokens::{self, Keys};

/// Something that is kept in a Secret and changes by steps.
pub trait Kept: Sized {
    /// What decides when it changes.
    type Lifetimes;

    /// The first state.
    fn create(name: &str, lifetimes: &Self::Lifetimes, now_s: u64) -> Result<Self, PkiError>;
    /// The next state, if it is time.
    fn next(
        &self,
        name: &str,
        lifetimes: &Self::Lifetimes,
        now_s: u64,
    ) -> Result<Option<Self>, PkiError>;
    /// As a Secret holds it.
    fn to_data(&self) -> Result<BTreeMap<String, String>, PkiError>;
    /// From what a Secret holds.
    fn from_data(secret: &str, data: &BTreeMap<String, String>) -> Result<Self, PkiError>;
}

/// Where something is kept.
#[derive(Debug)]
pub struct Place<'a> {
    /// The object that the Secret belongs to.
    pub owner: &'a Owner,
    /// Its labels.
    pub labels: &'a Labels,
    /// Its name.
    pub secret: String,
    /// What it is called in what it holds.
    pub name: String,
}

/// The state that is kept, after every step that is due.
pub async fn advance<T: Kept>(
    client: &Client,
    place: &Place<'_>,
    lifetimes: &T::Lifetimes,
    now_s: u64,
) -> Result<(T, Change), Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &place.owner.namespace);
    let named = || format!("Secret {}/{}", place.owner.namespace, place.secret);
    let there = api.get_opt(&place.secret).await.tried(|| format!("cannot read {}", named()))?;
    let Some(there) = there else {
        let first = T::create(&place.name, lifetimes, now_s)?;
        let secret = secret(place, first.to_data()?);
        // Somebody faster: the conflict is an error, and the next look reads what they made.
        let made = api.create(&PostParams::default(), &secret).await;
        made.tried(|| format!("cannot make {}", named()))?;
        return Ok((first, Change::Created));
    };
    place.owner.check("Secret", &there.metadata)?;
    let kept = T::from_data(&named(), &text_of(&there))?;
    let Some(next) = kept.next(&place.name, lifetimes, now_s)? else {
        return Ok((kept, Change::None));
    };
    let mut changed = secret(place, next.to_data()?);
    changed.metadata.resource_version = there.resource_version();
    let replaced = api.replace(&place.secret, &PostParams::default(), &changed).await;
    replaced.tried(|| format!("cannot change {}", named()))?;
    Ok((next, Change::Advanced))
}

/// Whether something was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// No.
    None,
    /// It is new.
    Created,
    /// It took a step.
    Advanced,
}

fn secret(place: &Place<'_>, data: BTreeMap<String, String>) -> Secret {
    let data = data.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes())));
    Secret {
        metadata: place.owner.part(&place.secret, place.labels),
        data: Some(data.collect()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

/// The values of a Secret that are text.
pub fn text_of(secret: &Secret) -> BTreeMap<String, String> {
    let data = secret.data.iter().flatten();
    data.filter_map(|(key, value)| Some((key.clone(), String::from_utf8(value.0.clone()).ok()?)))
        .collect()
}

const RECORD: &str = "state.json";

fn required(secret: &str, data: &BTreeMap<String, String>, key: &str) -> Result<String, PkiError> {
    let damaged =
        || PkiError::Damaged { what: secret.to_owned(), why: format!("{key} is missing") };
    data.get(key).cloned().ok_or_else(damaged)
}

fn record<R: serde::de::DeserializeOwned>(
    secret: &str,
    data: &BTreeMap<String, String>,
) -> Result<R, PkiError> {
    let text = required(secret, data, RECORD)?;
    serde_json::from_str(&text).map_err(|error| PkiError::Damaged {
        what: secret.to_owned(),
        why: format!("{RECORD}: {error}"),
    })
}

fn record_text(record: &impl serde::Serialize) -> Result<String, PkiError> {
    serde_json::to_string(record)
        .map_err(|error| PkiError::Damaged { what: RECORD.to_owned(), why: error.to_string() })
}

impl Kept for Authority {
    type Lifetimes = authority::Lifetimes;

    fn create(name: &str, lifetimes: &Self::Lifetimes, now_s: u64) -> Result<Self, PkiError> {
        Self::create(name, lifetimes, now_s)
    }

    fn next(
        &self,
        name: &str,
        lifetimes: &Self::Lifetimes,
        now_s: u64,
    ) -> Result<Option<Self>, PkiError> {
        self.advanced(name, lifetimes, now_s)
    }

    fn to_data(&self) -> Result<BTreeMap<String, String>, PkiError> {
        let next = self.next.clone().map(|pair| (pair.certificate, pair.key)).unzip();
        let parts = [
            ("ca.crt", Some(self.current.certificate.clone())),
            ("ca.key", Some(self.current.key.clone())),
            ("next.crt", next.0),
            ("next.key", next.1),
            ("previous.crt", self.previous.clone()),
            (RECORD, Some(record_text(&self.record)?)),
        ];
        Ok(parts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
    }

    fn from_data(secret: &str, data: &BTreeMap<String, String>) -> Result<Self, PkiError> {
        let pair = |certificate, key| {
            let certificate = required(secret, data, certificate)?;
            Ok::<_, PkiError>(Pair { certificate, key: required(secret, data, key)? })
        };
        let next = data.contains_key("next.crt").then(|| pair("next.crt", "next.key"));
        let kept = Self {
            current: pair("ca.crt", "ca.key")?,
            next: next.transpose()?,
            previous: data.get("previous.crt").cloned(),
            record: record(secret, data)?,
        };
        kept.check()?;
        Ok(kept)
    }
}

impl Kept for Keys {
    type Lifetimes = tokens::Lifetimes;

    fn create(_: &str, lifetimes: &Self::Lifetimes, now_s: u64) -> Result<Self, PkiError> {
        Self::create(lifetimes, now_s)
    }

    fn next(
        &self,
        _: &str,
        lifetimes: &Self::Lifetimes,
        now_s: u64,
    ) -> Result<Option<Self>, PkiError> {
        self.advanced(lifetimes, now_s)
    }

    /// `signing.pem`, `kid` and `jwks.json` are what owners read.
    fn to_data(&self) -> Result<BTreeMap<String, String>, PkiError> {
        let parts = [
            ("signing.pem", Some(self.signing.pem.clone())),
            ("kid", Some(self.signing.public.kid.clone())),
            ("jwks.json", Some(self.jwks())),
            ("next.pem", self.next.as_ref().map(|next| next.pem.clone())),
            (RECORD, Some(record_text(&self.record())?)),
        ];
        Ok(parts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
    }

    fn from_data(secret: &str, data: &BTreeMap<String, String>) -> Result<Self, PkiError> {
        let signing = required(secret, data, "signing.pem")?;
        Self::restored(record(secret, data)?, signing, data.get("next.pem").cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_comes_back_from_its_secret_at_every_step() {
        let lifetimes = authority::Lifetimes {
            valid_s: 10_000,
            rotate_after_s: 100,
            settle_s: 10,
            leaf_s: 50,
            rotation: 0,
        };
        let mut kept = Authority::create("chat", &lifetimes, 1000).unwrap();
        for now_s in [1000, 1100, 1110, 1200] {
            while let Some(next) = kept.advanced("chat", &lifetimes, now_s).unwrap() {
                kept = next;
            }
            let data = kept.to_data().unwrap();
            assert_eq!(Authority::from_data("s", &data).unwrap(), kept, "at {now_s}");
            for key in data.keys().filter(|key| key.as_str() != "previous.crt") {
                let mut torn = data.clone();
                torn.remove(key);
                // Without `next.crt` there is no next: that is a state, not damage.
                let whole =
                    key == "next.crt" || key == "next.key" && !data.contains_key("next.crt");
                assert_eq!(Authority::from_data("s", &torn).is_ok(), whole, "without {key}");
            }
        }
    }

    #[test]
    fn owners_find_what_they_read() {
        let lifetimes = tokens::Lifetimes {
            rotate_after_s: 100,
            settle_s: 10,
            retire_after_s: 50,
            rotation: 0,
        };
        let keys = Keys::create(&lifetimes, 0).unwrap();
        let data = keys.to_data().unwrap();
        assert_eq!(data["kid"], keys.signing.public.kid);
        assert!(
            data["signing.pem"].contains("PRIVATE KEY") && data["jwks.json"].contains("Ed25519")
        );
        assert!(!data["jwks.json"].contains("PRIVATE"));
        assert_eq!(Keys::from_data("s", &data).unwrap(), keys);
    }
}

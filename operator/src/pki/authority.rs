//! A certificate authority and its replacement: the next one is trusted for a while before it signs,
//! and the one before is trusted until what it signed has ended.
//!
//! Each step is taken at most once, from a state that is written down, whoever takes it.

use std::time::Duration;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::PkiError;

/// Certificates begin so long ago, for machines whose clock is behind.
pub const CLOCK_SKEW_S: u64 = 300;

/// How authorities live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifetimes {
    /// How long one is valid.
    pub valid_s: u64,
    /// When it is replaced, counted from its creation.
    pub rotate_after_s: u64,
    /// How long the next one is only trusted before it signs.
    pub settle_s: u64,
    /// How long what it signs is valid.
    pub leaf_s: u64,
    /// Raised by people to have it replaced now.
    pub rotation: u32,
}

/// Where a replacement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// One authority.
    Stable,
    /// The next one is trusted and does not sign yet.
    Published,
    /// The next one signs, and the one before is still trusted.
    Switched,
}

impl Step {
    /// As in a status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "Stable",
            Self::Published => "Published",
            Self::Switched => "Switched",
        }
    }
}

/// An authority with its key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair(..)")
    }
}

/// The authority of a cluster, with what comes and what went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Signs now.
    pub current: Pair,
    /// Will sign next.
    pub next: Option<Pair>,
    /// Signed before; its certificate alone.
    pub previous: Option<String>,
    /// Where a replacement stands.
    pub record: Record,
}

/// What is written down beside the keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Where a replacement stands.
    pub step: Step,
    /// Since when.
    pub since_s: u64,
    /// When the one that signs was made.
    pub created_s: u64,
    /// The last request of people that was acted on.
    pub rotation: u32,
}

impl Authority {
    /// The first one.
    pub fn create(name: &str, lifetimes: &Lifetimes, now_s: u64) -> Result<Self, PkiError> {
        Ok(Self {
            current: make(name, lifetimes, now_s)?,
            next: None,
            previous: None,
            record: Record {
                step: Step::Stable,
                since_s: now_s,
                created_s: now_s,
                rotation: lifetimes.rotation,
            },
        })
    }

    /// The next step, if it is time for one.
    pub fn advanced(
        &self,
        name: &str,
        lifetimes: &Lifetimes,
        now_s: u64,
    ) -> Result<Option<Self>, PkiError> {
        let Record { step, since_s, created_s, rotation } = self.record;
        let passed = |seconds: u64| now_s >= since_s.saturating_add(seconds);
        match step {
            Step::Stable => {
                let ends_s = not_after_s(&self.current.certificate)?;
                let reserve_s = lifetimes.settle_s.saturating_add(lifetimes.leaf_s);
                let due = now_s >= created_s.saturating_add(lifetimes.rotate_after_s)
                    || now_s.saturating_add(reserve_s) >= ends_s
                    || lifetimes.rotation > rotation;
                if !due {
                    return Ok(None);
                }
                let record = Record {
                    step: Step::Published,
                    since_s: now_s,
                    created_s,
                    rotation: lifetimes.rotation.max(rotation),
                };
                let next = Some(make(name, lifetimes, now_s)?);
                Ok(Some(Self { next, record, ..self.clone() }))
            }
            Step::Published if passed(lifetimes.settle_s) => {
                let next = self.next.clone().ok_or_else(|| {
                    PkiError::damaged("the certificate authority", "its successor is missing")
                })?;
                let record =
                    Record { step: Step::Switched, since_s: now_s, created_s: since_s, rotation };
                let previous = Some(self.current.certificate.clone());
                Ok(Some(Self { current: next, next: None, previous, record }))
            }
            // What the one before signed has ended by then.
            Step::Switched if passed(lifetimes.leaf_s.saturating_add(lifetimes.settle_s)) => {
                let record = Record { step: Step::Stable, since_s: now_s, created_s, rotation };
                Ok(Some(Self { previous: None, record, ..self.clone() }))
            }
            Step::Published | Step::Switched => Ok(None),
        }
    }

    /// Every certificate to trust now, PEM.
    pub fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|pair| &pair.certificate);
        let all = [Some(&self.current.certificate), next, self.previous.as_ref()];
        all.into_iter().flatten().map(|pem| format!("{}\n", pem.trim_end())).collect()
    }

    /// How many certificates are trusted.
    pub fn trusted(&self) -> u32 {
        1 + u32::from(self.next.is_some()) + u32::from(self.previous.is_some())
    }

    /// SHA-256 of the certificate that signs.
    pub fn fingerprint(&self) -> Result<String, PkiError> {
        let der = der_of(&self.current.certificate)?;
        Ok(HEXLOWER.encode(digest::digest(&digest::SHA256, &der).as_ref()))
    }

    /// When the certificate that signs ends.
    pub fn not_after_s(&self) -> Result<u64, PkiError> {
        not_after_s(&self.current.certificate)
    }

    /// Checks what was read: the keys fit their certificates.
    pub fn check(&self) -> Result<(), PkiError> {
        for pair in [Some(&self.current), self.next.as_ref()].into_iter().flatten() {
            iris_runtime::tls::certified_key(pair.certificate.as_bytes(), pair.key.as_bytes())
                .map_err(|error| PkiError::damaged("the certificate authority", error))?;
        }
        Ok(())
    }

    /// Signs with the one that signs now.
    pub(super) fn issuer(&self) -> Result<Issuer<'static, KeyPair>, PkiError> {
        let damaged = |error: rcgen::Error| PkiError::damaged("the certificate authority", error);
        let key = KeyPair::from_pem(&self.current.key).map_err(damaged)?;
        Issuer::from_ca_cert_pem(&self.current.certificate, key).map_err(damaged)
    }
}

fn make(name: &str, lifetimes: &Lifetimes, now_s: u64) -> Result<Pair, PkiError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // With the time, so that two authorities of a cluster can be told apart.
    params.distinguished_name.push(DnType::CommonName, format!("{name} {now_s}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now_s, now_s.saturating_add(lifetimes.valid_s));
    let certificate = params.self_signed(&key)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// From a little before `from_s` to `until_s`, seconds since 1970.
pub(super) fn set_validity(params: &mut CertificateParams, from_s: u64, until_s: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(from_s.saturating_sub(CLOCK_SKEW_S));
    params.not_after = epoch + Duration::from_secs(until_s);
}

/// When a certificate (PEM) ends, in seconds since 1970.
pub fn not_after_s(pem: &str) -> Result<u64, PkiError> {
    let der = der_of(pem)?;
    let (_, certificate) = X509Certificate::from_der(&der)
        .map_err(|error| PkiError::damaged("a certificate", error))?;
    Ok(u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default())
}

fn der_of(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| PkiError::damaged("a certificate", error))
}

#[cfg(test)]
mod tests;

//! Tokens taken apart and put together again, with more or less right to it.

use std::path::Path;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// A token's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Jwt {
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    signature: String,
}

impl Jwt {
    pub(super) fn parse(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (header, claims) = (object(parts.next()?)?, object(parts.next()?)?);
        let signature = parts.next()?.to_owned();
        parts.next().is_none().then_some(Self { header, claims, signature })
    }

    pub(super) fn with_header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn with_claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    fn input(&self) -> String {
        let part = |map: &Map<String, Value>| {
            BASE64URL_NOPAD.encode(&serde_json::to_vec(map).unwrap_or_default())
        };
        format!("{}.{}", part(&self.header), part(&self.claims))
    }

    /// With the signature that it had, whether that fits or not.
    pub(super) fn as_it_was_signed(&self) -> String {
        format!("{}.{}", self.input(), self.signature)
    }

    /// Without a signature.
    pub(super) fn unsigned(&self) -> String {
        format!("{}.", self.input())
    }

    pub(super) fn signed(&self, key: &Ed25519KeyPair) -> String {
        let input = self.input();
        let signature = BASE64URL_NOPAD.encode(key.sign(input.as_bytes()).as_ref());
        format!("{input}.{signature}")
    }

    pub(super) fn signed_hs256(&self, secret: &[u8]) -> String {
        let input = self.input();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let signature = BASE64URL_NOPAD.encode(hmac::sign(&key, input.as_bytes()).as_ref());
        format!("{input}.{signature}")
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).ok()?).ok()
}

/// An Ed25519 key from a PEM file (PKCS#8).
pub(super) fn signing_key(path: &Path) -> Result<Ed25519KeyPair, Failure> {
    let failed = |error: &str| {
        Failure::new(format!("{}: {error}", path.display()))
            .hint("--signing-key names a PEM file with an Ed25519 key in PKCS#8")
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error.to_string()))?;
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = BASE64.decode(body.trim().as_bytes()).map_err(|_| failed("not PEM"))?;
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der);
    key.map_err(|_| failed("no Ed25519 key in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_taken_apart_and_put_together() {
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let header = part(r#"{"alg":"EdDSA","kid":"k"}"#);
        let token = format!("{header}.{}.c2ln", part(r#"{"aud":"iris"}"#));
        let jwt = Jwt::parse(&token).unwrap();
        assert_eq!(jwt.as_it_was_signed(), token);
        let forged = Jwt::parse(&jwt.clone().with_claim("aud", "x").as_it_was_signed()).unwrap();
        assert_eq!(
            (forged.claims["aud"].as_str(), forged.signature),
            (Some("x"), "c2ln".to_owned())
        );
        let none = jwt.with_header("alg", "none").unsigned();
        assert!(none.ends_with('.') && !none.contains("c2ln"));
        assert!(Jwt::parse("a.b").is_none());
        assert!(Jwt::parse(&format!("{token}.x")).is_none());
    }
}

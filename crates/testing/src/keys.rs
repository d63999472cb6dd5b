//! Keys for tokens.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// A key that signs tokens, and the document by which they are checked.
#[derive(Debug)]
pub struct TokenKeys {
    /// The private key, as PEM.
    pub signing: String,
    /// Its name.
    pub kid: String,
    /// The document.
    pub jwks: Vec<u8>,
}

/// A new key.
pub fn token_keys() -> anyhow::Result<TokenKeys> {
    let pair = Ed25519KeyPair::generate()?;
    let der: Pkcs8V1Der<'_> = pair.as_der()?;
    let body = STANDARD.encode(der.as_ref());
    let signing = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let kid = "test".to_owned();
    let jwks = serde_json::json!({"keys": [{
        "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid,
        "x": URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
    }]});
    Ok(TokenKeys { signing, kid, jwks: serde_json::to_vec(&jwks)? })
}

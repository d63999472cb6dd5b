//! The negative tests of RFC 8725, and the positive ones that keep them honest.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::*;

const NOW: WallMs = WallMs(1_800_000_000_000);

struct Keys {
    signing: SigningKeys,
    tokens: Tokens,
    public: Vec<u8>,
    pem: String,
}

fn key_pair(kid: &str) -> (String, Value, Vec<u8>) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let der = pair.to_pkcs8v1().unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    let public = pair.public_key().as_ref().to_vec();
    let _ = pair.public_key().as_der().unwrap();
    let x = URL_SAFE_NO_PAD.encode(&public);
    let jwk =
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x});
    (pem, jwk, public)
}

fn keys() -> Keys {
    let (pem, jwk, public) = key_pair("k1");
    let document = serde_json::to_vec(&json!({"keys": [jwk]})).unwrap();
    let verifying = VerifyingKeys::from_document(document.into()).unwrap();
    let signing = SigningKeys::from_pem(pem.as_bytes(), "k1").unwrap();
    Keys { signing, tokens: Tokens::new("https://chat".to_owned(), verifying), public, pem }
}

fn device() -> DeviceId {
    DeviceId { account: AccountId::from_bytes(&[3; 16]).unwrap(), device: DeviceNo(2) }
}

fn access(keys: &Keys) -> String {
    let key = PublicKey([9; 32]);
    keys.tokens.sign_access(&keys.signing, device(), key, "default", NOW).unwrap()
}

/// A token with any header and claims, signed with the right key.
fn forged(keys: &Keys, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap());
    let input = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_ed_pem(keys.pem.as_bytes()).unwrap();
    let signature = jsonwebtoken::crypto::sign(input.as_bytes(), &key, Algorithm::EdDSA).unwrap();
    format!("{input}.{signature}")
}

fn good_header() -> Value {
    json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"})
}

fn good_claims() -> Value {
    let now = NOW.0 / 1000;
    json!({
        "iss": "https://chat", "aud": "iris", "sub": device().account.to_string(), "ten": "default",
        "dev": 2, "cnf": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([9; 32])}},
        "iat": now, "exp": now + 900, "jti": "x",
    })
}

fn with(mut value: Value, field: &str, to: Value) -> Value {
    value[field] = to;
    value
}

fn without(mut value: Value, field: &str) -> Value {
    value.as_object_mut().unwrap().remove(field);
    value
}

#[test]
fn tokens_come_back() {
    let keys = keys();
    let read = keys.tokens.access(&access(&keys), NOW).unwrap();
    assert_eq!((read.device, read.key), (device(), PublicKey([9; 32])));
    let signed = (device(), PublicKey([9; 32]));
    let refresh = keys.tokens.sign_refresh(&keys.signing, signed.0, signed.1, ("acme", 7), NOW);
    let refresh = keys.tokens.refresh(&refresh.unwrap(), NOW).unwrap();
    assert_eq!((refresh.generation, refresh.tenant.as_str()), (7, "acme"));
    let grant = keys.tokens.sign_grant(&keys.signing, device().account, "acme", NOW).unwrap();
    assert_eq!(keys.tokens.grant(&grant, NOW).unwrap().account, device().account);
    // The forge itself makes good tokens, so what it makes below is refused for its defect alone.
    let forged = forged(&keys, &good_header(), &good_claims());
    assert_eq!(keys.tokens.access(&forged, NOW).unwrap(), read);
}

#[test]
fn no_type_passes_for_another() {
    let keys = keys();
    let key = PublicKey([9; 32]);
    let refresh = keys.tokens.sign_refresh(&keys.signing, device(), key, ("default", 1), NOW);
    let grant = keys.tokens.sign_grant(&keys.signing, device().account, "default", NOW);
    let (access, refresh, grant) = (access(&keys), refresh.unwrap(), grant.unwrap());
    for token in [&refresh, &grant] {
        assert_eq!(keys.tokens.access(token, NOW), Err(TokenError::Invalid));
    }
    for token in [&access, &grant] {
        assert_eq!(keys.tokens.refresh(token, NOW), Err(TokenError::Invalid));
    }
    for token in [&access, &refresh] {
        assert_eq!(keys.tokens.grant(token, NOW), Err(TokenError::Invalid));
    }
}

#[test]
fn a_token_ends() {
    let keys = keys();
    let token = access(&keys);
    let later = |s: u64| WallMs(NOW.0 + s * 1000);
    assert!(keys.tokens.access(&token, later(ACCESS_LIFE_S)).is_ok(), "within the leeway");
    assert_eq!(keys.tokens.access(&token, later(ACCESS_LIFE_S + 5)), Err(TokenError::Expired));
    let early = WallMs(NOW.0 - 60_000);
    assert_eq!(keys.tokens.access(&token, early), Err(TokenError::Invalid), "not yet issued");
}

#[test]
fn algorithms_other_than_eddsa_are_refused() {
    let keys = keys();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap());
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = with(good_header(), "alg", json!(alg));
        for signature in ["", "AA"] {
            let token = format!("{}.{}.{signature}", part(&header), part(&good_claims()));
            assert_eq!(keys.tokens.access(&token, NOW), Err(TokenError::Invalid), "{alg}");
        }
    }
    // HS256 with the public key as the secret.
    let header = Header {
        typ: Some("at+jwt".to_owned()),
        kid: Some("k1".to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    for secret in [&keys.public[..], &keys.tokens.jwks()[..]] {
        let key = EncodingKey::from_secret(secret);
        let token = jsonwebtoken::encode(&header, &good_claims(), &key).unwrap();
        assert_eq!(keys.tokens.access(&token, NOW), Err(TokenError::Invalid));
    }
}

#[test]
fn another_key_under_the_same_name_is_refused() {
    let (keys, other) = (keys(), keys());
    assert_eq!(keys.tokens.access(&access(&other), NOW), Err(TokenError::Invalid));
    let mut token = access(&keys).into_bytes();
    let at = token.iter().rposition(|c| *c == b'.').unwrap() + 5;
    token[at] = if token[at] == b'A' { b'B' } else { b'A' };
    let token = String::from_utf8(token).unwrap();
    assert_eq!(keys.tokens.access(&token, NOW), Err(TokenError::Invalid));
}

#[test]
fn every_claim_is_needed_and_checked() {
    let keys = keys();
    let refused = |header: &Value, claims: &Value, why: &str| {
        let token = forged(&keys, header, claims);
        let error = keys.tokens.access(&token, NOW).expect_err(why);
        assert_eq!(error, TokenError::Invalid, "{why}");
    };
    for field in ["iss", "aud", "sub", "dev", "cnf", "iat", "exp", "ten"] {
        refused(&good_header(), &without(good_claims(), field), field);
    }
    for (field, value) in [
        ("iss", json!("https://other")),
        ("aud", json!("other")),
        ("aud", json!("iris-refresh")),
        ("sub", json!("u_short")),
        ("sub", json!(7)),
        ("dev", json!(0)),
        ("dev", json!("2")),
        ("exp", json!("1e9")),
        ("exp", json!(f64::MAX)),
        ("exp", json!(-1)),
        ("iat", json!(NOW.0 / 1000 + 3600)),
        ("cnf", json!({"jwk": {"kty": "oct", "crv": "Ed25519", "x": "AA"}})),
        ("cnf", json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AA"}})),
    ] {
        refused(
            &good_header(),
            &with(good_claims(), field, value.clone()),
            &format!("{field} {value}"),
        );
    }
    for (field, value) in [
        ("typ", json!("JWT")),
        ("typ", json!("iris-refresh+jwt")),
        ("kid", json!("k2")),
        ("kid", json!("../k1")),
        ("kid", json!("k1' OR 1=1")),
        ("crit", json!(["b64"])),
    ] {
        refused(
            &with(good_header(), field, value.clone()),
            &good_claims(),
            &format!("{field} {value}"),
        );
    }
    refused(&without(good_header(), "typ"), &good_claims(), "typ");
    refused(&without(good_header(), "kid"), &good_claims(), "kid");
}

#[test]
fn a_key_in_the_token_itself_is_ignored() {
    let keys = keys();
    let (pem, jwk, _) = key_pair("k1");
    let other = Keys { pem, ..self::keys() };
    let header = with(good_header(), "jwk", jwk);
    let header = with(header, "jku", json!("https://evil/jwks.json"));
    let token = forged(&other, &header, &good_claims());
    assert_eq!(keys.tokens.access(&token, NOW), Err(TokenError::Invalid));
}

#[test]
fn a_token_has_one_form() {
    let keys = keys();
    let token = access(&keys);
    for bad in [
        format!("{token}="),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{token}.{token}"),
        token.replacen('.', "..", 1),
        "a".repeat(TOKEN_BYTES_MAX + 1),
        String::new(),
        "..".to_owned(),
    ] {
        assert_eq!(keys.tokens.access(&bad, NOW), Err(TokenError::Invalid), "{bad:.40}");
    }
}

#[test]
fn rotation_keeps_old_tokens_and_needs_publication_first() {
    let (old_pem, old_jwk, _) = key_pair("k1");
    let (new_pem, new_jwk, _) = key_pair("k2");
    let tokens = |set: Vec<&Value>| {
        let document = serde_json::to_vec(&json!({"keys": set})).unwrap();
        Tokens::new(
            "https://chat".to_owned(),
            VerifyingKeys::from_document(document.into()).unwrap(),
        )
    };
    let sign = |pem: &str, kid| {
        let keys = SigningKeys::from_pem(pem.as_bytes(), kid).unwrap();
        tokens(vec![&old_jwk])
            .sign_access(&keys, device(), PublicKey([9; 32]), "default", NOW)
            .unwrap()
    };
    let (old, new) = (sign(&old_pem, "k1"), sign(&new_pem, "k2"));
    assert!(tokens(vec![&old_jwk]).access(&new, NOW).is_err(), "not published");
    let both = tokens(vec![&old_jwk, &new_jwk]);
    assert!(both.access(&old, NOW).is_ok() && both.access(&new, NOW).is_ok());
    assert!(tokens(vec![&new_jwk]).access(&old, NOW).is_err(), "retired");
}

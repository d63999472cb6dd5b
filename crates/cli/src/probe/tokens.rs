//! Tokens that must not let anybody in.

use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::BASE64URL_NOPAD;
use iris_client::{jwks, wall_ms};
use iris_core::id::DeviceNo;
use iris_proto::client as proto;
use iris_proto::frame::FrameType;
use serde_json::Value;

use crate::failure::Failure;

use super::Probe;
use super::check::Check;
use super::jwt::{Jwt, signing_key};
use super::person::Person;
use super::wire::{Raw, Seen, hello};

const EXPIRED: u32 = 2001;
const INVALID: u32 = 2002;
const REVOKED: u32 = 2003;
const PROOF: u32 = 2004;

pub(super) async fn run(
    probe: &Probe,
    person: &Person,
    checks: &mut Vec<Check>,
) -> Result<(), Failure> {
    let token = Jwt::parse(&person.access)
        .ok_or_else(|| Failure::new("the server's access token is no JWT"))?;
    let mut forged: Vec<(&str, String)> = vec![
        ("token alg none", token.clone().with_header("alg", "none").unsigned()),
        ("token alg none, signed", token.clone().with_header("alg", "none").as_it_was_signed()),
        ("token without signature", token.unsigned()),
        ("token of another account", token.clone().with_claim("sub", OTHER).as_it_was_signed()),
        ("token with a longer life", {
            token.clone().with_claim("exp", wall_ms() / 1000 + 864_000).as_it_was_signed()
        }),
        ("token by an unknown key", token.clone().with_header("kid", "nobody").as_it_was_signed()),
        ("token for refreshing", person.refresh.clone()),
        ("token of garbage", "not.a.token".to_owned()),
        ("token empty", String::new()),
        ("token of 200 KB", "x".repeat(200_000)),
    ];
    let published = jwks(&probe.connector).await?;
    forged.extend(hs256(&token, &published));
    for (name, forged) in forged {
        refused(probe, person, (name, INVALID), checks, |hello| hello.access_token = forged).await;
    }
    own_key(probe, person, &token, checks).await;
    signed(probe, person, &token, checks).await?;
    proofs(probe, person, checks).await;
    revoked(probe, person, checks).await?;
    let good = hello_with(probe, person, |_| {}).await;
    let ok = matches!(good, Seen::Frame(FrameType::Welcome, _));
    checks.push(Check::new("token as it was given", "WELCOME", &good.text(), ok));
    Ok(())
}

/// An account that is not ours.
const OTHER: &str = "u_aaaaaaaaaaaaaaaaaaaaaaaaaa";

/// HS256 with everything that is public as the secret.
fn hs256(token: &Jwt, published: &Value) -> Vec<(&'static str, String)> {
    let forged = token.clone().with_header("alg", "HS256");
    let keys = published["keys"].as_array().cloned().unwrap_or_default();
    let kid = token.header.get("kid");
    let key = keys.iter().find(|key| key.get("kid") == kid).or(keys.first());
    let x = key.and_then(|key| key["x"].as_str()).unwrap_or_default();
    let raw = BASE64URL_NOPAD.decode(x.as_bytes()).unwrap_or_default();
    vec![
        ("token HS256 over the public key", forged.signed_hs256(&raw)),
        ("token HS256 over its text", forged.signed_hs256(x.as_bytes())),
        ("token HS256 over the JWKS", forged.signed_hs256(published.to_string().as_bytes())),
    ]
}

/// Signed by a key that came with the token.
async fn own_key(probe: &Probe, person: &Person, token: &Jwt, checks: &mut Vec<Check>) {
    let Ok(key) = Ed25519KeyPair::generate() else { return };
    let x = BASE64URL_NOPAD.encode(aws_lc_rs::signature::KeyPair::public_key(&key).as_ref());
    let jwk = serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    let forged = token.clone().with_header("jwk", jwk).signed(&key);
    let name = ("token by a key of its own", INVALID);
    refused(probe, person, name, checks, |hello| hello.access_token = forged).await;
}

/// Tokens that the cluster might have signed, and would never.
async fn signed(
    probe: &Probe,
    person: &Person,
    token: &Jwt,
    checks: &mut Vec<Check>,
) -> Result<(), Failure> {
    let now = wall_ms() / 1000;
    let aged = |token: Jwt, age: u64| {
        token.with_claim("iat", now - age - 900).with_claim("exp", now - age)
    };
    let wrong: [(&str, u32, Jwt); 6] = [
        ("token wrong audience", INVALID, token.clone().with_claim("aud", "somebody-else")),
        ("token wrong issuer", INVALID, token.clone().with_claim("iss", "somebody-else")),
        ("token wrong type", INVALID, token.clone().with_header("typ", "JWT")),
        ("token expired", EXPIRED, aged(token.clone(), 60)),
        ("token expired long ago", EXPIRED, aged(token.clone(), 864_000)),
        (
            "token from the future",
            INVALID,
            token.clone().with_claim("iat", now + 3600).with_claim("exp", now + 7200),
        ),
    ];
    let key = match &probe.args.signing_key {
        Some(path) => Some(signing_key(path)?),
        None => None,
    };
    for (name, code, token) in wrong {
        match &key {
            Some(key) => {
                let forged = token.signed(key);
                let expected = (name, code);
                refused(probe, person, expected, checks, |hello| hello.access_token = forged).await;
            }
            None if probe.wants(name) => {
                checks.push(Check::skipped(name, &expected(code), "needs --signing-key"));
            }
            None => {}
        }
    }
    if let Some(key) = &key {
        // Else everything above was refused for the signature alone.
        let again = hello_with(probe, person, |hello| hello.access_token = token.signed(key)).await;
        let ok = matches!(again, Seen::Frame(FrameType::Welcome, _));
        let name = "token signed by --signing-key";
        checks.push(Check::new(name, "WELCOME", &again.text(), ok));
    }
    Ok(())
}

/// A token alone is worth nothing.
async fn proofs(probe: &Probe, person: &Person, checks: &mut Vec<Check>) {
    let name = ("proof missing", PROOF);
    refused(probe, person, name, checks, |hello| hello.proof.clear()).await;
    let other = person.key.prove_hello(&[7; 32], person.account, person.device);
    let name = ("proof of another connection", PROOF);
    refused(probe, person, name, checks, |hello| hello.proof = other.into()).await;
    let name = ("token of another device", INVALID);
    refused(probe, person, name, checks, |hello| hello.device += 1).await;
}

async fn revoked(probe: &Probe, person: &Person, checks: &mut Vec<Check>) -> Result<(), Failure> {
    let name = "token of a revoked device";
    if !probe.wants(name) {
        return Ok(());
    }
    let second = person.another_device(&probe.connector).await?;
    let client = person.client(&probe.connector)?;
    client.handle().revoke(DeviceNo(second.device.0)).await?;
    client.close().await?;
    refused(probe, &second, (name, REVOKED), checks, |_| {}).await;
    Ok(())
}

fn expected(code: u32) -> String {
    Seen::Error { code, closed: true }.text()
}

async fn refused(
    probe: &Probe,
    person: &Person,
    (name, code): (&str, u32),
    checks: &mut Vec<Check>,
    change: impl FnOnce(&mut proto::Hello),
) {
    if !probe.wants(name) {
        return;
    }
    let seen = hello_with(probe, person, change).await;
    let ok = seen == Seen::Error { code, closed: true };
    checks.push(Check::new(name, &expected(code), &seen.text(), ok));
}

/// What the server says to a HELLO that was changed.
async fn hello_with(
    probe: &Probe,
    person: &Person,
    change: impl FnOnce(&mut proto::Hello),
) -> Seen {
    let mut raw = match Raw::connect(probe).await {
        Ok(raw) => raw,
        Err(error) => return Seen::NoConnection(error),
    };
    let mut hello = hello(person, &raw.binding);
    change(&mut hello);
    raw.send(FrameType::Hello, &hello).await;
    raw.next(probe.args.patience).await
}

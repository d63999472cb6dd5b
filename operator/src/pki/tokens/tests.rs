use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};

use super::*;

fn lifetimes() -> Lifetimes {
    Lifetimes { rotate_after_s: 1000, settle_s: 60, retire_after_s: 500, rotation: 0 }
}

fn sign(keys: &Keys) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(keys.signing.public.kid.clone());
    let key = EncodingKey::from_ed_pem(keys.signing.pem.as_bytes()).unwrap();
    jsonwebtoken::encode(&header, &json!({"sub": "u"}), &key).unwrap()
}

fn accepts(jwks: &str, token: &str) -> bool {
    let set: JwkSet = serde_json::from_str(jwks).unwrap();
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let Some(jwk) = set.find(&kid) else { return false };
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    let key = DecodingKey::from_jwk(jwk).unwrap();
    jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation).is_ok()
}

#[test]
fn tokens_are_accepted_by_whoever_has_the_document() {
    let keys = Keys::create(&lifetimes(), 0).unwrap();
    let other = Keys::create(&lifetimes(), 0).unwrap();
    assert!(accepts(&keys.jwks(), &sign(&keys)));
    assert!(!accepts(&other.jwks(), &sign(&keys)));
}

#[test]
fn through_a_rotation_every_token_is_accepted_by_old_and_new_documents() {
    let lifetimes = lifetimes();
    let mut keys = Keys::create(&lifetimes, 0).unwrap();
    let mut states = vec![(0, keys.clone())];
    for now_s in 0..2000 {
        if let Some(next) = keys.advanced(&lifetimes, now_s).unwrap() {
            keys = next;
            states.push((now_s, keys.clone()));
        }
    }
    let times: Vec<_> = states.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [0, 1000, 1060, 1560], "published, signs, the old one retired");
    for pair in states.windows(2) {
        let ((_, before), (_, after)) = (&pair[0], &pair[1]);
        assert!(accepts(&before.jwks(), &sign(after)), "an edge that is late");
        let retired = after.retired.is_empty() && !before.retired.is_empty();
        assert!(retired || accepts(&after.jwks(), &sign(before)), "a token from before");
    }
}

#[test]
fn a_request_counts_once_and_never_two_at_a_time() {
    let lifetimes = Lifetimes { rotation: 3, ..lifetimes() };
    let keys = Keys::create(&Lifetimes { rotation: 0, ..lifetimes }, 0).unwrap();
    let asked = keys.advanced(&lifetimes, 1).unwrap().unwrap();
    assert_eq!(asked.rotation, 3);
    assert_eq!(asked.advanced(&lifetimes, 2).unwrap(), None);
    let signs = asked.advanced(&lifetimes, 61).unwrap().unwrap();
    assert_eq!(signs.signing.public.kid, asked.next.unwrap().public.kid);
    assert_eq!(signs.advanced(&lifetimes, 62).unwrap(), None);
}

#[test]
fn what_was_written_down_comes_back_and_crossed_keys_do_not() {
    let lifetimes = Lifetimes { rotation: 1, ..lifetimes() };
    let keys = Keys::create(&Lifetimes { rotation: 0, ..lifetimes }, 0).unwrap();
    let keys = keys.advanced(&lifetimes, 5).unwrap().unwrap();
    let next = keys.next.as_ref().map(|next| next.pem.clone());
    let back = Keys::restored(keys.record(), keys.signing.pem.clone(), next.clone()).unwrap();
    assert_eq!(back, keys);
    let crossed = Keys::restored(keys.record(), next.clone().unwrap(), next);
    assert!(crossed.is_err());
    assert!(Keys::restored(keys.record(), keys.signing.pem, None).is_err());
}

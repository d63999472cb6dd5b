//! The device's key: Ed25519, made on the device and kept there.
//!
//! Nothing here stores a key, and no seed is ever printed.

use std::fmt;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use iris_core::id::{AccountId, DeviceNo, PublicKey};
use zeroize::Zeroizing;

const HELLO: &[u8] = b"iris/1 hello\0";
const REFRESH: &[u8] = b"iris/1 refresh\0";
const LINK: &[u8] = b"iris/1 link\0";

/// What ties a proof to one connection: the TLS exporter's bytes, or the nonce of CHALLENGE.
pub type Binding = [u8; 32];

/// The 32 bytes that a device key is made from.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// A new one, from the system's source of randomness.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut bytes[..]).map_err(|_| KeyError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// From 32 stored bytes; nothing for another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// For the store.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// The seed makes no key.
    #[error("the stored seed makes no key")]
    BadSeed,
}

/// A device key, ready to sign.
#[derive(Debug)]
pub struct DeviceKey {
    pair: Ed25519KeyPair,
}

impl DeviceKey {
    /// The key of a seed.
    ///
    /// # Errors
    /// When the library refuses the seed.
    pub fn new(seed: &Seed) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.bytes());
        Ok(Self { pair: pair.map_err(|_| KeyError::BadSeed)? })
    }

    /// What the server knows of it.
    pub fn public(&self) -> PublicKey {
        let bytes = self.pair.public_key().as_ref().try_into();
        PublicKey(bytes.expect("an Ed25519 public key has 32 bytes"))
    }

    /// Proves for HELLO that this device holds the key, on this connection only: 64 bytes.
    pub fn prove_hello(&self, binding: &Binding, account: AccountId, device: DeviceNo) -> Vec<u8> {
        self.sign(&hello_input(binding, account, device))
    }

    /// Proves, for a new access token, that this device holds the key: 64 bytes.
    pub fn prove_refresh(&self, refresh_token: &str) -> Vec<u8> {
        self.sign(&[REFRESH, refresh_token.as_bytes()].concat())
    }

    /// Proves, for the first tokens of a linked device, that this device holds the key: 64 bytes.
    pub fn prove_link(&self, tenant: &str, handle: &str) -> Vec<u8> {
        self.sign(&link_input(tenant, handle))
    }

    fn sign(&self, input: &[u8]) -> Vec<u8> {
        self.pair.sign(input).as_ref().to_vec()
    }
}

/// What the proof of HELLO signs.
pub fn hello_input(binding: &Binding, account: AccountId, device: DeviceNo) -> Vec<u8> {
    [HELLO, binding, &account.to_bytes(), &device.0.to_be_bytes()].concat()
}

/// What the proof of a refresh signs.
pub fn refresh_input(refresh_token: &str) -> Vec<u8> {
    [REFRESH, refresh_token.as_bytes()].concat()
}

/// What the proof of a linked device signs: whose account it means to come into.
pub fn link_input(tenant: &str, handle: &str) -> Vec<u8> {
    [LINK, tenant.as_bytes(), b"\0", handle.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn proofs_verify_and_belong_to_one_connection() {
        let seed = Seed::generate().unwrap();
        let key = DeviceKey::new(&seed).unwrap();
        let public = UnparsedPublicKey::new(&ED25519, key.public().0);
        let account = AccountId::from_bytes(&[7; 16]).unwrap();
        let proof = key.prove_hello(&[1; 32], account, DeviceNo(3));
        let input = |binding| hello_input(&[binding; 32], account, DeviceNo(3));
        assert!(public.verify(&input(1), &proof).is_ok());
        assert!(public.verify(&input(2), &proof).is_err(), "another connection's binding");
        let refresh = key.prove_refresh("abc");
        assert!(public.verify(&refresh_input("abc"), &refresh).is_ok());
        assert!(public.verify(b"abc", &refresh).is_err());
        let link = key.prove_link("default", "ada");
        assert!(public.verify(b"iris/1 link\0default\0ada", &link).is_ok());
        assert!(public.verify(&link_input("default", "eve"), &link).is_err(), "another account");
    }

    #[test]
    fn a_seed_makes_the_same_key_again_and_is_not_printed() {
        let seed = Seed::from_bytes(&[9; 32]).unwrap();
        let again = Seed::from_bytes(seed.bytes()).unwrap();
        let public = |seed| DeviceKey::new(seed).unwrap().public();
        assert_eq!(public(&seed), public(&again));
        assert!(Seed::from_bytes(&[9; 31]).is_none());
        assert_eq!(format!("{seed:?}"), "Seed(..)");
    }
}

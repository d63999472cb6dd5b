//! Proofs of possession: Ed25519 signatures by device keys.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use iris_core::id::{DeviceId, PublicKey};

/// Whether `signature` is the key's over `message`.
pub fn verify(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key.0).verify(message, signature).is_ok()
}

/// What a linked device signs for its first tokens: whose account it means to come into.
pub fn link_input(tenant: &str, handle: &str) -> Vec<u8> {
    [b"iris/1 link\0", tenant.as_bytes(), b"\0", handle.as_bytes()].concat()
}

/// What the proof of HELLO is made over: the channel binding is the TLS exporter's or a nonce.
pub fn hello_input(binding: &[u8; 32], device: DeviceId) -> Vec<u8> {
    let mut input = b"iris/1 hello\0".to_vec();
    input.extend_from_slice(binding);
    input.extend_from_slice(&device.account.to_bytes());
    input.extend_from_slice(&device.device.0.to_be_bytes());
    input
}

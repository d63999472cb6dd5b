//! What a handle and a password may be, and who is a device that was vouched for.

use iris_core::code::Code;
use iris_core::id::{AccountId, PublicKey, TenantId};
use iris_core::limits;
use iris_proto::peer::OpenLinkedRequest;
use iris_store::HandleKey;

use super::Refused;

/// The shortest handle, in bytes.
const HANDLE_BYTES_MIN: usize = 3;

/// Why a handle or password is refused, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandleError {
    #[error(
        "a handle is 3 to 64 of a-z, 0-9, dot, hyphen and underscore, and begins with a letter or digit"
    )]
    Handle,
    #[error("no such tenant")]
    Tenant,
    #[error("a password is at least 8 characters and at most 256 bytes")]
    Password,
}

/// A handle, normalised: upper case is folded, nothing else is.
pub(super) fn handle_key(tenant: &str, handle: &str) -> Result<HandleKey, HandleError> {
    let tenant = if tenant.is_empty() { TenantId::DEFAULT } else { tenant };
    let tenant: TenantId = tenant.parse().map_err(|_| HandleError::Tenant)?;
    if tenant.as_str() != TenantId::DEFAULT {
        return Err(HandleError::Tenant);
    }
    let handle = handle.to_ascii_lowercase();
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = (HANDLE_BYTES_MIN..=limits::HANDLE_BYTES_MAX).contains(&handle.len())
        && handle.bytes().all(|c| plain(c) || matches!(c, b'.' | b'-' | b'_'))
        && handle.bytes().next().is_some_and(plain);
    if good { Ok(HandleKey { tenant, handle }) } else { Err(HandleError::Handle) }
}

/// Whether a new password is long enough to be one and short enough to be hashed.
pub(super) fn check_password(password: &str) -> Result<(), HandleError> {
    let good = password.len() <= limits::PASSWORD_BYTES_MAX
        && password.chars().count() >= limits::PASSWORD_CHARS_MIN;
    if good { Ok(()) } else { Err(HandleError::Password) }
}

/// The account that a device asks to come into, and its key, which it proves to hold.
pub(super) fn check_linked(request: &OpenLinkedRequest) -> Result<(AccountId, PublicKey), Refused> {
    let account = AccountId::from_bytes(&request.account);
    let account = account.map_err(|e| (Code::Invalid, e.to_string()))?;
    let key = PublicKey::from_bytes(&request.public_key);
    let key = key.map_err(|e| (Code::Invalid, e.to_string()))?;
    let signed = crate::proof::link_input(&request.tenant, &request.handle);
    if crate::proof::verify(&key, &signed, &request.proof) {
        Ok((account, key))
    } else {
        Err((Code::DeviceProof, "the proof does not fit the device's key".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    /// What a device with this seed asks for, with the proof that `signer` made over `signed`.
    fn linked(seed: u8, signer: u8, signed: &[u8]) -> OpenLinkedRequest {
        let pair = |seed| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        OpenLinkedRequest {
            account: vec![7; 16].into(),
            tenant: "default".to_owned(),
            handle: "ada".to_owned(),
            public_key: pair(seed).public_key().as_ref().to_vec().into(),
            proof: pair(signer).sign(signed).as_ref().to_vec().into(),
        }
    }

    #[test]
    fn only_who_holds_the_key_is_the_device() {
        let right = crate::proof::link_input("default", "ada");
        let good = linked(1, 1, &right);
        let (account, key) = check_linked(&good).unwrap();
        assert_eq!((account.to_bytes(), &key.0[..]), ([7; 16], &good.public_key[..]));
        let code = |request: &OpenLinkedRequest| check_linked(request).unwrap_err().0;
        assert_eq!(code(&linked(1, 2, &right)), Code::DeviceProof, "another key's");
        for signed in [&b"iris/1 refresh\0ada"[..], b"ada", b"iris/1 link\0\0ada"] {
            assert_eq!(code(&linked(1, 1, signed)), Code::DeviceProof, "of something else");
        }
        let other = OpenLinkedRequest { handle: "eve".to_owned(), ..good.clone() };
        assert_eq!(code(&other), Code::DeviceProof, "into another account");
        for proof in [vec![], vec![0; 64], vec![1; 1000], good.proof[..63].to_vec()] {
            let bad = OpenLinkedRequest { proof: proof.into(), ..good.clone() };
            assert_eq!(code(&bad), Code::DeviceProof);
        }
        for bytes in [0, 31, 33] {
            let bad = OpenLinkedRequest { public_key: vec![0; bytes].into(), ..good.clone() };
            assert_eq!(code(&bad), Code::Invalid);
        }
        let bad = OpenLinkedRequest { account: vec![7; 15].into(), ..good };
        assert_eq!(code(&bad), Code::Invalid);
    }

    #[test]
    fn handles_are_folded_and_bounded() {
        assert_eq!(handle_key("", "Alice.B-2_x").unwrap().handle, "alice.b-2_x");
        let long = "a".repeat(65);
        for bad in
            ["al", ".alice", "-alice", "al ice", "ålice", "alice@x", "", long.as_str(), "a\0bc"]
        {
            assert_eq!(handle_key("", bad), Err(HandleError::Handle), "{bad:?}");
        }
        assert_eq!(handle_key("other", "alice"), Err(HandleError::Tenant));
        assert_eq!(handle_key("../x", "alice"), Err(HandleError::Tenant));
    }

    #[test]
    fn passwords_are_bounded() {
        assert!(check_password("12345678").is_ok());
        assert!(check_password("ünïcödé!").is_ok());
        assert!(check_password("1234567").is_err());
        assert!(check_password(&"x".repeat(257)).is_err());
    }
}

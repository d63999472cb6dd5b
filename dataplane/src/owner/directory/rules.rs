//! What a handle and a password may be.

use iris_core::id::TenantId;
use iris_core::limits;
use iris_store::HandleKey;

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

#[cfg(test)]
mod tests {
    use super::*;

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

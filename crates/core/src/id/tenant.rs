//! Tenants.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::IdError;

/// A tenant's number, in every id of what it owns; the default tenant's is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TenantNo(pub u32);

/// A tenant's name; a tenant owns accounts, handles, groups, quotas and keys: 1 to 32 of a-z, 0-9 and inner hyphens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// The tenant of whoever names none.
    pub const DEFAULT: &'static str = "default";

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl FromStr for TenantId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let bytes = text.as_bytes();
        let ends = bytes.first().zip(bytes.last());
        let good = bytes.len() <= 32
            && bytes.iter().copied().all(plain)
            && ends.is_some_and(|(first, last)| *first != b'-' && *last != b'-');
        if good {
            Ok(Self(text.into()))
        } else {
            Err(IdError::new("a tenant (1 to 32 of a-z, 0-9 and inner hyphens)", text))
        }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

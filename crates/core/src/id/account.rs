//! Accounts, groups, devices, messages.

use std::fmt;
use std::str::FromStr;

use super::{IdError, ShardCount, ShardId, TenantNo};

/// How ids are written: Crockford's alphabet in lower case, without a letter that is taken for a digit.
/// Upper case and such letters are read, too.
pub fn encoding() -> data_encoding::Encoding {
    let mut spec = data_encoding::Specification::new();
    spec.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    spec.translate.from.push_str("oilABCDEFGHJKMNPQRSTVWXYZOIL");
    spec.translate.to.push_str("011abcdefghjkmnpqrstvwxyz011");
    spec.encoding().expect("the alphabet has 32 distinct symbols")
}

macro_rules! keyed_id {
    ($name:ident, $prefix:literal, $what:literal) => {
        #[doc = concat!("128 bits: 16 of key in the shard keyspace, 32 of tenant, 80 at random; written `", $prefix, "` and base32.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// From 16 bytes, big endian.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
                let bytes: [u8; 16] =
                    bytes.try_into().map_err(|_| IdError::bytes($what, bytes))?;
                Ok(Self(u128::from_be_bytes(bytes)))
            }

            /// An id of `tenant` whose key falls into `shard`; the other bits are `random`'s.
            pub fn in_shard(
                shard: ShardId,
                count: ShardCount,
                tenant: TenantNo,
                random: u128,
            ) -> Self {
                let spread = count.key_bits();
                let key = (u128::from(shard.get()) << spread)
                    | ((random >> 112) & ((1u128 << spread) - 1));
                let low = random & (u128::MAX >> 48);
                Self((key << 112) | (u128::from(tenant.0) << 80) | low)
            }

            /// 16 bytes, big endian.
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// The place in the shard keyspace.
            pub fn key(self) -> u16 {
                u16::try_from(self.0 >> 112).expect("16 bits remain")
            }

            /// Whose it is: nothing crosses tenants, and no look-up is needed to see it.
            pub fn tenant(self) -> TenantNo {
                TenantNo(u32::try_from((self.0 >> 80) & 0xffff_ffff).expect("32 bits remain"))
            }

            /// The shard that holds this id, for ever, as `count` never changes.
            pub fn shard(self, count: ShardCount) -> ShardId {
                count.shard_of_key(self.key())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), encoding().encode(&self.to_bytes()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError::new($what, text);
                let body = text.strip_prefix($prefix).ok_or_else(error)?;
                if body.len() != 26 {
                    return Err(error());
                }
                let bytes = encoding().decode(body.as_bytes()).map_err(|_| error())?;
                Self::from_bytes(&bytes).map_err(|_| error())
            }
        }
    };
}

keyed_id!(AccountId, "u_", "an account id (u_ and 26 characters of base32)");
keyed_id!(GroupId, "g_", "a group id (g_ and 26 characters of base32)");

/// A device of an account; 1 is the first, 0 names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNo(pub u32);

impl fmt::Display for DeviceNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A device, wherever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId {
    /// Whose it is.
    pub account: AccountId,
    /// Which of the account's.
    pub device: DeviceNo,
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.device)
    }
}

/// Chosen by the client for one message, the same on every retry and every copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MsgId(pub [u8; 16]);

impl MsgId {
    /// From 16 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        bytes.try_into().map(Self).map_err(|_| IdError::bytes("a message id (16 bytes)", bytes))
    }
}

impl fmt::Display for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// From 32 bytes; whether they are a point of the curve is for the verifier to say.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        bytes.try_into().map(Self).map_err(|_| IdError::bytes("a public key (32 bytes)", bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

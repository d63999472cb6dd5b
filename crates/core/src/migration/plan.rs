//! What a plan is known by.

use std::fmt;
use std::str::FromStr;

use super::Order;

/// A digest of everything that decides what a move does. Who approves it approves exactly that.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanHash(String);

/// Not the hash of a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the hash of a plan: it starts with b3: and has 64 hexadecimal digits")]
pub struct NoPlanHash;

impl FromStr for PlanHash {
    type Err = NoPlanHash;

    fn from_str(text: &str) -> Result<Self, NoPlanHash> {
        let digits = text.strip_prefix("b3:").ok_or(NoPlanHash)?;
        let hex = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if hex { Ok(Self(text.to_owned())) } else { Err(NoPlanHash) }
    }
}

impl fmt::Display for PlanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PlanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The hash of the plan that carries out an order. Numbers that change from minute to minute (accounts,
/// connections) are not in it: they inform whoever approves and decide nothing.
pub fn plan_hash(order: &Order) -> PlanHash {
    let Order { shard, region, source, epoch, target, fence_ms_max } = order;
    let mut hasher = blake3::Hasher::new_derive_key("iris.dev migration plan 1");
    hasher.update(&shard.get().to_le_bytes());
    hasher.update(&epoch.0.to_le_bytes());
    hasher.update(&fence_ms_max.to_le_bytes());
    for text in [region, source, target] {
        // With its length, so that a letter that moves from one name to the next is a change.
        hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    PlanHash(format!("b3:{}", hasher.finalize().to_hex()))
}

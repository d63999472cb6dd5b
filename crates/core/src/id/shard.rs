//! Shards: 16 bits of key, cut into a power of two of equal ranges.

use std::fmt;

use super::IdError;

/// How many shards a cluster has: a power of two up to 65,536, fixed when the cluster is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShardCount {
    log2: u8,
}

impl ShardCount {
    /// Refuses what is not a power of two from 1 to 65,536.
    pub fn new(count: u32) -> Result<Self, IdError> {
        match u8::try_from(count.trailing_zeros()) {
            Ok(log2) if count.is_power_of_two() && log2 <= 16 => Ok(Self { log2 }),
            _ => {
                let expected = "a shard count (a power of two up to 65536)";
                Err(IdError::new(expected, &count.to_string()))
            }
        }
    }

    /// The number itself.
    pub fn get(self) -> u32 {
        1 << self.log2
    }

    /// How many of the key's 16 bits lie below the shard's.
    pub fn key_bits(self) -> u32 {
        16 - u32::from(self.log2)
    }

    /// The shard that holds `key`.
    pub fn shard_of_key(self, key: u16) -> ShardId {
        let shard = u32::from(key) >> self.key_bits();
        ShardId(u16::try_from(shard).expect("a 16-bit key shifted right"))
    }

    /// Every shard, in order.
    pub fn shards(self) -> impl DoubleEndedIterator<Item = ShardId> + ExactSizeIterator {
        let count = usize::try_from(self.get()).expect("at most 65,536");
        (0..count).map(|n| ShardId(u16::try_from(n).expect("below 65,536")))
    }

    /// The shard with this number, if there is one.
    pub fn shard(self, number: u32) -> Result<ShardId, IdError> {
        match u16::try_from(number) {
            Ok(small) if number < self.get() => Ok(ShardId(small)),
            _ => Err(IdError::new("a shard of this cluster", &number.to_string())),
        }
    }
}

/// One of a cluster's shards, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(u16);

impl ShardId {
    /// Whether the shard exists is for [`ShardCount::shard`] to say.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number itself.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<ShardId> for u32 {
    fn from(shard: ShardId) -> Self {
        Self::from(shard.0)
    }
}

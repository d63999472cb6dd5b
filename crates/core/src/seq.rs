//! Numbers that count something: each has a type of its own, so that none is taken for another.

use std::fmt;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }

            /// The number before this one; 0 stays 0.
            #[must_use]
            pub const fn prev(self) -> Self {
                Self(self.0.saturating_sub(1))
            }

            /// How many numbers lie in `self..end`.
            pub const fn until(self, end: Self) -> u64 {
                end.0.saturating_sub(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

counter! {
    /// A block of a lane, from 0. As a bound it is exclusive.
    BlockSeq
}
counter! {
    /// A position of a shard: dense, from 1, continuing across epochs. As a bound it is exclusive.
    ShardSeq
}
counter! {
    /// A place in an account's inbox: dense, from 1; 0 is before the first.
    InboxSeq
}
counter! {
    /// A send of one device: dense, from 1; 0 is before the first.
    ClientSeq
}
counter! {
    /// A place in a group's order: dense, from 1; 0 is before the first.
    ConvSeq
}
counter! {
    /// An item of the outbox of one (source shard, destination shard): dense, from 1.
    OutboxSeq
}

/// An ownership of a shard: +1 with every change of owner, from 1; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch that the next claim gets.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A shard's home region, counted: +1 when the shard's home moves to another region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HomeGen(pub u8);

impl fmt::Display for HomeGen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

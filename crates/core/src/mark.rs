//! Marks: how far a conversation of two was received and read.
//!
//! Every part of a mark only grows. So marks may come late, twice and in any order, a lost one is made
//! good by the next, and a row of them needs no other timestamp than its own values.

use crate::clock::Hlc;
use crate::id::AccountId;

/// A conversation as one of the two has it. The clocks are those of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// The account read what the other one wrote, up to here.
    pub own_read: Hlc,
    /// What the account wrote is on a device of the other one, up to here.
    pub delivered: Hlc,
    /// The other one read what the account wrote, up to here.
    pub read: Hlc,
    /// The account's version of this change; a device that knows it knows this mark.
    pub version: u64,
}

impl Mark {
    /// The greater of each part.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            own_read: self.own_read.max(other.own_read),
            delivered: self.delivered.max(other.delivered),
            read: self.read.max(other.read),
            version: self.version.max(other.version),
        }
    }
}

/// What one account tells another of what that one wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Who received and read.
    pub from: AccountId,
    /// Who wrote.
    pub to: AccountId,
    /// Everything up to here is on a device.
    pub delivered: Hlc,
    /// Everything up to here was read; never above `delivered`.
    pub read: Hlc,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_knows_no_order() {
        let mark = |own_read, delivered, read, version| Mark {
            own_read: Hlc(own_read),
            delivered: Hlc(delivered),
            read: Hlc(read),
            version,
        };
        let (one, other) = (mark(5, 0, 0, 1), mark(3, 9, 7, 2));
        assert_eq!(one.merge(other), mark(5, 9, 7, 2));
        assert_eq!(one.merge(other), other.merge(one));
        assert_eq!(one.merge(other).merge(one), one.merge(other));
    }
}

//! The codes of the client protocol, and what a client should do about each.

/// Why something was refused or ended. The numbers are the protocol's and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
#[allow(missing_docs, reason = "docs/protocol.md describes each code")]
pub enum Code {
    Normal = 1000,
    GoingAway = 1001,
    Rebalance = 1002,
    AuthExpired = 2001,
    AuthInvalid = 2002,
    DeviceRevoked = 2003,
    DeviceProof = 2004,
    Protocol = 3001,
    UnsupportedVersion = 3002,
    FrameTooLarge = 3003,
    Gap = 3004,
    CursorTooOld = 4001,
    ReplacedByNewerConnection = 4003,
    NotMember = 4101,
    Blocked = 4102,
    StaleRoster = 4103,
    TooLarge = 4105,
    NoConversation = 4106,
    Forbidden = 4107,
    Damaged = 4108,
    HandleTaken = 4201,
    BadCredentials = 4202,
    NotFound = 4203,
    Invalid = 4204,
    TooManyDevices = 4205,
    RateLimited = 4290,
    Quota = 4291,
    OwnerMoving = 5001,
    StoreUnavailable = 5002,
    Overloaded = 5003,
}

/// What the client should do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Connect again, after the jitter or `retry_after`.
    Reconnect,
    /// Connect again, to another edge.
    ReconnectElsewhere,
    /// Get a new access token, then connect again.
    RefreshToken,
    /// This client is too old.
    Upgrade,
    /// Start again from a snapshot.
    Snapshot,
    /// Another connection of this device took over: do not come back by yourself.
    StayAway,
    /// Trying again cannot help.
    Fatal,
}

impl Code {
    /// Every code, in the order of the numbers.
    pub const ALL: [Self; 30] = [
        Self::Normal,
        Self::GoingAway,
        Self::Rebalance,
        Self::AuthExpired,
        Self::AuthInvalid,
        Self::DeviceRevoked,
        Self::DeviceProof,
        Self::Protocol,
        Self::UnsupportedVersion,
        Self::FrameTooLarge,
        Self::Gap,
        Self::CursorTooOld,
        Self::ReplacedByNewerConnection,
        Self::NotMember,
        Self::Blocked,
        Self::StaleRoster,
        Self::TooLarge,
        Self::NoConversation,
        Self::Forbidden,
        Self::Damaged,
        Self::HandleTaken,
        Self::BadCredentials,
        Self::NotFound,
        Self::Invalid,
        Self::TooManyDevices,
        Self::RateLimited,
        Self::Quota,
        Self::OwnerMoving,
        Self::StoreUnavailable,
        Self::Overloaded,
    ];

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The code with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|code| u32::from(code.number()) == number)
    }

    /// What the client of a closed connection should do.
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Normal
            | Self::GoingAway
            | Self::Rebalance
            | Self::Gap
            | Self::RateLimited
            | Self::OwnerMoving
            | Self::StoreUnavailable => Verdict::Reconnect,
            Self::Overloaded => Verdict::ReconnectElsewhere,
            Self::AuthExpired => Verdict::RefreshToken,
            Self::UnsupportedVersion => Verdict::Upgrade,
            Self::CursorTooOld => Verdict::Snapshot,
            Self::ReplacedByNewerConnection => Verdict::StayAway,
            Self::AuthInvalid
            | Self::DeviceRevoked
            | Self::DeviceProof
            | Self::Protocol
            | Self::FrameTooLarge
            | Self::NotMember
            | Self::Blocked
            | Self::StaleRoster
            | Self::TooLarge
            | Self::NoConversation
            | Self::Forbidden
            | Self::Damaged
            | Self::HandleTaken
            | Self::BadCredentials
            | Self::NotFound
            | Self::Invalid
            | Self::TooManyDevices
            | Self::Quota => Verdict::Fatal,
        }
    }

    /// Whether a send that got this code consumed its number: it is decided and never tried again
    /// under that number.
    pub const fn consumes(self) -> bool {
        match self {
            Self::NotMember
            | Self::Blocked
            | Self::StaleRoster
            | Self::TooLarge
            | Self::NoConversation
            | Self::Forbidden
            | Self::Damaged
            | Self::Quota => true,
            Self::Normal
            | Self::GoingAway
            | Self::Rebalance
            | Self::AuthExpired
            | Self::AuthInvalid
            | Self::DeviceRevoked
            | Self::DeviceProof
            | Self::Protocol
            | Self::UnsupportedVersion
            | Self::FrameTooLarge
            | Self::Gap
            | Self::CursorTooOld
            | Self::ReplacedByNewerConnection
            | Self::HandleTaken
            | Self::BadCredentials
            | Self::NotFound
            | Self::Invalid
            | Self::TooManyDevices
            | Self::RateLimited
            | Self::OwnerMoving
            | Self::StoreUnavailable
            | Self::Overloaded => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_come_back() {
        for pair in Code::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number());
        }
        for code in Code::ALL {
            assert_eq!(Code::from_number(u32::from(code.number())), Some(code));
        }
        assert_eq!(Code::from_number(4242), None);
    }

    #[test]
    fn only_refusals_of_sends_consume() {
        for code in Code::ALL {
            if code.consumes() {
                assert!((4100..4300).contains(&code.number()), "{code:?}");
            }
            if code.number() >= 5000 {
                assert!(!code.consumes(), "{code:?} is never definite");
            }
        }
    }
}

//! The codes of the client protocol, and what a client should do about each.

/// The codes and their numbers, once.
macro_rules! codes {
    ($($name:ident = $number:literal),* $(,)?) => {
        /// Why something was refused or ended. The numbers are the protocol's and never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "docs/protocol.md describes each code")]
        pub enum Code {
            $($name,)*
            /// One that a later version names: kept and passed on by its number.
            Later(Later),
        }

        impl Code {
            /// Every code that this program names, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The number on the wire.
            pub const fn number(self) -> u16 {
                match self {
                    $(Self::$name => $number,)*
                    Self::Later(Later(number)) => number,
                }
            }
        }
    };
}

codes! {
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

/// The number of a code that this program has no name for; nobody makes one from a number that has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Later(u16);

/// Numbers that codes may have, in any version.
const NUMBERS: std::ops::Range<u32> = 1_000..10_000;

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
    /// The code with this number, if this program names it.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| u32::from(code.number()) == number)
    }

    /// The code with this number, whichever version names it; nothing for what is no code's number.
    pub fn of_any_version(number: u32) -> Option<Self> {
        let later = || u16::try_from(number).ok().filter(|_| NUMBERS.contains(&number));
        Self::from_number(number).or_else(|| later().map(Later).map(Self::Later))
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
            | Self::StoreUnavailable
            // Who does not know why it ended loses nothing by coming again.
            | Self::Later(_) => Verdict::Reconnect,
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
            | Self::Overloaded
            // What is stored of a later version was decided by it; this one decides nothing with it.
            | Self::Later(_) => false,
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
        for &code in Code::ALL {
            let number = u32::from(code.number());
            assert_eq!(Code::from_number(number), Some(code));
            assert_eq!(Code::of_any_version(number), Some(code), "a name where there is one");
        }
        assert_eq!(Code::from_number(4242), None);
    }

    #[test]
    fn a_code_of_a_later_version_keeps_its_number() {
        let later = Code::of_any_version(4242).unwrap();
        assert_eq!((later.number(), later.consumes()), (4242, false));
        assert_eq!(later.verdict(), Verdict::Reconnect, "its meaning is not known");
        for wrong in [0, 1, 999, 10_000, 65_536, u32::MAX] {
            assert_eq!(Code::of_any_version(wrong), None, "{wrong} is no code's number");
        }
    }

    #[test]
    fn only_refusals_of_sends_consume() {
        for &code in Code::ALL {
            if code.consumes() {
                assert!((4100..4300).contains(&code.number()), "{code:?}");
            }
            if code.number() >= 5000 {
                assert!(!code.consumes(), "{code:?} is never definite");
            }
        }
    }
}

//! Sessions and their lanes.

use std::fmt;
use std::str::FromStr;

use super::{IdError, ShardId};

/// One incarnation of an owner process: random, made at its start, never stored for reuse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(uuid::Uuid);

impl SessionId {
    /// From 16 bytes that the caller drew at random.
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// From a stored uuid.
    pub const fn from_uuid(uuid: uuid::Uuid) -> Self {
        Self(uuid)
    }

    /// From 16 stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        uuid::Uuid::from_slice(bytes)
            .map(Self)
            .map_err(|_| IdError::bytes("a session id (16 bytes)", bytes))
    }

    /// As a uuid.
    pub const fn uuid(self) -> uuid::Uuid {
        self.0
    }

    /// As 16 bytes.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for SessionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        uuid::Uuid::parse_str(text).map(Self).map_err(|_| IdError::new("a session id", text))
    }
}

/// One commit pipeline of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneNo(pub u8);

impl LaneNo {
    /// The lane that `shard` uses in a session of `lanes` lanes, always.
    pub fn of_shard(shard: ShardId, lanes: u8) -> Self {
        let lane = shard.get() % u16::from(lanes.max(1));
        Self(u8::try_from(lane).expect("below 256"))
    }
}

impl fmt::Display for LaneNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A lane of a session, wherever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    /// Whose it is.
    pub session: SessionId,
    /// Which of the session's.
    pub lane: LaneNo,
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.session, self.lane)
    }
}

//! Known defects of the protocol, each a switch in the code that it breaks.
//!
//! The simulator switches one on and must find what it does; a simulator that does not is too weak.
//! Only a build with the feature `mutations` has the switches; nothing that ships is one.

use std::fmt;

/// A defect. The names are those of the model of the shard log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// A fence read covers blocks that are not durable yet.
    M1,
    /// The tail of a dead lane is read before its fence is written.
    M2,
    /// A dead lane is sealed without writing back what may be on a minority.
    M3,
    /// A seal is written by whoever is last. The switch is the store's.
    M4,
    /// Blocks are released without a fence read.
    M5,
    /// Blocks are released out of order.
    M6,
    /// A shard is released with entries on their way.
    N1,
    /// A shard is claimed though its session is neither sealed nor released it.
    N2,
    /// A shard that drains admits sends until it is gone.
    N3,
    /// A shard is served on after its release was sent.
    N4,
    /// The answer to a repeated send does not wait for the release of what it tells.
    N5,
    /// An outbox is pushed from the first new item, not from the first unconfirmed one.
    N6,
    /// What a shard appends while its rows are written for a move is not handed over.
    N7,
    /// Blocks say that what a shard handed over is in rows before it is released.
    N8,
    /// What a plain read says of a shard's ownership is believed.
    N9,
    /// A checkpoint may lie before its own ownership.
    C1,
    /// A group gives a place to whatever comes, whoever wrote it.
    G1,
    /// Who gets a message of a group is computed after what it changes.
    G2,
    /// Readers of a group's log are told of places that have no rows yet.
    G3,
    /// Rows of a group's log have the timestamps of the shards that write them.
    G4,
    /// Members read a large group's log whether or not those who left have heard so.
    G5,
}

impl Mutation {
    /// Every one.
    pub const ALL: [Self; 21] = [
        Self::M1,
        Self::M2,
        Self::M3,
        Self::M4,
        Self::M5,
        Self::M6,
        Self::N1,
        Self::N2,
        Self::N3,
        Self::N4,
        Self::N5,
        Self::N6,
        Self::N7,
        Self::N8,
        Self::N9,
        Self::C1,
        Self::G1,
        Self::G2,
        Self::G3,
        Self::G4,
        Self::G5,
    ];

    /// What is wrong with it on, in a few words.
    pub const fn what(self) -> &'static str {
        match self {
            Self::M1 => "a fence read covers blocks that are not durable",
            Self::M2 => "the tail is read before the fence is written",
            Self::M3 => "a lane is sealed without writing back its tail",
            Self::M4 => "the last writer of a seal wins",
            Self::M5 => "blocks are released without a fence read",
            Self::M6 => "blocks are released out of order",
            Self::N1 => "a shard is released with entries on their way",
            Self::N2 => "a shard is claimed that is neither released nor sealed",
            Self::N3 => "a draining shard admits sends until it is gone",
            Self::N4 => "a shard is served on after its release was sent",
            Self::N5 => "a repeated send is answered before its first is released",
            Self::N6 => "an outbox is pushed from the first new item on",
            Self::N7 => "what a moving shard appended last is not handed over",
            Self::N8 => {
                "blocks say that what only the log has is in rows, while its shard is released"
            }
            Self::N9 => "what a plain read says of a shard's ownership is believed",
            Self::C1 => "a checkpoint lies before its own ownership",
            Self::G1 => "a group gives places to what nobody of its members wrote",
            Self::G2 => "who gets a group's message is computed after what it changes",
            Self::G3 => "readers of a group's log are told of places without rows",
            Self::G4 => "rows of a group's log have the timestamps of whoever writes them",
            Self::G5 => "members read a group's log before those who left heard so",
        }
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(feature = "mutations")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Switches a defect on for this thread, or all off.
#[cfg(feature = "mutations")]
pub fn activate(mutation: Option<Mutation>) {
    ACTIVE.set(mutation);
}

/// Whether a defect is on.
#[cfg(feature = "mutations")]
pub fn is_on(mutation: Mutation) -> bool {
    ACTIVE.get() == Some(mutation)
}

/// Whether any defect is on.
#[cfg(feature = "mutations")]
pub fn is_any_on() -> bool {
    ACTIVE.get().is_some()
}

/// Whether any defect is on: never, without the feature.
#[cfg(not(feature = "mutations"))]
pub const fn is_any_on() -> bool {
    false
}

/// Whether a defect is on: never, without the feature.
#[cfg(not(feature = "mutations"))]
pub const fn is_on(_: Mutation) -> bool {
    false
}

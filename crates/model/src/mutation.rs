//! Known defects of the protocol, each a switch in the step that it breaks.
//!
//! The names are those of the switches in the real code (`iris_core::mutation`), which the simulator
//! must find; here every one of them must have a counterexample.

use std::fmt;

/// A defect.
///
/// Not here, as the model has nothing that they could break: N5 (a repeated send is answered before
/// its first is released) and N6 (an outbox is pushed from the first new item on), as there are no
/// clients and no outboxes, and C1 (a checkpoint lies before its own ownership), as replays start
/// at a shard's first entry. The simulator finds those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// A fence read covers blocks whose write has not succeeded; they are released when it has.
    M1,
    /// The tail of a lane is read before its session's fence is written.
    M2,
    /// A lane is sealed without writing back what may be on a minority.
    M3,
    /// A seal is written by whoever is last.
    M4,
    /// Blocks are released without a fence read.
    M5,
    /// A block is released though one before it is not durable.
    M6,
    /// A shard is released with entries on their way.
    N1,
    /// A shard is claimed though its epoch is not released and its session not sealed.
    N2,
    /// A shard that is drained admits until its release is sent.
    N3,
    /// A shard is served on after its release was sent.
    N4,
}

impl Mutation {
    /// Every one.
    pub const ALL: [Self; 10] = [
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
            Self::N3 => "a draining shard admits until its release is sent",
            Self::N4 => "a shard is served on after its release was sent",
        }
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

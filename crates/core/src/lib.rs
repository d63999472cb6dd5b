//! The pure core of Iris.
//!
//! Everything that decides something about a message, a shard, a takeover or a move is here, as
//! functions and state machines over values. Nothing here reads a clock, does I/O, draws a random
//! number, or depends on another crate of Iris; time and identifiers are arguments. A shell (the
//! data plane, the control plane, the operator, the simulator) reads inputs, calls the core, and
//! performs the effects in order.
//!
//! The invariants that the types here keep are named in `docs/ARCHITECTURE.md`.

pub mod account;
pub mod block;
pub mod clock;
pub mod code;
pub mod engine;
pub mod entry;
pub mod fence;
pub mod group;
pub mod id;
pub mod lane;
pub mod limits;
pub mod mark;
pub mod message;
pub mod migration;
pub mod mutation;
pub mod placement;
pub mod ranges;
pub mod rate;
pub mod relation;
pub mod seq;
pub mod shard;
pub mod signal;
pub mod takeover;

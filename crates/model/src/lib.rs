//! The protocol of the shard log as an exhaustive model: every order of its steps within a bound.
//!
//! The simulator (`iris-sim`) draws long runs of the real code from seeds; this walks through all
//! short runs of the protocol, and shares no code with it. Both know the same defects.
//!
//! # What is modelled
//!
//! Three sessions with a lane each, and two shards. The first session starts as the owner of both,
//! so its blocks hold entries of both; a shard comes to another lane by a move or a takeover. Steps
//! are [`step::Step`]:
//!
//! - An owner forms a block with an entry of one of its shards, or of each; blocks are written at
//!   once and end in any order. A fence read that sees none releases what was durable when it
//!   began.
//! - A shard moves: the source stops, sends its release, and the store performs it; anybody claims,
//!   the source too, replays every ownership from the shard's first entry, and appends to its own
//!   lane.
//! - Any session takes any other for dead, rightly or not, and so may two at once: fence, tail,
//!   write-back, seal. A recoverer owns shards itself, and is taken over like any other.
//! - A claim, a release and a seal are compare-and-swaps of unknown outcome: sending one and
//!   performing it are two steps with anything between them, also the sender's death, and the
//!   second may never come. An owner serves because of the row that it reads, not because of an
//!   answer. A session that is fenced and does not know it goes on claiming, appending and writing,
//!   and still claims and ends its writes when it is sealed.
//! - A session dies by taking no further step, which each may do after any step of its own: nobody
//!   waits for another. Within [`Bounds::MORTAL`] a death is a step as well, with what was in
//!   memory gone and what was sent on its way.
//!
//! # How a replicated row is modelled
//!
//! A block is durable, or it is not. One that is not may be on any minority of the replicas, or
//! reach them hours later; so each read sees it or misses it, and the next read may differ. A
//! durable one is seen by every read that begins later, as quorums intersect. That allows all that
//! replicas do, and more. A tail read is one step although it takes time: what it sees of a lane is
//! decided at its first gap, and there is a moment in the read when exactly that was missing. A
//! fence read is one step as well: it sees none only if it began before the fence was on a quorum,
//! and if it sees one, the session is dead, which it may be anyway. For the same reason a fence has
//! no state between absent and written.
//!
//! # Bounds
//!
//! [`Bounds`] limits blocks, claims, releases and deaths, not the order of anything. States that
//! differ in the names of the shards, or of the two sessions that start with nothing, count once.
//! States are told apart by 64 bits of hash. A claim that is never performed counts as on its way
//! for good.
//!
//! # What is left out
//!
//! Checkpoints and derived rows (every replay is of the whole log, so what they skip is not
//! checked); the hash chain and the marks in headers (a tail is read from its start); the state
//! that a source hands over (a target replays); clients, outboxes and connections; `home_gen`;
//! clocks, and with them the time for which a fence read is good; a lane of a session beside
//! another, as lanes share nothing but the fence; a session with two claims of one shard on their
//! way. Nothing is said about whether anything ever happens, but for what must be reachable.

pub mod list;
pub mod mutation;
pub mod properties;
mod replay;
pub mod state;
pub mod step;

use stateright::{Model, Property};

use mutation::Mutation;
use state::State;
use step::Step;

/// How far the model goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How many blocks are formed.
    pub blocks: u8,
    /// How many blocks one lane has.
    pub blocks_of_a_lane: u8,
    /// How many claims are performed.
    pub claims: u8,
    /// How many claims are on their way at once.
    pub claims_at_once: u8,
    /// How many releases are sent.
    pub moves: u8,
    /// How many sessions die, beyond those that take no further step.
    pub deaths: u8,
}

impl Bounds {
    /// Room for two owners in a chain that both append and release, and a tail that nobody released.
    pub const LONG: Self =
        Self { blocks: 3, blocks_of_a_lane: 2, claims: 2, claims_at_once: 1, moves: 1, deaths: 0 };
    /// With a claim more: a shard goes through four owners, or comes back.
    pub const CHAIN: Self = Self { blocks: 2, claims: 3, ..Self::LONG };
    /// With a death as a step, and a second claim while the first is on its way, or is lost.
    pub const MORTAL: Self = Self { blocks: 2, claims_at_once: 2, deaths: 1, ..Self::LONG };
    /// Within these each known defect has a counterexample.
    pub const DEFECT: Self = Self { blocks: 2, ..Self::LONG };
}

/// The model.
#[derive(Debug, Clone, Copy)]
pub struct ShardLog {
    /// How far it goes.
    pub bounds: Bounds,
    /// A defect that is switched on.
    pub mutation: Option<Mutation>,
}

impl Model for ShardLog {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::initial()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        step::offer(self, state, steps);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        Some(step::take(self, state, step))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self.bounds)
    }
}

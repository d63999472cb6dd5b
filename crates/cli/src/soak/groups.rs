//! Groups in a run: who is in which, how they are made, what is written to them, and a ledger of it.

pub(super) mod ledger;
mod plan;
mod setup;
mod traffic;
mod watched;

pub(super) use plan::Plan;
pub(super) use setup::make;
pub(super) use traffic::Traffic;
pub(super) use watched::{Odd, Watched};

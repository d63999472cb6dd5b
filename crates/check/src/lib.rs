//! What Iris promises, as checkers over histories.
//!
//! A history is what clients wrote down (and, where it helps to explain, what processes did), from the
//! simulator, from a soak, or from a test on a cluster. Each invariant has one checker, which needs time
//! linear in the history, for every message is unique and every place has a number. Each checker is
//! itself tested: [`planted`] holds histories with violations that it must find.
//!
//! Never depends on another crate of Iris: what is checked and what checks it share no code.

pub mod checks;
pub mod history;
pub mod planted;

pub use checks::{Bounds, Invariant, Verdict, Violation, check};

//! The programs for people: `iris`, to chat, to measure and to probe, and `kubectl-iris`, to operate.
//!
//! Nothing here decides anything about the protocol or about a move: that is the SDK's, and the operator's.

pub mod args;
mod command;
mod connect;
mod dev;
mod duration;
mod failure;
mod groups;
pub mod operate;
mod output;
mod probe;
mod profile;
mod prompt;
pub mod soak;

pub use command::run as run_iris;
pub use failure::Failure;
pub use output::Output;

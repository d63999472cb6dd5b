//! The owner role: one session, its lanes, and the services around them.

mod acquire;
mod config;
mod directory;
mod edge_link;
mod fence;
mod held;
mod inputs;
mod lane;
mod leave;
mod membership;
mod metrics;
mod moves;
mod outbox;
mod panics;
mod password;
mod process;
mod report;
mod takeover;

pub use config::OwnerConfig;
pub use process::{Owner, OwnerDeps};

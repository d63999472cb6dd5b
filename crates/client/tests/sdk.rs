//! The SDK against an edge over real connections.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, outside their functions")]

#[path = "support.rs"]
mod support;

#[path = "sdk/account.rs"]
mod account;
#[path = "sdk/chat.rs"]
mod chat;
#[path = "sdk/edges.rs"]
mod edges;
#[path = "sdk/faults.rs"]
mod faults;
#[path = "sdk/groups.rs"]
mod groups;
#[path = "sdk/history.rs"]
mod history;
#[path = "sdk/link.rs"]
mod link;
#[path = "sdk/marks.rs"]
mod marks;
#[path = "sdk/people.rs"]
mod people;
#[path = "sdk/presence.rs"]
mod presence;
#[path = "sdk/refusals.rs"]
mod refusals;

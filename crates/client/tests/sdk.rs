//! The SDK against an edge over real connections.

#[path = "support.rs"]
mod support;

#[path = "sdk/chat.rs"]
mod chat;

//! The edge role: terminates clients' TLS, checks who they are, and passes frames between them and
//! owners. It holds no delivery state: whatever it forgets, the client's cursor and numbers bring back.

mod admission;
mod carrier;
mod config;
mod conn;
mod drain;
mod hello;
mod http;
mod links;
mod listener;
mod metrics;
mod process;
mod registry;
mod websocket;

pub use config::EdgeConfig;
pub use process::{Edge, EdgeDeps, ListenerKey};

//! Bytes between this device and the edges: TLS 1.3, frames on it or in a WebSocket, HTTPS.
//!
//! Nothing here knows what a frame means.

mod address;
mod dial;
mod http;
mod tls;
mod wire;

pub use address::EdgeAddr;
pub(crate) use dial::{Dialed, dial, rotation};
pub(crate) use http::{HttpError, get, post};
pub(crate) use tls::Configs;
pub use tls::Trust;
pub(crate) use wire::Wire;

//! The client SDK of Iris.
//!
//! - [`session`]: the client's half of the protocol iris/1, without I/O;
//! - [`store`]: the device's own durable memory;
//!
//! Nothing here looks into a message: bodies are opaque, on the device as on the server.

pub mod key;
pub mod place;
pub mod session;
pub mod store;

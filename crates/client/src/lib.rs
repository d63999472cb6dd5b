//! The client SDK of Iris.
//!
//! - [`session`]: the client's half of the protocol iris/1, without I/O;
//! - [`store`]: the device's own durable memory;
//! - [`Client`]: both of them around a network connection that comes back by itself.
//!
//! ```no_run
//! # use iris_client::{Carrier, Client, Connector, Credentials, Event, Options, Trust};
//! # use iris_client::store::{FileStore, HistoryMax};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let edges = vec!["localhost:8443".parse()?];
//! let connector = Connector::new(edges, &Trust::System, Carrier::Tls)?;
//! let store = FileStore::open("state/ada".as_ref(), HistoryMax::PERSON)?;
//! let who = Credentials::new("ada", "a long password", "laptop");
//! let mut client = Client::register(&connector, store, &who, Options::default()).await?;
//! let grace = client.find_account("grace").await?;
//! let receipt = client.send(grace, "hello").await?;
//! let decided = receipt.await?;
//! while let Some(event) = client.next().await {
//!     if let Event::Placed(place) = event {
//!         let _ = (place, decided);
//!         break;
//!     }
//! }
//! client.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here looks into a message: bodies are opaque, on the device as on the server.

mod account;
mod client;
mod clock;
mod connector;
mod driver;
mod error;
pub mod groups;
pub mod key;
mod link;
mod net;
pub mod place;
pub mod session;
pub mod store;

pub use account::{Credentials, jwks, login, register};
pub use client::{Client, Handle, Options, Receipt, new_group_id};
pub use clock::wall_ms;
pub use connector::{Carrier, Connector};
pub use driver::{Decided, Handler};
pub use error::ClientError;
pub use link::{BadCode, LinkCode, link, link_code};
pub use net::{EdgeAddr, Trust};
pub use session::{
    DeviceInfo, Draft, Event, Fetch, LogFetch, LogPage, Outcome, Page, Readers, Stop, Why,
};

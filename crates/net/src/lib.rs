//! TCP as the processes and the clients of Iris take it: the system's. A simulation has a network of
//! its own, which it sets on the threads that it runs on; so what it tests are the shells that ship.
//!
//! Never more than what tokio's sockets can do, and on a thread without another network nothing but
//! them.

mod listener;
mod stream;
mod target;

use std::cell::RefCell;
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

pub use listener::TcpListener;
pub use stream::TcpStream;
pub use target::Target;

/// A network that is not the system's.
pub trait Network: Send + Sync + 'static {
    /// Listens on a port of the host of whoever asks.
    fn bind(&self, at: Target) -> BoxFuture<'static, io::Result<Box<dyn Listen>>>;

    /// Connects the host of whoever asks.
    fn connect(&self, to: Target) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;

    /// The addresses of a host, each with the port.
    fn lookup(&self, host: Target) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// A listener of such a network.
pub trait Listen: Send + Sync + 'static {
    /// The next connection, and where it is from.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>>;

    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A connection of such a network.
pub trait Stream: AsyncRead + AsyncWrite + Debug + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin + 'static> Stream for S {}

thread_local! {
    static NETWORK: RefCell<Option<Arc<dyn Network>>> = const { RefCell::new(None) };
}

/// Has whoever runs on this thread take this network, until it is dropped.
#[must_use = "without it the system's network is there again"]
#[derive(Debug)]
pub struct OnThisThread(());

impl OnThisThread {
    /// See the type.
    pub fn set(network: impl Network) -> Self {
        NETWORK.set(Some(Arc::new(network)));
        Self(())
    }
}

impl Drop for OnThisThread {
    fn drop(&mut self) {
        NETWORK.set(None);
    }
}

/// The network of this thread, where it is not the system's.
fn network() -> Option<Arc<dyn Network>> {
    NETWORK.with_borrow(Clone::clone)
}

/// The addresses of a host, each with the port.
///
/// # Errors
/// When there is no such host.
pub async fn lookup_host(host: impl Into<Target>) -> io::Result<Vec<SocketAddr>> {
    let host = host.into();
    match network() {
        Some(network) => network.lookup(host).await,
        None => {
            let found =
                target::with_target!(host, at => tokio::net::lookup_host(at).await?.collect());
            Ok(found)
        }
    }
}

//! Listening.

use std::io;
use std::net::SocketAddr;

use crate::stream::{Inner as StreamInner, TcpStream};
use crate::target::with_target;
use crate::{Listen, Target, network};

/// A listener of the system's, or of a simulation's network.
pub struct TcpListener(Inner);

enum Inner {
    System(tokio::net::TcpListener),
    Other(Box<dyn Listen>),
}

impl TcpListener {
    /// Listens at an address of this host. Another network than the system's has one for each host and
    /// takes of it the port alone.
    ///
    /// # Errors
    /// When it is taken, or not this host's.
    pub async fn bind(address: impl Into<Target>) -> io::Result<Self> {
        let address = address.into();
        Ok(Self(match network() {
            Some(network) => Inner::Other(network.bind(address).await?),
            None => {
                Inner::System(with_target!(address, at => tokio::net::TcpListener::bind(at).await?))
            }
        }))
    }

    /// The next connection, and where it is from.
    ///
    /// # Errors
    /// When the host cannot take one.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (inner, from) = match &self.0 {
            Inner::System(listener) => {
                let (stream, from) = listener.accept().await?;
                (StreamInner::System(stream), from)
            }
            Inner::Other(listener) => {
                let (stream, from) = listener.accept().await?;
                (StreamInner::Other(stream), from)
            }
        };
        Ok((TcpStream(inner), from))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the host does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Inner::System(listener) => listener.local_addr(),
            Inner::Other(listener) => listener.local_addr(),
        }
    }
}

//! Connections.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::target::with_target;
use crate::{Stream, Target, network};

/// A connection of the system's, or of a simulation's network.
#[derive(Debug)]
pub struct TcpStream(pub(crate) Inner);

#[derive(Debug)]
pub(crate) enum Inner {
    System(tokio::net::TcpStream),
    Other(Box<dyn Stream>),
}

impl TcpStream {
    /// Connects.
    ///
    /// # Errors
    /// When nobody answers there.
    pub async fn connect(to: impl Into<Target>) -> io::Result<Self> {
        let to = to.into();
        Ok(Self(match network() {
            Some(network) => Inner::Other(network.connect(to).await?),
            None => {
                Inner::System(with_target!(to, at => tokio::net::TcpStream::connect(at).await?))
            }
        }))
    }

    /// Whether small segments leave at once.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        match &self.0 {
            Inner::System(stream) => stream.set_nodelay(on),
            Inner::Other(_) => Ok(()),
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Inner::System(stream) => Pin::new(stream).poll_read(context, into),
            Inner::Other(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Inner::System(stream) => Pin::new(stream).poll_write(context, bytes),
            Inner::Other(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Inner::System(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Inner::Other(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Inner::System(stream) => stream.is_write_vectored(),
            Inner::Other(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Inner::System(stream) => Pin::new(stream).poll_flush(context),
            Inner::Other(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Inner::System(stream) => Pin::new(stream).poll_shutdown(context),
            Inner::Other(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

//! The network of a world, as the shells take it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use iris_net::{Listen, Network, Stream, Target};
use iris_runtime::task::Pace as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream, lookup_host};

use crate::ground::Ground;
use crate::stillness::Stillness;

/// See the module.
pub(crate) struct Simulated(pub(crate) Arc<Ground>);

impl Network for Simulated {
    fn bind(&self, at: Target) -> BoxFuture<'static, io::Result<Box<dyn Listen>>> {
        let ground = Arc::clone(&self.0);
        async move {
            let (_, port) = parts(&at)?;
            let listener = TcpListener::bind(("0.0.0.0", port)).await?;
            Ok(Box::new(Listener { listener, ground }) as Box<dyn Listen>)
        }
        .boxed()
    }

    fn connect(&self, to: Target) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let ground = Arc::clone(&self.0);
        async move { of_its_host(&ground, TcpStream::connect(parts(&to)?).await?).await }.boxed()
    }

    fn lookup(&self, host: Target) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        async move { Ok(lookup_host(parts(&host)?).await?.collect()) }.boxed()
    }
}

/// A connection that stands still with the process that has it. Whose that is only the connection knows.
async fn of_its_host(ground: &Ground, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
    let Some(machine) = ground.machine_at(stream.local_addr()?.ip()) else {
        return Ok(Box::new(stream));
    };
    let stream = HostStream::new(stream, Arc::clone(&machine.stillness));
    stream.stillness.going().await;
    Ok(Box::new(stream))
}

/// A host of the world and a port; names and addresses are what it looks up.
fn parts(target: &Target) -> io::Result<(String, u16)> {
    let port = target.port().ok_or(io::ErrorKind::InvalidInput)?;
    let host = match target {
        Target::Address(address) => address.ip().to_string(),
        Target::Name(name, _) => name.clone(),
        Target::Text(text) => {
            text.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?.0.to_owned()
        }
    };
    Ok((host, port))
}

struct Listener {
    listener: TcpListener,
    ground: Arc<Ground>,
}

impl Listen for Listener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        async {
            let (stream, from) = self.listener.accept().await?;
            Ok((of_its_host(&self.ground, stream).await?, from))
        }
        .boxed()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection of a process that may stand still.
#[derive(Debug)]
pub(crate) struct HostStream {
    /// There until it is dropped.
    stream: Option<TcpStream>,
    stillness: Arc<Stillness>,
}

impl HostStream {
    pub(crate) fn new(stream: TcpStream, stillness: Arc<Stillness>) -> Self {
        Self { stream: Some(stream), stillness }
    }

    /// The connection, once the process goes on.
    fn poll_going(&mut self, context: &mut Context<'_>) -> Poll<Pin<&mut TcpStream>> {
        ready!(self.stillness.poll_going(context));
        Poll::Ready(Pin::new(self.stream.as_mut().expect("it is there until it is dropped")))
    }
}

impl Drop for HostStream {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.stillness.leave(stream);
        }
    }
}

impl AsyncRead for HostStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_going(context)).poll_read(context, into)
    }
}

impl AsyncWrite for HostStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_going(context)).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_going(context)).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_going(context)).poll_shutdown(context)
    }
}

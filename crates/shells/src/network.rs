//! The network of a world, as the shells take it.

use std::io;
use std::net::SocketAddr;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use iris_net::{Listen, Network, Stream, Target};
use turmoil::net::{TcpListener, TcpStream, lookup_host};

/// See the module.
pub(crate) struct Simulated;

impl Network for Simulated {
    fn bind(&self, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Listen>>> {
        async move {
            let listener = TcpListener::bind(("0.0.0.0", port)).await?;
            Ok(Box::new(Listener(listener)) as Box<dyn Listen>)
        }
        .boxed()
    }

    fn connect(&self, to: Target) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        async move {
            let stream = TcpStream::connect((to.name(), to.port())).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        }
        .boxed()
    }

    fn lookup(&self, host: Target) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        async move { Ok(lookup_host((host.name(), host.port())).await?.collect()) }.boxed()
    }
}

struct Listener(TcpListener);

impl Listen for Listener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        async {
            let (stream, from) = self.0.accept().await?;
            Ok((Box::new(stream) as Box<dyn Stream>, from))
        }
        .boxed()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

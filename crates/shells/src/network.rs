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
    fn bind(&self, at: Target) -> BoxFuture<'static, io::Result<Box<dyn Listen>>> {
        async move {
            let (_, port) = parts(&at)?;
            let listener = TcpListener::bind(("0.0.0.0", port)).await?;
            Ok(Box::new(Listener(listener)) as Box<dyn Listen>)
        }
        .boxed()
    }

    fn connect(&self, to: Target) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        async move {
            let stream = TcpStream::connect(parts(&to)?).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        }
        .boxed()
    }

    fn lookup(&self, host: Target) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        async move { Ok(lookup_host(parts(&host)?).await?.collect()) }.boxed()
    }
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

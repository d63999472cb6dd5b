//! gRPC between pods, over mutual TLS with roles.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use hyper_util::rt::TokioIo;
use iris_net::{TcpListener, TcpStream};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::task::Tasks;
use crate::tls::{self, Identity, MaterialError, PeerName, Role};

const ALPN_H2: &[u8] = b"h2";
/// Pods are known by the name in their certificate; the host only finds them.
const POD_SERVER_NAME: &str = "pod.iris.internal";
/// A connection that does not come about in this time is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An idle connection is probed so often, and lost when a probe has no answer for as long.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Bytes that a stream may have under way: enough for a region's round trip at full load.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Bytes of all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// The largest message between pods: a move's hot state.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A connection of another pod.
#[derive(Debug)]
pub struct PeerStream {
    stream: TlsStream<TcpStream>,
    peer: Option<PeerName>,
}

/// Who is behind a request; nothing for a caller without a certificate.
#[derive(Debug, Clone)]
pub struct Caller(pub Option<PeerName>);

impl Connected for PeerStream {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller(self.peer.clone())
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A server's settings, the same everywhere.
pub fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .max_concurrent_streams(Some(4096))
        .tcp_nodelay(true)
}

/// The connections of pods with a certificate of this cluster.
pub fn incoming(
    listener: TcpListener,
    identity: &Identity,
    tasks: &Tasks,
) -> Result<impl Stream<Item = io::Result<PeerStream>> + use<>, MaterialError> {
    let config = identity.server_config(&[ALPN_H2])?;
    Ok(streams(tls::accept(listener, config, tasks)))
}

/// The connections of whoever comes: the issuer's, which authenticates by token.
pub fn incoming_from_anyone(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    tasks: &Tasks,
) -> impl Stream<Item = io::Result<PeerStream>> + use<> {
    streams(tls::accept(listener, config, tasks))
}

fn streams(
    accepted: tokio::sync::mpsc::Receiver<(TlsStream<TcpStream>, std::net::SocketAddr)>,
) -> impl Stream<Item = io::Result<PeerStream>> {
    ReceiverStream::new(accepted).map(|(stream, _)| {
        let certificates = stream.get_ref().1.peer_certificates();
        let leaf = certificates.and_then(|certificates| certificates.first());
        let peer = leaf.and_then(|leaf| tls::name_in(leaf).ok());
        Ok(PeerStream { stream, peer })
    })
}

/// Who calls, if the role may; a refusal otherwise.
pub fn require_role<T>(request: &Request<T>, allowed: &[Role]) -> Result<PeerName, Status> {
    let caller = request.extensions().get::<Caller>().and_then(|caller| caller.0.clone());
    match caller {
        Some(peer) if allowed.contains(&peer.role) => Ok(peer),
        Some(peer) => {
            tracing::warn!(caller = %peer, "a role called what it may not");
            Err(Status::permission_denied(format!("role {} may not call this", peer.role)))
        }
        None => Err(Status::unauthenticated("no client certificate")),
    }
}

/// Connects to a pod of `role` at `address` (host:port).
pub async fn connect(identity: &Identity, role: Role, address: &str) -> Result<Channel, RpcError> {
    let config = identity.client_config(role, &[ALPN_H2])?;
    connect_with(config, address, POD_SERVER_NAME).await
}

/// Connects with a TLS configuration of the caller's, asking for a server name. The name only tells a
/// server of several clusters which certificate to show; whom to believe is the configuration's.
pub async fn connect_with(
    config: Arc<rustls::ClientConfig>,
    address: &str,
    server_name: &str,
) -> Result<Channel, RpcError> {
    // The scheme is plain for tonic: the connector below speaks TLS.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| RpcError::Address(address.to_owned()))?
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_timeout(CONNECT_TIMEOUT);
    let (connector, target) = (TlsConnector::from(config), address.to_owned());
    let name = ServerName::try_from(server_name.to_owned())
        .map_err(|_| RpcError::Address(server_name.to_owned()))?;
    let connector = tower::service_fn(move |_uri| {
        let (connector, target, name) = (connector.clone(), target.clone(), name.clone());
        async move { dial(connector, &target, name).await.map(TokioIo::new) }
    });
    let connecting = endpoint.connect_with_connector(connector);
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(channel) => channel.map_err(|source| RpcError::Connect {
            address: address.to_owned(),
            source: Box::new(source),
        }),
        Err(_) => Err(RpcError::Timeout(address.to_owned())),
    }
}

async fn dial(
    connector: TlsConnector,
    address: &str,
    name: ServerName<'static>,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    connector.connect(name, stream).await
}

/// Why there is no connection to another pod.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// Not a host and a port.
    #[error("{0:?} is not an address")]
    Address(String),
    /// This pod's own key material is unusable.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// Refused, unreachable, or not whom it should be.
    #[error("cannot connect to {address}: {}", chain(source.as_ref()))]
    Connect {
        /// Where.
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody answered.
    #[error("no connection to {0} within {CONNECT_TIMEOUT:?}")]
    Timeout(String),
}

/// An error with its causes, as one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

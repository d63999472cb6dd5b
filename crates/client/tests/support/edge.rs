//! The listener, and what a test can do to its clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::BytesMut;
use iris_client::{Carrier, Connector, Trust};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::connection::serve;
use super::directory::Directory;
use super::https;
use super::owner::Owner;
use super::pipe::Pipe;

const EXPORTER: &[u8] = b"EXPORTER-iris-1-hello";

/// What the edge does besides serving; all of it can change while it runs.
pub struct Knobs {
    /// For how long access tokens are good.
    pub token_seconds: AtomicU64,
    /// One in so many SENDs is answered with SEND_NACK; 0 for none.
    pub nack_one_in: AtomicU32,
    pub nack_retry_ms: AtomicU32,
    /// One in so many frames to a client is its connection's last; 0 for none.
    pub cut_one_in: AtomicU32,
    /// The next DELIVER of some connection skips a place.
    pub skip_place: AtomicBool,
    pub window_messages: AtomicU32,
    pub keepalive_ms: AtomicU32,
    pub http_down: AtomicBool,
    /// As a server of before devices were linked.
    pub links_nobody: AtomicBool,
    /// SENDs are swallowed: no answer, ever.
    pub mute: AtomicBool,
    /// The number of WELCOME is off by so much.
    pub numbers_ahead: AtomicU64,
    /// Nobody is let in.
    pub closed: AtomicBool,
    pub nacked: AtomicU64,
    pub cuts: AtomicU64,
    pub accepted: AtomicU64,
    /// Credit that clients gave beyond HELLO.
    pub widened: AtomicU64,
}

/// What a test orders for every connection.
#[derive(Debug, Clone)]
pub enum Order {
    Cut,
    GoAway { jitter_ms: u32, edges: Vec<String> },
    Error { code: u32, retry_after_ms: u32 },
    Oversized,
    Unknown(u8),
}

pub struct Shared {
    pub owner: Arc<Owner>,
    pub directory: Arc<Directory>,
    pub knobs: Knobs,
    pub orders: broadcast::Sender<Order>,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

pub struct FakeEdge {
    pub shared: Arc<Shared>,
    address: SocketAddr,
    ca: Arc<Ca>,
    _stop: DropGuard,
}

pub struct Ca {
    pem: String,
    config: Arc<ServerConfig>,
}

impl Ca {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let leaf_key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let leaf = CertificateParams::new(names).unwrap().signed_by(&leaf_key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private)
            .unwrap();
        config.alpn_protocols = vec![b"iris/1".to_vec(), b"http/1.1".to_vec()];
        Self { pem: certificate.pem(), config: Arc::new(config) }
    }
}

impl FakeEdge {
    pub fn start() -> Self {
        Self::start_at(0, true)
    }

    pub fn start_at(port: u16, history: bool) -> Self {
        let owner = Arc::new(Owner::new(history));
        Self::start_with(port, owner, Arc::default(), Arc::new(Ca::new()))
    }

    /// A second edge of the same cluster.
    pub fn sibling(&self) -> Self {
        let (owner, directory) = (&self.shared.owner, &self.shared.directory);
        Self::start_with(0, Arc::clone(owner), Arc::clone(directory), Arc::clone(&self.ca))
    }

    fn start_with(port: u16, owner: Arc<Owner>, directory: Arc<Directory>, ca: Arc<Ca>) -> Self {
        let listener = listen(port);
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            owner,
            directory,
            knobs: Knobs::default(),
            orders: broadcast::channel(16).0,
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        });
        let acceptor = TlsAcceptor::from(Arc::clone(&ca.config));
        let accepting = accept(Arc::clone(&shared), listener, acceptor);
        shared.tasks.spawn(async move {
            tokio::select! { () = stop.cancelled() => {} () = accepting => {} }
        });
        let (ticking, stop) = (Arc::clone(&shared.owner), shared.stop.clone());
        let stopped = stop.clone();
        shared.tasks.spawn(async move {
            tokio::select! { () = stopped.cancelled() => {} () = ticking.tick() => {} }
        });
        Self { shared, address, ca, _stop: stop.drop_guard() }
    }

    pub fn knobs(&self) -> &Knobs {
        &self.shared.knobs
    }

    pub fn owner(&self) -> &Owner {
        &self.shared.owner
    }

    /// `localhost:port`.
    pub fn server(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    pub fn ca_pem(&self) -> &str {
        &self.ca.pem
    }

    pub fn order(&self, order: Order) {
        drop(self.shared.orders.send(order));
    }

    pub fn connector(&self) -> Connector {
        self.connector_with(&[], Carrier::Tls)
    }

    pub fn connector_with(&self, others: &[&Self], carrier: Carrier) -> Connector {
        let edges = [self].into_iter().chain(others.iter().copied());
        let edges = edges.map(|edge| edge.server().parse().unwrap()).collect();
        let trust = Trust::Pem(self.ca.pem.clone().into_bytes());
        Connector::new(edges, &trust, carrier).unwrap()
    }

    /// The edge's process dies: every connection is gone, nobody listens any more.
    pub async fn kill(self) {
        let shared = Arc::clone(&self.shared);
        drop(self);
        shared.tasks.close();
        shared.tasks.wait().await;
    }
}

fn listen(port: u16) -> TcpListener {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    socket.listen(4096).unwrap()
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        if shared.knobs.closed.load(Relaxed) {
            continue;
        }
        shared.knobs.accepted.fetch_add(1, Relaxed);
        let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
        let (tasks, stop) = (shared.tasks.clone(), shared.stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = welcome(shared, stream, acceptor) => {}
            }
        });
    }
}

async fn welcome(shared: Arc<Shared>, stream: TcpStream, acceptor: TlsAcceptor) {
    drop(stream.set_nodelay(true));
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let tls = stream.get_ref().1;
    if tls.alpn_protocol() == Some(b"iris/1") {
        let binding = tls.export_keying_material([0; 32], EXPORTER, None).unwrap();
        serve(shared, Pipe::Stream(stream, BytesMut::new()), Some(binding)).await;
    } else {
        https::answer(shared, stream).await;
    }
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            token_seconds: AtomicU64::new(900),
            nack_one_in: AtomicU32::new(0),
            nack_retry_ms: AtomicU32::new(20),
            cut_one_in: AtomicU32::new(0),
            skip_place: AtomicBool::new(false),
            window_messages: AtomicU32::new(256),
            keepalive_ms: AtomicU32::new(30_000),
            http_down: AtomicBool::new(false),
            links_nobody: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            numbers_ahead: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            nacked: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            widened: AtomicU64::new(0),
        }
    }
}

//! The client port: TLS 1.3 alone, and by ALPN frames or HTTPS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use iris_net::{TcpListener, TcpStream};
use iris_runtime::tls;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::admission::{Admission, Place};
use super::conn::{self, Binding, Shared};
use super::http::{self, Http};

const ALPN_IRIS: &[u8] = b"iris/1";
/// The label of the channel binding; see docs/protocol.md.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-iris-1-hello";
/// A handshake that takes longer is given up.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// The header of a request must come within this time.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// How often the certificate's files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The certificate that clients see, replaced when its files change.
#[derive(Debug)]
pub(super) struct Certificate {
    current: ArcSwap<CertifiedKey>,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl Certificate {
    pub(super) fn new(key: CertifiedKey) -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::from_pointee(key) })
    }

    /// From `tls.crt` and `tls.key` in `directory`.
    pub(super) fn load(directory: &std::path::Path) -> anyhow::Result<CertifiedKey> {
        let read = |name: &str| std::fs::read(directory.join(name));
        Ok(tls::certified_key(&read("tls.crt")?, &read("tls.key")?)?)
    }

    /// Reads the files again whenever they change. Files that cannot be used change nothing.
    pub(super) async fn reload(self: Arc<Self>, directory: PathBuf) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            match Self::load(&directory) {
                Ok(key) if key.cert != self.current.load().cert => {
                    tracing::info!("the listener's certificate changed");
                    self.current.store(Arc::new(key));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the listener's certificate stays as it was"),
            }
        }
    }
}

/// The TLS settings of the client port.
pub(super) fn server_config(certificate: Arc<Certificate>) -> anyhow::Result<Arc<ServerConfig>> {
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols =
        [ALPN_IRIS, b"h2", b"http/1.1"].into_iter().map(<[u8]>::to_vec).collect();
    // Tickets, so that a client that comes back skips the certificate; nothing is kept here for it.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// Accepts clients until the tasks stop.
pub(super) async fn accept(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    shared: Arc<Shared>,
    admission: Arc<Admission>,
) {
    let acceptor = TlsAcceptor::from(config);
    let tasks = shared.tasks.clone();
    let http = Http { shared: Arc::clone(&shared), admission: Arc::clone(&admission) };
    loop {
        admission.handshake().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(place) = admission.place() else {
            shared.metrics.handshakes.with_label_values(&["refused"]).inc();
            continue;
        };
        let (acceptor, http) = (acceptor.clone(), http.clone());
        tasks.spawn("handshake", client(acceptor, stream, http, place));
    }
}

/// Ends with the handshake: what serves the client is a task that never held what that needs.
async fn client(acceptor: TlsAcceptor, stream: TcpStream, http: Http, place: Place) {
    let shared = Arc::clone(&http.shared);
    let handshakes = &shared.metrics.handshakes;
    // Small frames leave at once.
    let _ = stream.set_nodelay(true);
    let accepted = tokio::time::timeout(HANDSHAKE_PATIENCE, acceptor.accept(stream)).await;
    let Ok(Ok(mut stream)) = accepted else {
        handshakes.with_label_values(&["failed"]).inc();
        return;
    };
    handshakes.with_label_values(&["done"]).inc();
    if stream.get_ref().1.alpn_protocol() != Some(ALPN_IRIS) {
        shared.tasks.spawn("https", https(stream, http, place));
        return;
    }
    let exported = stream.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None);
    let Ok(value) = exported else {
        // Nothing can be proven on this connection.
        let _ = stream.shutdown().await;
        return;
    };
    let (id, halves) = (shared.next_conn(), tokio::io::split(stream));
    let served = conn::serve(Arc::clone(&shared), (id, place), halves, Binding::Exporter(value));
    shared.tasks.spawn("client", served);
}

async fn https(stream: TlsStream<TcpStream>, http: Http, _place: Place) {
    let service = TowerToHyperService::new(http::router(http));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(16);
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTPS connection ended");
    }
}

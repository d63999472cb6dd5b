//! Where a pod's identity comes from: its own key, certified by the operator's issuer, renewed while
//! connections go on. The key never leaves the pod.

use std::path::{Path, PathBuf};
use std::time::Duration;

use iris_proto::issuer::IssueRequest;
use iris_proto::issuer::issuer_client::IssuerClient;
use rcgen::{CertificateParams, KeyPair};

use crate::backoff::Backoff;
use crate::clock::SharedClock;
use crate::rpc::{self, RpcError};
use crate::task::Tasks;
use crate::tls::{self, Identity, Material, MaterialError, PeerName, Role};

/// A certificate with less than this left is renewed at once.
const LEFT_MIN_S: u64 = 600;
/// How often the files that Kubernetes mounts are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// How to get a certificate.
#[derive(Debug, Clone)]
pub struct Source {
    /// host:port of the issuer.
    pub issuer: String,
    /// Whose certificate: the cluster to ask for.
    pub namespace: String,
    /// The cluster's name.
    pub cluster: String,
    /// The file with the CAs to trust, kept current by Kubernetes.
    pub trust: PathBuf,
    /// The file with the pod's token for the issuer.
    pub token: PathBuf,
    /// A memory-backed directory that outlives the container; a restarted container needs nobody.
    pub cache: PathBuf,
}

/// The server name to ask the issuer by: it serves several clusters, each with a certificate of its own.
pub fn issuer_server_name(namespace: &str, cluster: &str) -> String {
    format!("issuer.{cluster}.{namespace}.iris.internal")
}

/// Why there is no identity yet.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file is missing or unreadable.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No connection to the issuer.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The issuer refused.
    #[error("the issuer refused: {0}")]
    Refused(Box<tonic::Status>),
    /// What the issuer sent is unusable.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// No key could be made.
    #[error("cannot make a key: {0}")]
    Key(#[from] rcgen::Error),
}

/// Gets an identity, trying until it has one, and keeps it fresh.
pub async fn acquire(source: Source, clock: SharedClock, tasks: &Tasks) -> Identity {
    let mut backoff = Backoff::between_pods();
    let material = loop {
        match obtain(&source, &clock).await {
            Ok(material) => break material,
            Err(error) => {
                tracing::warn!(%error, "no identity yet");
                backoff.wait().await;
            }
        }
    };
    tracing::info!(name = %material.name(), "identity acquired");
    let identity = Identity::new(material);
    let kept = identity.clone();
    tasks.spawn_critical("identity", async move { keep_fresh(source, clock, kept).await });
    identity
}

async fn obtain(source: &Source, clock: &SharedClock) -> Result<Material, IdentityError> {
    let trust = read(&source.trust)?;
    if let Some(material) = cached(source, &trust)
        && material.not_after_s > now_s(clock) + LEFT_MIN_S
    {
        return Ok(material);
    }
    issue(source, &trust).await
}

fn cached(source: &Source, trust: &[u8]) -> Option<Material> {
    let chain = std::fs::read(source.cache.join("tls.crt")).ok()?;
    let key = std::fs::read(source.cache.join("tls.key")).ok()?;
    Material::from_pem(&chain, &key, trust).ok()
}

async fn issue(source: &Source, trust: &[u8]) -> Result<Material, IdentityError> {
    let key = KeyPair::generate()?;
    let csr = CertificateParams::default().serialize_request(&key)?;
    let scope = PeerName {
        namespace: source.namespace.clone(),
        cluster: source.cluster.clone(),
        role: Role::Operator,
        pod: String::new(),
    };
    let config = tls::trusting_client_config(trust, scope, &[b"h2"])?;
    let name = issuer_server_name(&source.namespace, &source.cluster);
    let channel = rpc::connect_with(config, &source.issuer, &name).await?;
    let request = IssueRequest {
        namespace: source.namespace.clone(),
        cluster: source.cluster.clone(),
        token: String::from_utf8_lossy(&read(&source.token)?).into_owned(),
        csr: csr.der().to_vec().into(),
    };
    let reply = IssuerClient::new(channel).issue(request).await;
    let reply = reply.map_err(|status| IdentityError::Refused(Box::new(status)))?.into_inner();
    let key = key.serialize_pem();
    // The issuer knows of a new CA before Kubernetes has brought it here.
    let trust = [trust, b"\n", reply.trust.as_bytes()].concat();
    let material = Material::from_pem(reply.chain.as_bytes(), key.as_bytes(), &trust)?;
    keep(&source.cache, &reply.chain, &key);
    Ok(material)
}

/// Without a cache a restarted container asks the issuer: a loss of comfort, not of service.
fn keep(cache: &Path, chain: &str, key: &str) {
    let written = std::fs::write(cache.join("tls.key"), key)
        .and_then(|()| std::fs::write(cache.join("tls.crt"), chain));
    if let Err(error) = written {
        tracing::warn!(%error, path = %cache.display(), "the certificate is not cached");
    }
}

/// Renews when two thirds of the certificate's life have passed, and when the CAs to trust change.
async fn keep_fresh(source: Source, clock: SharedClock, identity: Identity) {
    let mut issued_s = now_s(&clock);
    let mut trusted = read(&source.trust).unwrap_or_default();
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    loop {
        tokio::time::sleep(LOOK_INTERVAL.mul_f64(0.5 + fastrand::f64())).await;
        let ends_s = identity.current().not_after_s;
        let life_s = ends_s.saturating_sub(issued_s);
        let due = now_s(&clock) >= ends_s.saturating_sub(life_s / 3);
        let trust = read(&source.trust).unwrap_or_else(|_| trusted.clone());
        if !due && trust == trusted {
            continue;
        }
        match issue(&source, &trust).await {
            Ok(material) => {
                tracing::info!(until_s = material.not_after_s, "certificate renewed");
                (issued_s, trusted) = (now_s(&clock), trust);
                identity.replace(material);
                backoff.reset();
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate could not be renewed; the old one serves on");
                backoff.wait().await;
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| IdentityError::File { path: path.to_path_buf(), source })
}

fn now_s(clock: &SharedClock) -> u64 {
    clock.now().wall.0 / 1000
}

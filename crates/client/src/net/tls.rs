//! TLS 1.3 and nothing older, with a bundle of authorities from a file or from the system.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::error::ClientError;

/// Where systems keep the authorities that they trust.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// The system's authorities: the file that `SSL_CERT_FILE` names, or the usual one.
    #[default]
    System,
    /// Those of a PEM file, and no other.
    File(PathBuf),
    /// Those of a PEM text.
    Pem(Vec<u8>),
}

/// One configuration for each use: they differ in ALPN.
#[derive(Debug, Clone)]
pub(crate) struct Configs {
    /// Frames on TLS.
    pub(crate) frames: Arc<ClientConfig>,
    /// HTTPS and WebSocket.
    pub(crate) http: Arc<ClientConfig>,
}

impl Configs {
    pub(crate) fn new(trust: &Trust) -> Result<Self, ClientError> {
        let roots = trust.roots()?;
        let config = |alpn: &[u8]| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder = ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS13]);
            let builder = builder.map_err(|error| ClientError::Config(error.to_string()))?;
            let mut config =
                builder.with_root_certificates(Arc::clone(&roots)).with_no_client_auth();
            config.alpn_protocols = vec![alpn.to_vec()];
            Ok::<_, ClientError>(Arc::new(config))
        };
        Ok(Self { frames: config(b"iris/1")?, http: config(b"http/1.1")? })
    }
}

impl Trust {
    fn roots(&self) -> Result<Arc<RootCertStore>, ClientError> {
        let (pem, from) = match self {
            Self::Pem(pem) => (pem.clone(), "the given certificates".to_owned()),
            Self::File(path) => (read(path)?, path.display().to_string()),
            Self::System => {
                let path = system_bundle()?;
                (read(&path)?, path.display().to_string())
            }
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate
                .map_err(|error| ClientError::Config(format!("{from}: not PEM: {error}")))?;
            let added = roots.add(certificate);
            // A system's bundle may hold what nobody can use; a given one may not.
            if *self != Self::System {
                added.map_err(|error| ClientError::Config(format!("{from}: {error}")))?;
            }
        }
        if roots.is_empty() {
            return Err(ClientError::Config(format!("{from}: no certificate in it")));
        }
        Ok(Arc::new(roots))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    let bytes = std::fs::read(path);
    bytes.map_err(|error| ClientError::Config(format!("cannot read {}: {error}", path.display())))
}

fn system_bundle() -> Result<PathBuf, ClientError> {
    if let Some(path) = std::env::var_os("SSL_CERT_FILE") {
        return Ok(path.into());
    }
    let found = SYSTEM_BUNDLES.iter().map(PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| {
        let text = "this system has no bundle of certificate authorities: name one as CA file";
        ClientError::Config(text.to_owned())
    })
}

//! TLS 1.3, and nothing older: mutual between pods, with the pod's role in its certificate.

mod accept;
mod peer;
mod verify;

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor};

pub use accept::accept;
pub use peer::{PeerName, Role, RoleError, name_in};

/// The one provider of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Why key material cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// Not PEM, or nothing of the wanted kind in it.
    #[error("{what}: {source}")]
    Pem {
        /// Which part.
        what: &'static str,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// The parts do not fit together.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// A certificate to trust is not one.
    #[error("a trusted certificate is unusable: {0}")]
    Anchor(webpki::Error),
    /// Nothing to trust.
    #[error("the trust bundle is empty")]
    NoTrust,
    /// The certificate does not say who its holder is.
    #[error(transparent)]
    Name(#[from] RoleError),
}

/// A certificate with its key, and whom to trust.
#[derive(Debug)]
pub struct Material {
    key: Arc<CertifiedKey>,
    anchors: Arc<[TrustAnchor<'static>]>,
    name: PeerName,
    /// When the certificate ends, seconds since 1970.
    pub not_after_s: u64,
}

impl Material {
    /// From PEM texts.
    pub fn from_pem(chain: &[u8], key: &[u8], trust: &[u8]) -> Result<Self, MaterialError> {
        let certified = certified_key(chain, key)?;
        let leaf = certified.end_entity_cert()?;
        let (name, not_after_s) = peer::name_of(leaf)?;
        Ok(Self { key: Arc::new(certified), anchors: anchors(trust)?, name, not_after_s })
    }

    /// Who this is.
    pub fn name(&self) -> &PeerName {
        &self.name
    }
}

/// A pod's identity: replaced while connections go on, used by every new handshake.
#[derive(Debug, Clone)]
pub struct Identity {
    current: Arc<ArcSwap<Material>>,
}

impl Identity {
    /// Starts with `material`.
    pub fn new(material: Material) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(material)) }
    }

    /// Replaces it.
    pub fn replace(&self, material: Material) {
        self.current.store(Arc::new(material));
    }

    /// What new handshakes use.
    pub fn current(&self) -> Arc<Material> {
        self.current.load_full()
    }

    fn trust(&self) -> verify::Trust {
        verify::Trust::Own(Arc::clone(&self.current))
    }

    /// For a server that any pod of this cluster may connect to; what it may do there is decided by
    /// its role, call by call.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, MaterialError> {
        let verifier = Arc::new(verify::PodVerifier::new(self.trust(), None));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Resolver(Arc::clone(&self.current))));
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // A resumed session would keep the role of a certificate that has ended since.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// For a server of the same identity that asks its clients for nothing: the admin port.
    pub fn open_server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, MaterialError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver(Arc::clone(&self.current))));
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// For a client of a pod with `role`: another role's certificate is refused, whatever its name.
    pub fn client_config(
        &self,
        role: Role,
        alpn: &[&[u8]],
    ) -> Result<Arc<ClientConfig>, MaterialError> {
        let verifier = Arc::new(verify::PodVerifier::new(self.trust(), Some(role)));
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(Resolver(Arc::clone(&self.current))));
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }
}

#[derive(Debug)]
struct Resolver(Arc<ArcSwap<Material>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A certificate chain with its key, from PEM.
pub fn certified_key(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, MaterialError> {
    let pem = |what| move |source| MaterialError::Pem { what, source };
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem("the certificate chain"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(pem("the private key"))?;
    let certified = CertifiedKey::from_der(chain, key, &provider())?;
    certified.keys_match()?;
    Ok(certified)
}

/// The certificates of a bundle, as roots for ordinary web PKI verification.
pub fn root_store(trust: &[u8]) -> Result<RootCertStore, MaterialError> {
    Ok(RootCertStore { roots: anchors(trust)?.to_vec() })
}

fn anchors(trust: &[u8]) -> Result<Arc<[TrustAnchor<'static>]>, MaterialError> {
    let mut anchors = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(trust) {
        let certificate = certificate
            .map_err(|source| MaterialError::Pem { what: "the trust bundle", source })?;
        let anchor =
            webpki::anchor_from_trusted_cert(&certificate).map_err(MaterialError::Anchor)?;
        anchors.push(anchor.to_owned());
    }
    if anchors.is_empty() { Err(MaterialError::NoTrust) } else { Ok(anchors.into()) }
}

/// For a client that trusts a bundle and has no certificate of its own, on its way to a pod of the
/// cluster and role of `scope`: the issuer.
pub fn trusting_client_config(
    trust: &[u8],
    scope: PeerName,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, MaterialError> {
    let role = scope.role;
    let trust = verify::Trust::Bundle { anchors: anchors(trust)?, scope };
    let verifier = Arc::new(verify::PodVerifier::new(trust, Some(role)));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

//! Whom a pod talks to: the chain must end in a trusted CA, the name must be of the same cluster, and
//! a server must have the role that the client asked for. Host names prove nothing here.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyUsage};

use super::peer::{self, PeerName};
use super::{Material, Role, provider};

/// Checks the other side of a connection between pods.
#[derive(Debug)]
pub(super) struct PodVerifier {
    trust: Trust,
    /// The role that it must have; nothing where calls decide by role.
    role: Option<Role>,
    provider: Arc<CryptoProvider>,
}

/// Whom to believe.
#[derive(Debug)]
pub(super) enum Trust {
    /// What the pod's own identity trusts now, within its cluster.
    Own(Arc<ArcSwap<Material>>),
    /// A bundle, for a pod without an identity that looks for one name's cluster.
    Bundle {
        /// The CAs.
        anchors: Arc<[TrustAnchor<'static>]>,
        /// Of which cluster the other side must be.
        scope: PeerName,
    },
}

impl PodVerifier {
    pub(super) fn new(trust: Trust, role: Option<Role>) -> Self {
        Self { trust, role, provider: provider() }
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: impl ExtendedKeyUsageValidator,
    ) -> Result<(), Error> {
        match &self.trust {
            Trust::Own(own) => {
                let own = own.load();
                self.check_chain(&own.anchors, leaf, intermediates, now, usage)?;
                check_name(leaf, own.name(), self.role)
            }
            Trust::Bundle { anchors, scope } => {
                self.check_chain(anchors, leaf, intermediates, now, usage)?;
                check_name(leaf, scope, self.role)
            }
        }
    }

    fn check_chain(
        &self,
        anchors: &[TrustAnchor<'_>],
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: impl ExtendedKeyUsageValidator,
    ) -> Result<(), Error> {
        let leaf = EndEntityCert::try_from(leaf).map_err(refused)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        leaf.verify_for_usage(algorithms, anchors, intermediates, now, usage, None, None)
            .map(|_| ())
            .map_err(refused)
    }

    fn check_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signature, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn check_name(leaf: &CertificateDer<'_>, own: &PeerName, role: Option<Role>) -> Result<(), Error> {
    let refused = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    let (name, _) = peer::name_of(leaf).map_err(|_| refused.clone())?;
    let good = name.same_cluster(own) && role.is_none_or(|role| role == name.role);
    if good { Ok(()) } else { Err(refused) }
}

fn refused(error: webpki::Error) -> Error {
    Error::InvalidCertificate(match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        _ => CertificateError::BadEncoding,
    })
}

fn only_tls13<T>() -> Result<T, Error> {
    Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
}

impl ServerCertVerifier for PodVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(leaf, intermediates, now, KeyUsage::server_auth())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        only_tls13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for PodVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(leaf, intermediates, now, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        only_tls13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

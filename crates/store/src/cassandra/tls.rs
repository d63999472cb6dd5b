//! TLS towards Cassandra: its nodes prove themselves by the bundle's authorities, and we to them,
//! where that is asked for, by our own certificate.
//!
//! The files are read at every handshake: a certificate that was rotated is in force with the next
//! connection. Never accepts a node whose certificate names neither its address nor a contact point.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::StoreError;

/// How to connect, with what is in `directory`: `ca.crt`, and maybe `tls.crt` and `tls.key`.
pub(super) fn client_config(
    directory: &Path,
    contact_points: &[String],
) -> Result<Arc<ClientConfig>, StoreError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let files = Files { directory: directory.to_owned() };
    let unusable = |error: Error| {
        StoreError::Denied(format!("the files for TLS in {} are unusable: {error}", files.shown()))
    };
    // Looked at once now, so that a mistake is told at the start and not by every connection.
    files.roots().map_err(unusable)?;
    files.identity(&provider).map_err(unusable)?;
    let verifier = NodeVerifier {
        files: files.clone(),
        names: contact_points.iter().filter_map(|point| host_name(point)).collect(),
        provider: Arc::clone(&provider),
    };
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(OwnCertificate { files, provider }));
    Ok(Arc::new(config))
}

/// The host of host:port, if it is a name; an address is good for the node that has it only.
fn host_name(contact_point: &str) -> Option<ServerName<'static>> {
    let host = contact_point.rsplit_once(':').map_or(contact_point, |(host, _)| host);
    let name = ServerName::try_from(host.to_owned()).ok();
    name.filter(|name| matches!(name, ServerName::DnsName(_)))
}

#[derive(Debug, Clone)]
struct Files {
    directory: PathBuf,
}

impl Files {
    fn shown(&self) -> std::path::Display<'_> {
        self.directory.display()
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        for authority in self.certificates("ca.crt")? {
            roots.add(authority)?;
        }
        Ok(roots)
    }

    fn certificates(&self, name: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
        let path = self.directory.join(name);
        let read = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect);
        read.map_err(|error| Error::General(format!("{name}: {error}")))
    }

    /// Our certificate with its key; nothing where neither is there.
    fn identity(&self, provider: &CryptoProvider) -> Result<Option<CertifiedKey>, Error> {
        let key = self.directory.join("tls.key");
        match key.try_exists() {
            Ok(true) => {}
            Ok(false) if !self.directory.join("tls.crt").exists() => return Ok(None),
            Ok(false) => {
                return Err(Error::General("tls.crt is there, but not tls.key".to_owned()));
            }
            Err(error) => return Err(general(&error)),
        }
        let chain = self.certificates("tls.crt")?;
        let key = PrivateKeyDer::from_pem_file(&key)
            .map_err(|error| Error::General(format!("tls.key: {error}")))?;
        CertifiedKey::from_der(chain, key, provider).map(Some)
    }
}

fn general(error: &io::Error) -> Error {
    Error::General(error.to_string())
}

/// Accepts what a known authority signed for the node's address or for the name of a contact point:
/// the nodes behind a service often have the service's name and no more.
#[derive(Debug)]
struct NodeVerifier {
    files: Files,
    names: Vec<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl NodeVerifier {
    fn inner(&self) -> Result<Arc<WebPkiServerVerifier>, Error> {
        let roots = Arc::new(self.files.roots()?);
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))
    }
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let inner = self.inner()?;
        let verify = |name: &ServerName<'_>| {
            inner.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        let by_address = verify(server_name);
        let misnamed = matches!(
            by_address,
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            ))
        );
        if !misnamed {
            return by_address;
        }
        self.names.iter().find_map(|name| verify(name).ok()).map_or(by_address, Ok)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Our certificate, if we have one.
#[derive(Debug)]
struct OwnCertificate {
    files: Files,
    provider: Arc<CryptoProvider>,
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        match self.files.identity(&self.provider) {
            Ok(identity) => identity.map(Arc::new),
            Err(error) => {
                tracing::error!(%error, directory = %self.files.shown(), "cassandra certificate unusable");
                None
            }
        }
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_names() {
        let name = |point| host_name(point).map(|name| name.to_str().into_owned());
        assert_eq!(name("db.example:9042").as_deref(), Some("db.example"));
        assert_eq!(name("db").as_deref(), Some("db"));
        assert_eq!(name("10.0.0.7:9042"), None);
        assert_eq!(name("not a name:1"), None);
    }
}

//! What an authority signs: a pod's certificate, with its name as the URI that the other side checks,
//! and the certificate that clients see.
//!
//! Of a request only the public key is used: who the holder is comes from somewhere better.

use std::net::IpAddr;

use iris_runtime::tls::PeerName;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::CertificateSigningRequestDer;

use super::PkiError;
use super::authority::{Authority, Pair, set_validity};

/// A request for a certificate is no longer than this.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// A signed certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// PEM.
    pub certificate: String,
    /// When it ends, seconds since 1970.
    pub not_after_s: u64,
}

/// Certifies the key of a request (PKCS#10, DER) for a pod.
pub fn certify(
    authority: &Authority,
    name: &PeerName,
    dns: &[String],
    request: &[u8],
    leaf_s: u64,
    now_s: u64,
) -> Result<Leaf, PkiError> {
    if request.len() > REQUEST_BYTES_MAX {
        return Err(PkiError::Request(format!("{} bytes", request.len())));
    }
    let request = CertificateSigningRequestDer::from(request);
    // This checks the request's signature: whoever sent it has the key.
    let request = CertificateSigningRequestParams::from_der(&request)
        .map_err(|error| PkiError::Request(error.to_string()))?;
    pod_leaf(authority, name, dns, &request.public_key, leaf_s, now_s)
}

/// A key with a certificate for a pod: the operator's own.
pub fn issue(
    authority: &Authority,
    name: &PeerName,
    dns: &[String],
    leaf_s: u64,
    now_s: u64,
) -> Result<(Pair, u64), PkiError> {
    let key = KeyPair::generate()?;
    let leaf = pod_leaf(authority, name, dns, &key, leaf_s, now_s)?;
    Ok((Pair { certificate: leaf.certificate, key: key.serialize_pem() }, leaf.not_after_s))
}

/// A key with a certificate for hosts: what clients see.
pub fn issue_for_hosts(
    authority: &Authority,
    hosts: &[String],
    leaf_s: u64,
    now_s: u64,
) -> Result<(Pair, u64), PkiError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    for host in hosts {
        params.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.as_str().try_into()?),
        });
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let common_name = hosts.first().map_or("iris", String::as_str);
    let leaf = sign(authority, params, common_name, &key, leaf_s, now_s)?;
    Ok((Pair { certificate: leaf.certificate, key: key.serialize_pem() }, leaf.not_after_s))
}

fn pod_leaf(
    authority: &Authority,
    name: &PeerName,
    dns: &[String],
    key: &impl PublicKeyData,
    leaf_s: u64,
    now_s: u64,
) -> Result<Leaf, PkiError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names.push(SanType::URI(name.to_string().as_str().try_into()?));
    for name in dns {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    sign(authority, params, &name.pod, key, leaf_s, now_s)
}

fn sign(
    authority: &Authority,
    mut params: CertificateParams,
    common_name: &str,
    key: &impl PublicKeyData,
    leaf_s: u64,
    now_s: u64,
) -> Result<Leaf, PkiError> {
    params.distinguished_name = DistinguishedName::new();
    let common_name: String = common_name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    // Nothing outlives who signed it.
    let not_after_s = now_s.saturating_add(leaf_s).min(authority.not_after_s()?);
    set_validity(&mut params, now_s, not_after_s);
    let certificate = params.signed_by(key, &authority.issuer()?)?;
    Ok(Leaf { certificate: certificate.pem(), not_after_s })
}

#[cfg(test)]
mod tests;

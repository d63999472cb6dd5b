use iris_runtime::tls::{Material, Role, root_store};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;
use crate::pki::authority::Lifetimes;

fn authority() -> Authority {
    let lifetimes = Lifetimes {
        valid_s: 1_000_000_000,
        rotate_after_s: 500_000_000,
        settle_s: 300,
        leaf_s: 86_400,
        rotation: 0,
    };
    Authority::create("chat", &lifetimes, now_s()).unwrap()
}

fn now_s() -> u64 {
    1_760_000_000
}

fn pod(role: Role) -> PeerName {
    PeerName {
        namespace: "iris".to_owned(),
        cluster: "chat".to_owned(),
        role,
        pod: "eu-owner-0".to_owned(),
    }
}

fn request(key: &KeyPair) -> Vec<u8> {
    // What a request says of its sender is not believed.
    let params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    params.serialize_request(key).unwrap().der().to_vec()
}

#[test]
fn a_pod_is_who_the_issuer_says_it_is() {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    let name = pod(Role::Owner);
    let dns = ["eu-owner-0.eu-owner.iris.svc".to_owned()];
    let leaf = certify(&authority, &name, &dns, &request(&key), 86_400, now_s()).unwrap();
    assert_eq!(leaf.not_after_s, now_s() + 86_400);
    let bundle = authority.bundle();
    let material = Material::from_pem(
        leaf.certificate.as_bytes(),
        key.serialize_pem().as_bytes(),
        bundle.as_bytes(),
    );
    let material = material.unwrap();
    assert_eq!(material.name(), &name);
    assert_eq!(material.not_after_s, leaf.not_after_s);
    assert!(!leaf.certificate.contains("evil"));
    let der = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap();
    assert!(!der.windows(4).any(|bytes| bytes == b"evil"), "a name of the request got in");
}

#[test]
fn a_request_without_its_key_is_refused() {
    let key = KeyPair::generate().unwrap();
    let mut forged = request(&key);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let name = pod(Role::Owner);
    let refused = certify(&authority(), &name, &[], &forged, 60, now_s());
    assert!(matches!(refused, Err(PkiError::Request(_))), "{refused:?}");
    let huge = vec![0; REQUEST_BYTES_MAX + 1];
    assert!(matches!(
        certify(&authority(), &name, &[], &huge, 60, now_s()),
        Err(PkiError::Request(_))
    ));
}

#[test]
fn nothing_outlives_who_signed_it() {
    let authority = authority();
    let late = authority.not_after_s().unwrap() - 60;
    let (_, ends) = issue(&authority, &pod(Role::Operator), &[], 86_400, late).unwrap();
    assert_eq!(ends, authority.not_after_s().unwrap());
}

#[test]
fn clients_verify_the_certificate_of_a_pool_as_any_other() {
    let authority = authority();
    let hosts = ["chat.example".to_owned(), "192.0.2.7".to_owned()];
    let (pair, _) = issue_for_hosts(&authority, &hosts, 86_400, now_s()).unwrap();
    let roots = root_store(authority.bundle().as_bytes()).unwrap();
    let provider = iris_runtime::tls::provider();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now_s() + 1));
    for host in ["chat.example", "192.0.2.7"] {
        let name = ServerName::try_from(host).unwrap();
        verifier.verify_server_cert(&der, &[], &name, &[], now).unwrap();
    }
    let other = ServerName::try_from("other.example").unwrap();
    assert!(verifier.verify_server_cert(&der, &[], &other, &[], now).is_err());
}

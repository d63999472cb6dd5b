//! A certificate authority in memory, for a region that is one process (`iris dev`) and for tests. A
//! cluster has the operator's.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

use crate::tls::{Identity, Material, MaterialError, PeerName, Role};

/// See the module.
pub struct LocalPki {
    namespace: String,
    cluster: String,
    ca: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// The certificate.
    pub chain: String,
    /// Its key, PKCS#8.
    pub key: String,
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum LocalPkiError {
    /// The library refused.
    #[error(transparent)]
    Make(#[from] rcgen::Error),
    /// What was made cannot be used.
    #[error(transparent)]
    Use(#[from] MaterialError),
}

impl LocalPki {
    /// A new authority for one cluster.
    pub fn new(namespace: &str, cluster: &str) -> Result<Self, LocalPkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("iris {cluster} local CA"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { namespace: namespace.to_owned(), cluster: cluster.to_owned(), ca })
    }

    /// What to trust, PEM.
    pub fn trust(&self) -> String {
        self.ca.pem()
    }

    /// An identity for a pod.
    pub fn identity(&self, role: Role, pod: &str) -> Result<Identity, LocalPkiError> {
        Ok(Identity::new(self.material(role, pod)?))
    }

    /// An identity for a pod of whichever cluster.
    pub fn identity_of(
        &self,
        namespace: &str,
        cluster: &str,
        role: Role,
        pod: &str,
    ) -> Result<Identity, LocalPkiError> {
        let (namespace, cluster) = (namespace.to_owned(), cluster.to_owned());
        let name = PeerName { namespace, cluster, role, pod: pod.to_owned() };
        Ok(Identity::new(self.certify(&name)?))
    }

    /// What an identity is made of.
    pub fn material(&self, role: Role, pod: &str) -> Result<Material, LocalPkiError> {
        let (namespace, cluster) = (self.namespace.clone(), self.cluster.clone());
        self.certify(&PeerName { namespace, cluster, role, pod: pod.to_owned() })
    }

    fn certify(&self, name: &PeerName) -> Result<Material, LocalPkiError> {
        let uri = SanType::URI(name.to_string().try_into()?);
        let leaf = self.leaf(
            vec![uri],
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        )?;
        let trust = self.trust();
        Ok(Material::from_pem(leaf.chain.as_bytes(), leaf.key.as_bytes(), trust.as_bytes())?)
    }

    /// A certificate for a server that clients know by these names or addresses.
    pub fn server(&self, names: &[&str]) -> Result<Leaf, LocalPkiError> {
        let mut sans = Vec::new();
        for name in names {
            sans.push(match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into()?),
            });
        }
        self.leaf(sans, vec![ExtendedKeyUsagePurpose::ServerAuth])
    }

    fn leaf(
        &self,
        sans: Vec<SanType>,
        usages: Vec<ExtendedKeyUsagePurpose>,
    ) -> Result<Leaf, LocalPkiError> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = sans;
        params.extended_key_usages = usages;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.ca)?;
        Ok(Leaf { chain: certificate.pem(), key: key.serialize_pem() })
    }
}

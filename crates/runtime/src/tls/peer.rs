//! Who a pod is: a URI in its certificate, `spiffe://iris.dev/<namespace>/<cluster>/<role>/<pod>`.

use std::fmt;
use std::str::FromStr;

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

const PREFIX: &str = "spiffe://iris.dev/";

/// What a pod is for. Every service says which roles may call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Serves shards.
    Owner,
    /// Serves clients.
    Edge,
    /// Decides who owns what.
    ControlPlane,
    /// Runs the others.
    Operator,
}

impl Role {
    /// As in the certificate.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Edge => "edge",
            Self::ControlPlane => "controlplane",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        [Self::Owner, Self::Edge, Self::ControlPlane, Self::Operator]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| RoleError::NoName(text.to_owned()))
    }
}

/// The holder of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerName {
    /// The namespace of its cluster.
    pub namespace: String,
    /// Its cluster.
    pub cluster: String,
    /// What it is for.
    pub role: Role,
    /// Which pod.
    pub pod: String,
}

/// Why a certificate does not name a pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// It cannot be parsed.
    #[error("the certificate cannot be parsed")]
    Unparsable,
    /// It has no URI of ours, or more than one.
    #[error("the certificate names no pod of Iris")]
    Nameless,
    /// Its URI is not of the form that names a pod.
    #[error("{0:?} names no pod of Iris")]
    NoName(String),
}

impl PeerName {
    /// Whether the other is of the same cluster.
    pub fn same_cluster(&self, other: &Self) -> bool {
        self.namespace == other.namespace && self.cluster == other.cluster
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, cluster, role, pod } = self;
        write!(f, "{PREFIX}{namespace}/{cluster}/{role}/{pod}")
    }
}

impl FromStr for PeerName {
    type Err = RoleError;

    fn from_str(uri: &str) -> Result<Self, RoleError> {
        let error = || RoleError::NoName(uri.chars().take(200).collect());
        let path = uri.strip_prefix(PREFIX).ok_or_else(error)?;
        let parts: Vec<_> = path.split('/').collect();
        let [namespace, cluster, role, pod] = parts[..] else { return Err(error()) };
        if [namespace, cluster, pod].into_iter().any(str::is_empty) {
            return Err(error());
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            cluster: cluster.to_owned(),
            role: role.parse()?,
            pod: pod.to_owned(),
        })
    }
}

/// The name in a certificate (DER), if it names a pod.
pub fn name_in(certificate: &[u8]) -> Result<PeerName, RoleError> {
    name_of(certificate).map(|(name, _)| name)
}

/// The name in a certificate, and when the certificate ends (seconds since 1970).
pub(super) fn name_of(der: &[u8]) -> Result<(PeerName, u64), RoleError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| RoleError::Unparsable)?;
    let names = certificate.subject_alternative_name().map_err(|_| RoleError::Unparsable)?;
    let names = names.ok_or(RoleError::Nameless)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else { return Err(RoleError::Nameless) };
    let not_after = certificate.validity().not_after.timestamp();
    Ok((uri.parse()?, u64::try_from(not_after).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_refused() {
        let text = "spiffe://iris.dev/iris/chat/owner/eu-owner-0";
        let name: PeerName = text.parse().unwrap();
        assert_eq!((name.role, name.pod.as_str()), (Role::Owner, "eu-owner-0"));
        assert_eq!(name.to_string(), text);
        for bad in [
            "spiffe://iris.dev/iris/chat/root/x",
            "spiffe://iris.dev/iris/chat/owner",
            "spiffe://iris.dev/iris/chat/owner/",
            "spiffe://iris.dev/iris/chat/owner/a/b",
            "spiffe://example.org/iris/chat/owner/a",
            "",
        ] {
            assert!(bad.parse::<PeerName>().is_err(), "{bad}");
        }
    }
}

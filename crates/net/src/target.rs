//! Where to connect or to listen.

use std::net::SocketAddr;

/// An address, or a host's name and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An address, with a scope where it has one.
    Address(SocketAddr),
    /// A name to look up; an address without a port is a name, too.
    Name(String, u16),
    /// `host:port` as somebody wrote it. That it is none the network says.
    Text(String),
}

impl Target {
    /// The port, where it is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Address(address) => Some(address.port()),
            Self::Name(_, port) => Some(*port),
            Self::Text(text) => text.rsplit_once(':')?.1.parse().ok(),
        }
    }
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<S: Into<String>> From<(S, u16)> for Target {
    fn from((name, port): (S, u16)) -> Self {
        Self::Name(name.into(), port)
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

/// Does the same with what any target is to tokio.
macro_rules! with_target {
    ($target:expr, $it:ident => $do:expr) => {
        match $target {
            Target::Address($it) => $do,
            Target::Name(name, port) => {
                let $it = (name.as_str(), port);
                $do
            }
            Target::Text(text) => {
                let $it = text.as_str();
                $do
            }
        }
    };
}

pub(crate) use with_target;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_address_is_refused_and_scopes_stay() {
        for wrong in ["127.0.0.1", "127.0.0.1:70000", ""] {
            let refused = crate::lookup_host(wrong).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput, "{wrong:?}");
        }
        let scoped: SocketAddr = "[fe80::1%7]:443".parse().unwrap();
        assert_eq!(crate::lookup_host(scoped).await.unwrap(), [scoped]);
        let found = crate::lookup_host(("::1", 5)).await.unwrap();
        assert_eq!(found, crate::lookup_host("[::1]:5").await.unwrap());
    }
}

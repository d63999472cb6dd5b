//! Where an edge is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use rustls_pki_types::ServerName;

/// The port of who names none.
const PORT: u16 = 443;

/// A host and a port: `edge.example:443`, `192.0.2.1:8443`, `[2001:db8::1]:443`; without a port, 443.
/// And `edge.example=192.0.2.1:443` for a host that is at an address whatever its name says: one edge of
/// several behind a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EdgeAddr {
    host: String,
    port: u16,
    at: Option<IpAddr>,
}

impl EdgeAddr {
    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What to look up: the host, unless its address is given.
    pub fn dialled(&self) -> String {
        self.at.map_or_else(|| self.host.clone(), |at| at.to_string())
    }

    /// The name that its certificate must have.
    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.host.clone()).ok()
    }

    /// As HTTP wants it.
    pub(crate) fn authority(&self) -> String {
        Self { at: None, ..self.clone() }.to_string()
    }
}

impl fmt::Display for EdgeAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.at {
            return write!(f, "{}={}", self.host, SocketAddr::new(at, self.port));
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for EdgeAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("not an address: {text:?}; write host:port, for example localhost:8443");
        if let Some((host, address)) = text.split_once('=') {
            let address: SocketAddr = address.parse().map_err(|_| error())?;
            let (port, at) = (address.port(), Some(address.ip()));
            let edge = Self { host: host.to_owned(), port, at };
            return if edge.server_name().is_none() || port == 0 { Err(error()) } else { Ok(edge) };
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(error)?;
            let port = if rest.is_empty() {
                None
            } else {
                Some(rest.strip_prefix(':').ok_or_else(error)?)
            };
            (host, port)
        } else {
            match text.split_once(':') {
                Some((_, port)) if port.contains(':') => (text, None),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| error()))?;
        let edge = Self { host: host.to_owned(), port, at: None };
        if edge.server_name().is_none() || port == 0 { Err(error()) } else { Ok(edge) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, host, port) in [
            ("edge.example:8443", "edge.example", 8443),
            ("edge.example", "edge.example", 443),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:8443", "::1", 8443),
            ("[2001:db8::1]", "2001:db8::1", 443),
            ("2001:db8::1", "2001:db8::1", 443),
        ] {
            let edge: EdgeAddr = text.parse().unwrap();
            assert_eq!((edge.host(), edge.port()), (host, port), "{text}");
            assert_eq!(edge.to_string().parse(), Ok(edge));
        }
        let edge: EdgeAddr = "edge.example=192.0.2.1:8443".parse().unwrap();
        assert_eq!((edge.host(), edge.dialled().as_str()), ("edge.example", "192.0.2.1"));
        assert_eq!(edge.authority(), "edge.example:8443");
        assert_eq!(edge.to_string().parse(), Ok(edge));
        for text in [
            "a=b:1",
            "=192.0.2.1:1",
            "a=192.0.2.1:0",
            "",
            ":1",
            "a b:1",
            "host:x",
            "host:0",
            "host:70000",
            "[::1",
            "[::1]x",
            "https://a",
        ] {
            assert!(text.parse::<EdgeAddr>().is_err(), "{text}");
        }
    }
}

//! Where to connect.

use std::net::SocketAddr;

/// A host, by name or by address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    name: String,
    port: u16,
}

impl Target {
    /// The host: a name, or an address without brackets.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port; 0 where none was given, to which nothing connects.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// `host:port`, with brackets around an IPv6 address.
impl From<&str> for Target {
    fn from(text: &str) -> Self {
        let (name, port) = text.rsplit_once(':').unwrap_or((text, ""));
        let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { name, port: port.parse().unwrap_or(0) }
    }
}

impl<S: Into<String>> From<(S, u16)> for Target {
    fn from((name, port): (S, u16)) -> Self {
        Self { name: name.into(), port }
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { name: address.ip().to_string(), port: address.port() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_in_every_form() {
        for (text, name, port) in [
            ("owner-0.iris:7000", "owner-0.iris", 7000),
            ("192.0.2.7:1", "192.0.2.7", 1),
            ("[2001:db8::1]:443", "2001:db8::1", 443),
            ("nothing", "nothing", 0),
        ] {
            let target = Target::from(text);
            assert_eq!((target.name(), target.port()), (name, port), "{text}");
        }
        let address: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
        assert_eq!(Target::from(address), Target::from("[2001:db8::1]:443"));
        assert_eq!(Target::from(("::1", 5)), Target::from("[::1]:5"));
    }
}

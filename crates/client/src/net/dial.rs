//! From an address to a TLS connection, one edge after another.

use std::time::Duration;

use iris_net::TcpStream;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connector::{Carrier, Connector};
use crate::key::Binding;
use crate::session::Target;

use super::{EdgeAddr, Wire};

/// TCP and TLS together take no longer than this, for each edge.
const CONNECT: Duration = Duration::from_secs(5);
/// Of the addresses of one name.
const ADDRESSES_MAX: usize = 8;
/// Names that a server may suggest.
const NAMED_MAX: usize = 4;

const EXPORTER: &[u8] = b"EXPORTER-iris-1-hello";

/// A connection, ready for HELLO or CHALLENGE.
pub(crate) struct Dialed {
    pub(crate) wire: Wire,
    /// Nothing where CHALLENGE comes.
    pub(crate) binding: Option<Binding>,
    pub(crate) edge: EdgeAddr,
}

/// In which order the edges are tried.
pub(crate) fn rotation(
    target: &Target,
    edges: &[EdgeAddr],
    last: Option<&EdgeAddr>,
    random: usize,
) -> Vec<EdgeAddr> {
    let position = last.and_then(|last| edges.iter().position(|edge| edge == last));
    let from = match (target, position) {
        (Target::Any, Some(last)) => last,
        (Target::Elsewhere | Target::Named(_), Some(last)) => last + 1,
        (_, None) => random,
    };
    let mut order: Vec<EdgeAddr> = Vec::with_capacity(edges.len());
    if let Target::Named(names) = target {
        order.extend(names.iter().take(NAMED_MAX).filter_map(|name| name.parse().ok()));
    }
    for n in 0..edges.len() {
        let edge = &edges[(from + n) % edges.len()];
        if !order.contains(edge) {
            order.push(edge.clone());
        }
    }
    order
}

/// Tries `order` until one edge answers.
pub(crate) async fn dial(connector: &Connector, order: &[EdgeAddr]) -> Result<Dialed, String> {
    let mut failures = Vec::new();
    for edge in order {
        match dial_one(connector, edge).await {
            Ok(dialed) => return Ok(dialed),
            Err(error) => failures.push(format!("{edge}: {error}")),
        }
    }
    Err(failures.join("; "))
}

async fn dial_one(connector: &Connector, edge: &EdgeAddr) -> Result<Dialed, String> {
    let dialed = timeout(CONNECT, async {
        match connector.carrier() {
            Carrier::Tls => {
                let stream = tls(edge, &connector.configs().frames).await?;
                if stream.get_ref().1.alpn_protocol() != Some(b"iris/1") {
                    return Err("it does not speak iris/1".to_owned());
                }
                let binding = stream.get_ref().1.export_keying_material([0; 32], EXPORTER, None);
                let binding = binding.map_err(|error| error.to_string())?;
                Ok((Wire::tls(stream), Some(binding)))
            }
            Carrier::WebSocket => {
                let stream = tls(edge, &connector.configs().http).await?;
                Ok((Wire::websocket(stream, edge).await?, None))
            }
        }
    });
    let (wire, binding) = dialed.await.map_err(|_| "no connection in 5 seconds".to_owned())??;
    Ok(Dialed { wire, binding, edge: edge.clone() })
}

/// A TLS connection to one edge.
pub(super) async fn tls(
    edge: &EdgeAddr,
    config: &std::sync::Arc<rustls::ClientConfig>,
) -> Result<TlsStream<TcpStream>, String> {
    let name = edge.server_name().ok_or("not a name for a certificate")?;
    let tcp = tcp(edge).await?;
    let connector = TlsConnector::from(std::sync::Arc::clone(config));
    handshake(connector, name, tcp).await
}

async fn handshake(
    connector: TlsConnector,
    name: ServerName<'static>,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, String> {
    connector.connect(name, tcp).await.map_err(|error| format!("TLS: {error}"))
}

async fn tcp(edge: &EdgeAddr) -> Result<TcpStream, String> {
    let found = iris_net::lookup_host((edge.dialled(), edge.port())).await;
    let mut addresses = found.map_err(|error| error.to_string())?;
    // A name with many addresses is a pool: whoever comes takes any of them.
    fastrand::shuffle(&mut addresses);
    let mut last = "no address".to_owned();
    for address in addresses.into_iter().take(ADDRESSES_MAX) {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                return Ok(stream);
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_tried_in_turn() {
        let edges: Vec<EdgeAddr> = ["a", "b", "c"].map(|name| name.parse().unwrap()).into();
        let names = |target: &Target, last: Option<usize>, random| {
            let order = rotation(target, &edges, last.map(|n| &edges[n]), random);
            order.iter().map(|edge| edge.host().to_owned()).collect::<String>()
        };
        assert_eq!(names(&Target::Any, None, 4), "bca");
        assert_eq!(names(&Target::Any, Some(2), 0), "cab");
        assert_eq!(names(&Target::Elsewhere, Some(2), 0), "abc");
        let named = Target::Named(vec!["b".into(), "d".into(), "no address".into()]);
        assert_eq!(names(&named, Some(0), 0), "bdca");
    }
}

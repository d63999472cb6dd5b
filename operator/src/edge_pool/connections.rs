//! How many clients are connected: asked of the edges themselves, on their admin port, by the
//! certificate that only this cluster's edges have.
//!
//! A pool that is too large to be asked, or an edge that does not answer, makes the number unknown.

use std::time::Duration;

use futures::{StreamExt, stream};
use iris_crds::IrisCluster;
use iris_runtime::tls::{Identity, Role};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::context::Context;
use iris_runtime::config::ports;

/// Larger pools are left to the metrics of the cluster.
const PODS_MAX: usize = 32;
const SIDE_BY_SIDE: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(2);
/// An exposition is no longer than this.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
const METRIC: &str = "iris_edge_connections ";

pub(super) async fn count(
    context: &Context,
    cluster: &IrisCluster,
    namespace: &str,
    selector: &str,
) -> Option<u64> {
    let name = (namespace.to_owned(), cluster.name_any());
    let identity = context.keyring.identity(&name)?;
    let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let pods = api.list(&ListParams::default().labels(selector)).await.ok()?;
    if pods.items.len() > PODS_MAX {
        return None;
    }
    let mut asked = Vec::new();
    for pod in pods.items {
        asked.extend(pod.status.and_then(|status| status.pod_ip));
    }
    let asked = asked.into_iter().map(|address| ask(identity.clone(), address));
    let answers: Vec<_> = stream::iter(asked).buffer_unordered(SIDE_BY_SIDE).collect().await;
    answers.into_iter().sum()
}

async fn ask(identity: Identity, address: String) -> Option<u64> {
    match tokio::time::timeout(TIMEOUT, scrape(&identity, &address)).await {
        Ok(Ok(text)) => parse(&text),
        Ok(Err(error)) => {
            tracing::debug!(%error, address, "an edge did not say how many clients it has");
            None
        }
        Err(_) => None,
    }
}

async fn scrape(identity: &Identity, address: &str) -> std::io::Result<String> {
    let config = identity.client_config(Role::Edge, &[b"http/1.1"]);
    let config = config.map_err(std::io::Error::other)?;
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let stream = TcpStream::connect(format!("{host}:{}", ports::ADMIN)).await?;
    let name = ServerName::try_from("pod.iris.internal").map_err(std::io::Error::other)?;
    let mut stream = TlsConnector::from(config).connect(name, stream).await?;
    let request = "GET /metrics HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let read = (&mut stream).take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await;
    // An end without a close_notify is an end all the same.
    match read {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

/// The gauge's value in an exposition, with HTTP's headers or chunks around it.
fn parse(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(METRIC))?;
    line.trim().parse::<f64>().ok().filter(|value| *value >= 0.0).map(whole)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of connections, checked not to be negative"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_gauge_is_found_among_others() {
        let text = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n# HELP iris_edge_connections x\n\
                    # TYPE iris_edge_connections gauge\niris_edge_connections 42\n\
                    iris_edge_connections_max 9\n";
        assert_eq!(parse(text), Some(42));
        assert_eq!(parse("iris_edge_connections_max 9\n"), None);
        assert_eq!(parse("iris_edge_connections -1\n"), None);
        assert_eq!(parse(""), None);
    }
}

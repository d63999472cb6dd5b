//! JSON over HTTPS: one request on one connection.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::connector::Connector;
use crate::error::ClientError;

use super::{EdgeAddr, dial};

/// A request with its answer takes no longer than this: the server hashes passwords, slowly on purpose.
const PATIENCE: Duration = Duration::from_secs(20);
/// TCP and TLS take no longer than this, for each edge.
const CONNECT: Duration = Duration::from_secs(5);
/// Larger answers are none of ours.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Why a request has no good answer.
#[derive(Debug)]
pub(crate) enum HttpError {
    /// The server said no.
    Refused { code: u32, text: String, retry_after_ms: u32 },
    /// No edge answered.
    Unreachable(String),
    /// An answer that cannot be read.
    Malformed(String),
}

#[derive(serde::Deserialize)]
struct Failure {
    code: u32,
    #[serde(default)]
    text: String,
    #[serde(default)]
    retry_after_ms: u32,
}

/// Posts JSON to one edge after another until one answers. The request must bear being repeated.
pub(crate) async fn post<T: DeserializeOwned>(
    connector: &Connector,
    path: &str,
    body: &(impl Serialize + Sync),
) -> Result<T, HttpError> {
    let body = serde_json::to_vec(body).map_err(|error| HttpError::Malformed(error.to_string()))?;
    request(connector, Method::POST, path, body).await
}

/// Gets JSON from one edge after another until one answers.
pub(crate) async fn get<T: DeserializeOwned>(
    connector: &Connector,
    path: &str,
) -> Result<T, HttpError> {
    request(connector, Method::GET, path, Vec::new()).await
}

async fn request<T: DeserializeOwned>(
    connector: &Connector,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<T, HttpError> {
    let body = Bytes::from(body);
    let mut failures = Vec::new();
    for edge in connector.shuffled_edges() {
        match exchange(connector, &edge, &method, path, body.clone()).await {
            Ok((status, answer)) => return read(status, &answer),
            Err(error) => failures.push(format!("{edge}: {error}")),
        }
    }
    Err(HttpError::Unreachable(failures.join("; ")))
}

fn read<T: DeserializeOwned>(status: StatusCode, answer: &[u8]) -> Result<T, HttpError> {
    if status.is_success() {
        return serde_json::from_slice(answer)
            .map_err(|error| HttpError::Malformed(error.to_string()));
    }
    match serde_json::from_slice::<Failure>(answer) {
        Ok(Failure { code, text, retry_after_ms }) => {
            Err(HttpError::Refused { code, text, retry_after_ms })
        }
        // Something between us and the edge answered.
        Err(_) => Err(HttpError::Unreachable(format!("HTTP status {status}"))),
    }
}

async fn exchange(
    connector: &Connector,
    edge: &EdgeAddr,
    method: &Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), String> {
    let tls = timeout(CONNECT, dial::tls(edge, &connector.configs().http)).await;
    let tls = tls.map_err(|_| "no connection in 5 seconds".to_owned())??;
    timeout(PATIENCE, async {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", edge.authority())
            .header("Content-Type", "application/json")
            .header("Connection", "close")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        driven(answer, connection).await
    })
    .await
    .map_err(|_| "no answer in 20 seconds".to_owned())?
}

/// Awaits `answer` while its connection is driven.
async fn driven<T>(
    answer: impl Future<Output = Result<T, String>>,
    connection: impl Future,
) -> Result<T, String> {
    let mut answer = std::pin::pin!(answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        _ = &mut connection => {}
    }
    // The connection is over: what it had read is still to be taken.
    answer.await
}

impl From<HttpError> for ClientError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Unreachable(text) => Self::Unreachable(text),
            HttpError::Malformed(text) => Self::Malformed(text),
            HttpError::Refused { code, text, retry_after_ms } => {
                if code == 4290 || code >= 5000 {
                    Self::TryLater { code, text, retry_after_ms }
                } else {
                    Self::Refused { code, text }
                }
            }
        }
    }
}

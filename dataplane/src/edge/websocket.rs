//! Frames in the messages of a WebSocket, for clients that cannot open a TLS stream of their own.

use std::io;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use iris_core::code::Code;
use iris_core::limits;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::carrier::{Sink, Source};
use super::conn::{self, Binding};
use super::http::{Http, refused};

/// The sub-protocol.
const PROTOCOL: &str = "iris.v1";

type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

/// `GET /v1/connect`: becomes a WebSocket, and then a client's connection.
pub(super) async fn upgrade(State(http): State<Http>, request: Request) -> Response {
    let headers = request.headers();
    let has = |name, wanted: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(wanted))
    };
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let proper = has(header::UPGRADE, "websocket")
        && has(header::CONNECTION, "upgrade")
        && has(header::SEC_WEBSOCKET_VERSION, "13")
        && has(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
    let (Some(key), true) = (key, proper) else {
        return refused(Code::Invalid, "not a WebSocket with sub-protocol iris.v1", 0);
    };
    let Some(place) = http.admission.place() else {
        return refused(Code::Overloaded, "this edge is full: try another", 1_000);
    };
    let Ok(accept) = HeaderValue::from_str(&key) else {
        return refused(Code::Invalid, "an unusable Sec-WebSocket-Key", 0);
    };
    let (shared, id) = (Arc::clone(&http.shared), http.shared.next_conn());
    let upgrade = hyper::upgrade::on(request);
    http.shared.tasks.spawn("websocket", async move {
        match upgrade.await {
            Ok(upgraded) => {
                let config = config();
                let io = TokioIo::new(upgraded);
                let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
                let (sink, source) = socket.split();
                let halves = (WsSource(source), WsSink(sink));
                let binding = Binding::Nonce(crate::random::bytes());
                conn::serve(shared, (id, place), halves, binding).await;
            }
            Err(error) => tracing::debug!(%error, "an upgrade failed"),
        }
    });
    let headers = [
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
        (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL)),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

fn config() -> WebSocketConfig {
    let largest = limits::FRAME_BYTES_MAX as usize + 64;
    WebSocketConfig::default()
        .max_message_size(Some(largest * 4))
        .max_frame_size(Some(largest * 4))
        .read_buffer_size(4096)
        .write_buffer_size(0)
}

struct WsSource(SplitStream<WebSocketStream<Upgraded>>);
struct WsSink(SplitSink<WebSocketStream<Upgraded>, Message>);

impl Source for WsSource {
    async fn read(&mut self, into: &mut BytesMut) -> io::Result<bool> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(bytes))) => {
                    into.extend_from_slice(&bytes);
                    return Ok(true);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                    return Err(io::Error::other("only binary messages are spoken here"));
                }
                Some(Ok(Message::Close(_))) | None => return Ok(false),
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
    }
}

impl Sink for WsSink {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.send(Message::Binary(bytes)).await.map_err(io::Error::other)
    }

    async fn close(&mut self) {
        // The other side may be gone already.
        let _ = self.0.close().await;
    }
}

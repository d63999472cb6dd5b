//! The HTTPS side: JSON calls, and the door to WebSockets.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use iris_core::code::Code;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::connection::serve;
use super::edge::Shared;
use super::pipe::Pipe;

pub async fn answer(shared: Arc<Shared>, stream: TlsStream<TcpStream>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(route(shared, request).await) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // Clients come and go as they like.
    drop(connection.with_upgrades().await);
}

async fn route(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.uri().path() == "/v1/connect" {
        return upgrade(shared, request);
    }
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let seconds = shared.knobs.token_seconds.load(Relaxed);
    let (directory, owner) = (&shared.directory, &shared.owner);
    if shared.knobs.http_down.load(Relaxed) {
        return json_response(
            StatusCode::SERVICE_UNAVAILABLE,
            &failure(Code::StoreUnavailable, "down"),
        );
    }
    let answer = match (&parts.method, parts.uri.path()) {
        (&Method::POST, "/v1/register") => directory.register(owner, &request, seconds).await,
        (&Method::POST, "/v1/login") => directory.login(owner, &request, seconds).await,
        (&Method::POST, "/v1/link") if !shared.knobs.links_nobody.load(Relaxed) => {
            directory.link(owner, &request, seconds).await
        }
        (&Method::POST, "/v1/token") => directory.refresh(owner, &request, seconds).await,
        (&Method::GET, "/v1/jwks.json") => Ok(json!({"keys": []})),
        _ => return json_response(StatusCode::NOT_FOUND, &failure(Code::NotFound, "no such path")),
    };
    match answer {
        Ok(tokens) => json_response(StatusCode::OK, &tokens),
        Err((Code::NotFound, text)) => {
            let again = json!({"code": 4203, "text": text, "retry_after_ms": 100});
            json_response(StatusCode::NOT_FOUND, &again)
        }
        Err((code, text)) => json_response(StatusCode::FORBIDDEN, &failure(code, &text)),
    }
}

fn failure(code: Code, text: &str) -> Value {
    json!({"code": code.number(), "text": text, "retry_after_ms": 0})
}

fn json_response(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let body = Full::new(Bytes::from(value.to_string()));
    Response::builder().status(status).body(body).unwrap()
}

fn upgrade(shared: Arc<Shared>, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let key = request.headers().get("Sec-WebSocket-Key").cloned();
    let protocol = request.headers().get("Sec-WebSocket-Protocol").cloned();
    let (Some(key), Some(protocol)) = (key, protocol) else {
        return json_response(StatusCode::BAD_REQUEST, &Value::Null);
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let stream = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let pipe = Pipe::WebSocket(Box::new(socket), BytesMut::new());
        serve(shared, pipe, None).await;
    });
    let accept = derive_accept_key(key.as_bytes());
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Accept", HeaderValue::from_str(&accept).unwrap())
        .header("Sec-WebSocket-Protocol", protocol)
        .body(Full::default())
        .unwrap()
}

//! A connection without manners: it sends what it is told to.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use iris_client::EdgeAddr;
use iris_client::key::Binding;
use iris_proto::client as proto;
use iris_proto::frame::{FRAME_BYTES_HARD_MAX, Frame, FrameType, encode_message};
use prost::Message;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::soak::named;

use super::Probe;
use super::person::Person;

/// What came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// ERROR with this code, and whether the connection was closed after it.
    Error { code: u32, closed: bool },
    /// Another frame.
    Frame(FrameType, Bytes),
    /// The end, without a word.
    Closed,
    /// Nothing at all.
    Silence,
    /// Something that is no frame.
    NoFrame(String),
    /// No connection.
    NoConnection(String),
}

impl Seen {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Error { code, closed } => {
                let closed = if *closed { "closed" } else { "NOT closed" };
                format!("ERROR {}, {closed}", named(*code))
            }
            Self::Frame(kind, _) => format!("{kind:?}"),
            Self::Closed => "closed without a word".to_owned(),
            Self::Silence => "nothing".to_owned(),
            Self::NoFrame(text) => text.clone(),
            Self::NoConnection(text) => format!("no connection: {text}"),
        }
    }
}

/// See the module.
pub(super) struct Raw {
    stream: TlsStream<TcpStream>,
    input: BytesMut,
    pub(super) binding: Binding,
}

impl Raw {
    pub(super) async fn connect(probe: &Probe) -> Result<Self, String> {
        let config = probe.connector.frames_config();
        let until = Instant::now() + probe.args.patience;
        let connected = timeout_at(until, tls(&probe.edge, config));
        let stream = connected.await.map_err(|_| "no answer in time".to_owned())??;
        let exported =
            stream.get_ref().1.export_keying_material([0; 32], b"EXPORTER-iris-1-hello", None);
        let binding = exported.map_err(|error| error.to_string())?;
        Ok(Self { stream, input: BytesMut::new(), binding })
    }

    /// A connection that the server serves.
    pub(super) async fn welcomed(
        probe: &Probe,
        person: &Person,
    ) -> Result<(Self, proto::Welcome), String> {
        let mut raw = Self::connect(probe).await?;
        let hello = hello(person, &raw.binding);
        raw.send(FrameType::Hello, &hello).await;
        match raw.next(probe.args.patience).await {
            Seen::Frame(FrameType::Welcome, payload) => {
                let welcome = proto::Welcome::decode(payload);
                Ok((raw, welcome.map_err(|error| error.to_string())?))
            }
            other => Err(format!("no WELCOME but {}", other.text())),
        }
    }

    /// Writes bytes. What cannot be written was refused already: the answer says it.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let written = self.stream.write_all(bytes).await.is_ok();
        let _flushed = written && self.stream.flush().await.is_ok();
    }

    pub(super) async fn send(&mut self, kind: FrameType, message: &impl Message) {
        let mut bytes = BytesMut::new();
        encode_message(&mut bytes, kind, None, message);
        self.write(&bytes).await;
    }

    /// The next thing that comes; after ERROR, also whether the end does.
    pub(super) async fn next(&mut self, patience: Duration) -> Seen {
        match self.frame(patience).await {
            Seen::Frame(FrameType::Error, payload) => {
                let code = proto::Error::decode(payload).map_or(0, |error| error.code);
                let closed = matches!(self.frame(patience).await, Seen::Closed);
                Seen::Error { code, closed }
            }
            other => other,
        }
    }

    async fn frame(&mut self, patience: Duration) -> Seen {
        let until = Instant::now() + patience;
        loop {
            match Frame::decode(&mut self.input, FRAME_BYTES_HARD_MAX) {
                Ok(Some(frame)) => match frame.known() {
                    Some(kind) => return Seen::Frame(kind, frame.payload),
                    None => return Seen::NoFrame(format!("a frame of type {:#04x}", frame.kind)),
                },
                Ok(None) => {}
                Err(error) => return Seen::NoFrame(error.to_string()),
            }
            match timeout_at(until, self.stream.read_buf(&mut self.input)).await {
                Ok(Ok(0) | Err(_)) => return Seen::Closed,
                Ok(Ok(_)) => {}
                Err(_) => return Seen::Silence,
            }
        }
    }

    /// As [`Raw::next`], past everything that an ordinary connection brings by itself.
    pub(super) async fn answer(&mut self, patience: Duration) -> Seen {
        loop {
            match self.next(patience).await {
                Seen::Frame(
                    FrameType::Deliver
                    | FrameType::Window
                    | FrameType::Ping
                    | FrameType::SendAck
                    | FrameType::SendNack,
                    _,
                ) => {}
                other => return other,
            }
        }
    }
}

/// The HELLO that a person would say on a connection.
pub(super) fn hello(person: &Person, binding: &Binding) -> proto::Hello {
    proto::Hello {
        proto_min: 1,
        proto_max: 1,
        access_token: person.access.clone(),
        device: person.device.0,
        proof: person.key.prove_hello(binding, person.account, person.device).into(),
        window: Some(proto::Window { messages: 16, bytes: 64 * 1024 }),
        sdk: "iris-probe".to_owned(),
        ..proto::Hello::default()
    }
}

/// A TCP connection.
pub(super) async fn tcp(edge: &EdgeAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect((edge.dialled(), edge.port())).await;
    let stream = stream.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

async fn tls(edge: &EdgeAddr, config: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(edge.host().to_owned()).map_err(|error| error.to_string())?;
    let stream = tcp(edge).await?;
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| error.to_string())
}

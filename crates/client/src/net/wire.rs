//! Frames over a connection, polled in one place for both directions.
//!
//! An idle connection owns no buffer of its own: what arrives is read into one that lives for the call.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{Sink as _, Stream as _};
use iris_net::TcpStream;
use iris_proto::frame::{FRAME_BYTES_HARD_MAX, Frame};
use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use super::EdgeAddr;

/// What one poll reads at most before frames are handed on.
const READ_BYTES: usize = 16 * 1024;
/// A server that takes nothing while so much waits for it is given up.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// An empty output buffer larger than this is given back.
const KEPT_BYTES: usize = 1024;

const SUBPROTOCOL: &str = "iris.v1";

/// A connection to an edge.
pub(crate) struct Wire {
    carrier: Carrier,
    input: BytesMut,
    output: BytesMut,
    unflushed: bool,
}

enum Carrier {
    Tls(Box<TlsStream<TcpStream>>),
    WebSocket(Box<WebSocketStream<TlsStream<TcpStream>>>),
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.carrier {
            Carrier::Tls(_) => "Wire(tls)",
            Carrier::WebSocket(_) => "Wire(websocket)",
        })
    }
}

impl Wire {
    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self::new(Carrier::Tls(Box::new(stream)))
    }

    pub(super) async fn websocket(
        stream: TlsStream<TcpStream>,
        edge: &EdgeAddr,
    ) -> Result<Self, String> {
        let request = http::Request::builder()
            .uri(format!("wss://{}/v1/connect", edge.authority()))
            .header("Host", edge.authority())
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", generate_key())
            .header("Sec-WebSocket-Protocol", SUBPROTOCOL)
            .body(())
            .map_err(|error| error.to_string())?;
        let limit = Some(FRAME_BYTES_HARD_MAX as usize * 2);
        let config = WebSocketConfig::default()
            .read_buffer_size(4 * 1024)
            .max_message_size(limit)
            .max_frame_size(limit);
        let connected =
            tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        let (stream, _) = connected.map_err(|error| format!("WebSocket: {error}"))?;
        Ok(Self::new(Carrier::WebSocket(Box::new(stream))))
    }

    fn new(carrier: Carrier) -> Self {
        Self { carrier, input: BytesMut::new(), output: BytesMut::new(), unflushed: false }
    }

    /// Puts bytes behind those that wait to be written.
    pub(crate) fn queue(&mut self, bytes: &Bytes) {
        self.output.extend_from_slice(bytes);
    }

    /// Writes what waits and reads until there is at least one whole frame.
    ///
    /// # Errors
    /// When the connection is over, or what comes are no frames.
    pub(crate) fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        frame_bytes_max: u32,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<(), String>> {
        match self.poll_write(cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.to_string())),
            Poll::Ready(Ok(())) => {}
            Poll::Pending if self.output.len() > WAITING_BYTES_MAX => {
                return Poll::Ready(Err("the server takes nothing".to_owned()));
            }
            Poll::Pending => {}
        }
        loop {
            let read = ready!(self.poll_read(cx)).map_err(|error| error.to_string())?;
            if read == 0 {
                return Poll::Ready(Err("the server closed the connection".to_owned()));
            }
            while let Some(frame) = Frame::decode(&mut self.input, frame_bytes_max)
                .map_err(|error| error.to_string())?
            {
                frames.push(frame);
            }
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
            if !frames.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Tls(stream) => {
                let mut space = [const { MaybeUninit::<u8>::uninit() }; READ_BYTES];
                let mut buffer = ReadBuf::uninit(&mut space);
                ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
                self.input.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(buffer.filled().len()))
            }
            Carrier::WebSocket(stream) => loop {
                match ready!(Pin::new(&mut *stream).poll_next(cx)) {
                    None | Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(0)),
                    Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                    Some(Ok(Message::Binary(bytes))) => {
                        self.input.extend_from_slice(&bytes);
                        return Poll::Ready(Ok(bytes.len().max(1)));
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => self.unflushed = true,
                    Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                        return Poll::Ready(Err(io::Error::other("a message that is not binary")));
                    }
                }
            },
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Tls(stream) => {
                while !self.output.is_empty() {
                    let written = ready!(Pin::new(&mut *stream).poll_write(cx, &self.output))?;
                    self.output.advance(written);
                    self.unflushed = true;
                }
                if self.unflushed {
                    ready!(Pin::new(stream).poll_flush(cx))?;
                    self.unflushed = false;
                }
            }
            Carrier::WebSocket(stream) => {
                if !self.output.is_empty() {
                    ready!(Pin::new(&mut *stream).poll_ready(cx)).map_err(io_error)?;
                    let message = Message::Binary(self.output.split().freeze());
                    Pin::new(&mut *stream).start_send(message).map_err(io_error)?;
                    self.unflushed = true;
                }
                if self.unflushed {
                    ready!(Pin::new(stream).poll_flush(cx)).map_err(io_error)?;
                    self.unflushed = false;
                }
            }
        }
        if self.output.capacity() > KEPT_BYTES {
            self.output = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what waits, then says goodbye.
    pub(crate) async fn close(mut self) {
        let written = std::future::poll_fn(|cx| self.poll_write(cx)).await;
        if written.is_err() {
            return;
        }
        // The other side may be gone already: there is nobody left to tell.
        let _ = match self.carrier {
            Carrier::Tls(mut stream) => stream.shutdown().await.is_ok(),
            Carrier::WebSocket(mut stream) => stream.close(None).await.is_ok(),
        };
    }
}

fn io_error(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

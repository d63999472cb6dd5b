//! Frames to and from a client, over TLS or a WebSocket.

use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use iris_proto::frame::Frame;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

pub enum Pipe<S> {
    Stream(S, BytesMut),
    WebSocket(Box<WebSocketStream<S>>, BytesMut),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pipe<S> {
    /// The next frames; nothing at the end. Cancel safe.
    pub async fn read(&mut self, max: u32) -> Option<Vec<Frame>> {
        loop {
            let input = match self {
                Self::Stream(stream, input) => {
                    input.reserve(2048);
                    if stream.read_buf(input).await.ok()? == 0 {
                        return None;
                    }
                    input
                }
                Self::WebSocket(socket, input) => {
                    if let Message::Binary(bytes) = socket.next().await?.ok()? {
                        input.extend_from_slice(&bytes);
                    }
                    input
                }
            };
            let mut frames = Vec::new();
            while let Some(frame) = Frame::decode(input, max).ok()? {
                frames.push(frame);
            }
            if input.is_empty() {
                *input = BytesMut::new();
            }
            if !frames.is_empty() {
                return Some(frames);
            }
        }
    }

    pub async fn write(&mut self, bytes: Bytes) -> Option<()> {
        match self {
            Self::Stream(stream, _) => {
                stream.write_all(&bytes).await.ok()?;
                stream.flush().await.ok()
            }
            Self::WebSocket(socket, _) => socket.send(Message::Binary(bytes)).await.ok(),
        }
    }

    pub async fn close(&mut self) {
        match self {
            Self::Stream(stream, _) => drop(stream.shutdown().await),
            Self::WebSocket(socket, _) => drop(socket.close().await),
        }
    }
}

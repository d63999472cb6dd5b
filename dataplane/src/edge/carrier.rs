//! What carries the bytes of frames: a TLS stream, or the messages of a WebSocket on one.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf,
};

/// Bytes asked for at once: a few frames, and little enough for an idle connection.
const READ_BYTES: usize = 4096;

/// The reading side.
pub(super) trait Source: Send {
    /// Appends what arrived; false at the end. Nothing is lost when it is not polled to its end.
    fn read(&mut self, into: &mut BytesMut) -> impl Future<Output = io::Result<bool>> + Send;
}

/// The writing side.
pub(super) trait Sink: Send {
    /// Writes everything, and makes it leave.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = io::Result<()>> + Send;
    /// Ends the stream.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

impl<S: AsyncRead + AsyncWrite + Send> Source for ReadHalf<S> {
    async fn read(&mut self, into: &mut BytesMut) -> io::Result<bool> {
        if into.capacity() - into.len() < READ_BYTES / 2 {
            into.reserve(READ_BYTES);
        }
        Ok(self.read_buf(into).await? > 0)
    }
}

impl<S: AsyncRead + AsyncWrite + Send> Sink for WriteHalf<S> {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.write_all(&bytes).await?;
        self.flush().await
    }

    async fn close(&mut self) {
        // The other side may be gone already.
        let _ = self.shutdown().await;
    }
}

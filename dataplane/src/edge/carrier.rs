//! What carries the bytes of frames: a TLS stream, or the messages of a WebSocket on one.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf};

/// Bytes taken at once: many frames of a usual size, and little for a stack.
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
        poll_fn(|context| {
            // On the stack: a connection that waits has no buffer.
            let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut buffer);
            ready!(Pin::new(&mut *self).poll_read(context, &mut buffer))?;
            into.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(!buffer.filled().is_empty()))
        })
        .await
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

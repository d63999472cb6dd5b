//! Accepting TLS connections: handshakes run side by side, bounded in number and in time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iris_net::{TcpListener, TcpStream};
use rustls::ServerConfig;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::task::Tasks;

/// Handshakes under way at once between pods and on the admin port.
const HANDSHAKES_MAX: usize = 64;
/// A handshake that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Accepts connections until the tasks stop; finished handshakes come out of the channel.
pub fn accept(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    tasks: &Tasks,
) -> mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)> {
    let (done, accepted) = mpsc::channel(HANDSHAKES_MAX);
    let running = tasks.clone();
    tasks.spawn_critical("accept", async move {
        let permits = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: waiting is all that helps.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (acceptor, done) = (TlsAcceptor::from(Arc::clone(&config)), done.clone());
            running.spawn("handshake", async move {
                let _permit = permit;
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, %from, "cannot set TCP_NODELAY");
                }
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        // A closed channel: the server stops, and so does the connection.
                        let _ = done.send((stream, from)).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, %from, "handshake failed"),
                    Err(_) => tracing::debug!(%from, "handshake took too long"),
                }
            });
        }
    });
    accepted
}

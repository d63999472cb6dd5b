//! A network between parts that a test can cut and mend.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Carries connections to one address while it is not cut.
pub struct Relay {
    at: SocketAddr,
    target: String,
    task: JoinHandle<()>,
}

impl Relay {
    /// A relay to `target`.
    pub async fn to(target: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        Ok(Self { at, task: tokio::spawn(carry_all(listener, target.clone())), target })
    }

    /// Where it is reached.
    pub fn address(&self) -> String {
        self.at.to_string()
    }

    /// Ends every connection and takes no more.
    pub async fn cut(&mut self) {
        self.task.abort();
        // An abort is an error too.
        let _ = (&mut self.task).await;
    }

    /// Takes connections again after a cut.
    pub async fn mend(&mut self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(self.at).await?;
        self.task = tokio::spawn(carry_all(listener, self.target.clone()));
        Ok(())
    }
}

async fn carry_all(listener: TcpListener, target: String) {
    // Connections end with this task.
    let mut carried = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        carried.spawn(carry(near, target.clone()));
    }
}

async fn carry(mut near: TcpStream, target: String) -> std::io::Result<()> {
    let mut far = TcpStream::connect(target).await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
}

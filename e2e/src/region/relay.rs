//! A network between parts that a test can cut and mend.

use std::net::SocketAddr;

use iris_runtime::task::Tasks;
use tokio::net::{TcpListener, TcpStream};

/// Carries connections to one address while it is not cut.
pub struct Relay {
    at: SocketAddr,
    target: String,
    tasks: Tasks,
}

impl Relay {
    /// A relay to `target`.
    pub async fn to(target: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let relay = Self { at, target, tasks: Tasks::new() };
        relay.listen(listener);
        Ok(relay)
    }

    /// Where it is reached.
    pub fn address(&self) -> String {
        self.at.to_string()
    }

    /// Ends every connection and takes no more.
    pub async fn cut(&self) {
        self.tasks.stop();
        self.tasks.ended().await;
    }

    /// Takes connections again after a cut.
    pub async fn mend(&mut self) -> anyhow::Result<()> {
        self.tasks = Tasks::new();
        self.listen(TcpListener::bind(self.at).await?);
        Ok(())
    }

    fn listen(&self, listener: TcpListener) {
        let (tasks, target) = (self.tasks.clone(), self.target.clone());
        self.tasks.spawn("relay", async move {
            while let Ok((near, _)) = listener.accept().await {
                tasks.spawn("relayed", carry(near, target.clone()));
            }
        });
    }
}

async fn carry(mut near: TcpStream, target: String) {
    // However it ends, both connections end with it.
    if let Ok(mut far) = TcpStream::connect(target).await {
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}

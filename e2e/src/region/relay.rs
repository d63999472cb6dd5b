//! A network between parts that a test can cut and mend.

use iris_runtime::task::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Carries connections to one address while it is whole.
pub struct Relay {
    /// Where it is reached.
    pub address: String,
    whole: watch::Sender<bool>,
    tasks: Tasks,
}

impl Relay {
    /// A relay to `target`.
    pub async fn to(target: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (whole, tasks) = (watch::Sender::new(true), Tasks::new());
        let (seen, carried) = (whole.subscribe(), tasks.clone());
        tasks.spawn("relay", async move {
            loop {
                if let Ok((near, _)) = listener.accept().await {
                    carried.spawn("relayed", carry(near, target.clone(), seen.clone()));
                }
            }
        });
        Ok(Self { address, whole, tasks })
    }

    /// Ends every connection, and each new one at once.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Carries new connections again.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

async fn carry(mut near: TcpStream, target: String, mut whole: watch::Receiver<bool>) {
    let through = async {
        // However it ends, both connections end with it.
        if let Ok(mut far) = TcpStream::connect(target).await {
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
    };
    tokio::select! {
        biased;
        _ = whole.wait_for(|whole| !whole) => {}
        () = through => {}
    }
}

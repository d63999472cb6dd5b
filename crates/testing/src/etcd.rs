//! An etcd of one member.

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use iris_coord::CoordError;
use iris_coord::etcd::{EtcdConfig, EtcdCoord};
use tempfile::TempDir;

/// It starts within this time, or not at all.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// One member that is a cluster by itself.
pub struct Etcd {
    program: PathBuf,
    tls: Option<PathBuf>,
    data: TempDir,
    client: u16,
    peer: u16,
    process: Option<Child>,
}

impl Etcd {
    /// Starts one; with a directory of `ca.crt`, `server.crt` and `server.key`, over mutual TLS.
    pub async fn start(tls: Option<&Path>) -> io::Result<Self> {
        let mut etcd = Self {
            program: xtask::programs::etcd().map_err(io::Error::other)?,
            tls: tls.map(Path::to_owned),
            data: TempDir::new()?,
            client: free_port()?,
            peer: free_port()?,
            process: None,
        };
        etcd.spawn()?;
        etcd.await_start().await?;
        Ok(etcd)
    }

    /// How to reach it.
    pub fn config(&self) -> EtcdConfig {
        EtcdConfig {
            endpoints: vec![self.url(self.client)],
            tls_path: self.tls.clone(),
            prefix: "/iris/test/".to_owned(),
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> io::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Starts it again with what it kept.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.kill()?;
        self.spawn()?;
        self.await_start().await
    }

    fn url(&self, port: u16) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{port}")
    }

    fn spawn(&mut self) -> io::Result<()> {
        let (client, peer) = (self.url(self.client), format!("http://127.0.0.1:{}", self.peer));
        let mut command = Command::new(&self.program);
        command
            .arg(format!("--data-dir={}", self.data.path().join("member").display()))
            .args([format!("--listen-client-urls={client}")])
            .args([format!("--advertise-client-urls={client}")])
            .args([format!("--listen-peer-urls={peer}")])
            .args([format!("--initial-advertise-peer-urls={peer}")])
            .args([format!("--initial-cluster=default={peer}"), "--log-level=error".to_owned()]);
        if let Some(tls) = &self.tls {
            command
                .arg(format!("--cert-file={}", tls.join("server.crt").display()))
                .arg(format!("--key-file={}", tls.join("server.key").display()))
                .arg(format!("--trusted-ca-file={}", tls.join("ca.crt").display()))
                .arg("--client-cert-auth");
        }
        let log = std::fs::File::create(self.data.path().join("log"))?;
        let process = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        self.process = Some(process);
        Ok(())
    }

    async fn await_start(&self) -> io::Result<()> {
        let deadline = tokio::time::Instant::now() + START_PATIENCE;
        let config = self.config();
        loop {
            match EtcdCoord::connect(&config).await {
                Ok(_) => return Ok(()),
                // Whether we may speak with it is for the test to say.
                Err(CoordError::Denied(_)) => return Ok(()),
                Err(error) if tokio::time::Instant::now() > deadline => {
                    let log = std::fs::read_to_string(self.data.path().join("log"))?;
                    return Err(io::Error::other(format!("etcd did not start: {error}\n{log}")));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(%error, "etcd was not ended");
        }
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

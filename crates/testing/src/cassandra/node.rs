//! One node: its process, what guards that, and its directory.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::options::{CassandraOptions, yaml};
use super::{START_PATIENCE, address};

fn repository(path: &str) -> Result<PathBuf, String> {
    xtask::programs::repository(path).map_err(|error| format!("{error:#}"))
}

/// A running node.
#[derive(Debug)]
pub(super) struct Node {
    number: u8,
    jars: PathBuf,
    port: u16,
    process: Option<Process>,
    // Dropped last: the process writes into it.
    directory: TempDir,
}

/// A process with a guard that ends it when this one is gone.
#[derive(Debug)]
struct Process {
    node: Child,
    guard: Child,
}

impl Process {
    /// Ends both at once, as a power switch does.
    fn kill(mut self) {
        let ends = [self.node.kill(), self.node.wait().map(drop)];
        let guard = [self.guard.kill(), self.guard.wait().map(drop)];
        for error in ends.into_iter().chain(guard).filter_map(Result::err) {
            tracing::warn!(%error, "cassandra of a test did not end cleanly");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Node {
    /// Starts a node in a directory of its own.
    pub(super) fn begin(
        options: &CassandraOptions,
        jars: &Path,
        number: u8,
        (port, storage_port): (u16, u16),
    ) -> Result<Self, String> {
        // Beside the build's output: a memory file system has no direct I/O.
        let parent = repository("target/cassandra")?;
        fs::create_dir_all(&parent).map_err(|error| format!("{}: {error}", parent.display()))?;
        let parent = parent.canonicalize().map_err(|error| error.to_string())?;
        let directory = tempfile::Builder::new()
            .prefix("node-")
            .tempdir_in(parent)
            .map_err(|error| format!("no directory for Cassandra: {error}"))?;
        let jars = jars.to_owned();
        let mut node = Self { number, jars, port, process: None, directory };
        node.put("cassandra.yaml", &yaml(options, node.home(), number, (port, storage_port)))?;
        if let Some(tls) = &options.tls {
            node.put("server.pem", &tls.key_and_chain)?;
            node.put("clients.pem", &tls.clients)?;
        }
        fs::create_dir_all(node.home().join("tmp")).map_err(|error| error.to_string())?;
        node.spawn()?;
        Ok(node)
    }

    pub(super) fn address(&self) -> Ipv4Addr {
        address(self.number)
    }

    /// `kill -9`, if it runs.
    pub(super) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again on what it left on its disk.
    pub(super) fn restart(&mut self) -> Result<(), String> {
        self.kill();
        self.spawn()
    }

    pub(super) fn signal(&self, signal: &str) -> Result<(), String> {
        let process = self.process.as_ref().ok_or("the node does not run")?;
        let sent =
            Command::new("kill").args(["-s", signal]).arg(process.node.id().to_string()).status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("SIG{signal} was not sent: {other:?}")),
        }
    }

    fn home(&self) -> &Path {
        self.directory.path()
    }

    fn put(&self, name: &str, text: &str) -> Result<(), String> {
        fs::write(self.home().join(name), text)
            .map_err(|error| format!("{name} cannot be written: {error}"))
    }

    fn spawn(&mut self) -> Result<(), String> {
        let node = self.command()?.spawn().map_err(|error| {
            format!("java cannot be started: {error}; install a Java 17 runtime")
        })?;
        // A test that is killed cannot clean up; its guard sees the end of the pipe and does.
        let script = "read -r _; kill -9 \"$1\"; for _ in 1 2 3 4 5 6 7 8 9; do \
                      kill -0 \"$1\" || break; sleep 0.2; done; rm -rf \"$2\"";
        let guard = Command::new("sh")
            .args(["-c", script, "guard", &node.id().to_string()])
            .arg(self.home())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("sh cannot be started: {error}"))?;
        self.process = Some(Process { node, guard });
        Ok(())
    }

    fn command(&self) -> Result<Command, String> {
        let home = self.home();
        let log = |error: std::io::Error| format!("no log for Cassandra: {error}");
        let out = File::options().create(true).append(true).open(self.log()).map_err(log)?;
        let errors = out.try_clone().map_err(log)?;
        let mut command = Command::new("java");
        command.arg(format!("-javaagent:{}", self.jamm()?.display()));
        for file in ["jvm.options", "modules.options"] {
            let path = repository("dev/cassandra/conf")?.join(file);
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            command.args(text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()));
        }
        let logback = repository("dev/cassandra/conf/logback.xml")?;
        let temporary = home.join("tmp");
        let settings = [
            format!("-Djava.io.tmpdir={}", temporary.display()),
            format!("-Djna.tmpdir={}", temporary.display()),
            format!("-Dcassandra.storagedir={}", home.join("data").display()),
            format!("-Dcassandra.logdir={}", home.display()),
            format!("-Dcassandra.config=file://{}", home.join("cassandra.yaml").display()),
            format!("-Dlogback.configurationFile={}", logback.display()),
            "-Dcassandra-foreground=yes".to_owned(),
        ];
        command
            .args(settings)
            .arg("-cp")
            .arg(self.jars.join("*"))
            .arg("org.apache.cassandra.service.CassandraDaemon")
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors);
        Ok(command)
    }

    fn jamm(&self) -> Result<PathBuf, String> {
        let entries = fs::read_dir(&self.jars).map_err(|error| error.to_string())?;
        let mut paths = entries.filter_map(Result::ok).map(|entry| entry.path());
        let named = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("jamm-"))
        };
        paths.find(named).ok_or_else(|| format!("no jamm in {}", self.jars.display()))
    }

    fn log(&self) -> PathBuf {
        self.home().join("system.log")
    }

    /// Waits until it takes clients.
    pub(super) async fn listening(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            if TcpStream::connect((self.address(), self.port)).await.is_ok() {
                return Ok(());
            }
            let ended = self.process.as_mut().map(|process| process.node.try_wait());
            if let Some(Ok(Some(status))) = ended {
                return Err(format!("Cassandra ended with {status}:\n{}", self.log_end()));
            }
            if Instant::now() > deadline {
                let patience = START_PATIENCE.as_secs();
                return Err(format!("no Cassandra after {patience} s:\n{}", self.log_end()));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn log_end(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

//! One node of a real Cassandra: configured, started, killed, started again, and cleared away.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use super::jars;
use crate::StoreError;
use crate::cassandra::{CassandraConfig, CassandraStore, MigrateOptions, Replication, migrate};

/// A start takes 7 s on an idle machine.
const START_PATIENCE: Duration = Duration::from_secs(180);

/// When Cassandra answers a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommitLog {
    /// Once it is on the disk.
    #[default]
    Batch,
    /// Before it is on the disk: unfit, for tests of that.
    Periodic,
}

/// Cassandra's Paxos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Paxos {
    /// What Iris needs.
    #[default]
    V2,
    /// The default of Cassandra: unfit, for tests of that.
    V1,
}

/// TLS of the node's client port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The node's key and certificates, PEM.
    pub key_and_chain: String,
    /// The authorities whose clients are let in, PEM.
    pub clients: String,
}

/// How a node is configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CassandraOptions {
    /// When it answers a write.
    pub commit_log: CommitLog,
    /// Its Paxos.
    pub paxos: Paxos,
    /// Whether it asks for a name and a password; it is born with `cassandra` for both.
    pub passwords: bool,
    /// Whether it asks for TLS, with certificates of clients.
    pub tls: Option<ServerTls>,
}

/// A running node.
#[derive(Debug)]
pub struct Cassandra {
    options: CassandraOptions,
    jars: PathBuf,
    port: u16,
    storage_port: u16,
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

impl Drop for Cassandra {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }
}

static SHARED: OnceCell<Cassandra> = OnceCell::const_new();

impl Cassandra {
    /// The node that the tests of one process share, each with keyspaces of its own.
    pub async fn shared() -> Result<&'static Self, String> {
        SHARED
            .get_or_try_init(|| Self::start(CassandraOptions::default()))
            .await
    }

    /// Starts a node with nothing in it, and waits until it answers.
    pub async fn start(options: CassandraOptions) -> Result<Self, String> {
        let jars = jars::directory()?;
        // Beside the build's output: a memory file system has no direct I/O.
        let parent = jars::repository("target/cassandra");
        fs::create_dir_all(&parent).map_err(|error| format!("{}: {error}", parent.display()))?;
        let parent = parent.canonicalize().map_err(|error| error.to_string())?;
        let directory = tempfile::Builder::new()
            .prefix("node-")
            .tempdir_in(parent)
            .map_err(|error| format!("no directory for Cassandra: {error}"))?;
        let (port, storage_port) = free_ports()?;
        let mut node = Self {
            options,
            jars,
            port,
            storage_port,
            process: None,
            directory,
        };
        node.configure()?;
        node.begin()?;
        node.ready().await?;
        Ok(node)
    }

    /// host:port of its client port.
    pub fn contact_point(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How to reach a keyspace of it.
    pub fn config(&self, keyspace: &str) -> CassandraConfig {
        CassandraConfig::new(
            vec![self.contact_point()],
            DATACENTER.to_owned(),
            keyspace.to_owned(),
        )
    }

    /// A store on a keyspace of it, which is created and migrated where it is not.
    pub async fn store(&self, keyspace: &str) -> Result<CassandraStore, StoreError> {
        let config = self.config(keyspace);
        migrate(&config, &may_create(), |_| {}).await?;
        CassandraStore::connect(&config).await
    }

    /// `kill -9`: nothing is written that was not written.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again on what it left on its disk.
    pub async fn restart(&mut self) -> Result<(), String> {
        self.kill();
        self.begin()?;
        self.ready().await
    }

    fn configure(&self) -> Result<(), String> {
        let yaml = yaml(
            &self.options,
            self.directory.path(),
            self.port,
            self.storage_port,
        );
        self.put("cassandra.yaml", &yaml)?;
        if let Some(tls) = &self.options.tls {
            self.put("server.pem", &tls.key_and_chain)?;
            self.put("clients.pem", &tls.clients)?;
        }
        let temporary = self.directory.path().join("tmp");
        fs::create_dir_all(temporary).map_err(|error| error.to_string())
    }

    fn put(&self, name: &str, text: &str) -> Result<(), String> {
        fs::write(self.directory.path().join(name), text)
            .map_err(|error| format!("{name} cannot be written: {error}"))
    }

    fn begin(&mut self) -> Result<(), String> {
        let node = self.command()?.spawn().map_err(|error| {
            format!("java cannot be started: {error}; install a Java 17 runtime")
        })?;
        // A test that is killed cannot clean up; its guard sees the end of the pipe and does.
        let script = "read -r _; kill -9 \"$1\"; for _ in 1 2 3 4 5 6 7 8 9; do \
                      kill -0 \"$1\" || break; sleep 0.2; done; rm -rf \"$2\"";
        let guard = Command::new("sh")
            .args(["-c", script, "guard", &node.id().to_string()])
            .arg(self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("sh cannot be started: {error}"))?;
        self.process = Some(Process { node, guard });
        Ok(())
    }

    fn command(&self) -> Result<Command, String> {
        let home = self.directory.path();
        let log = |error: std::io::Error| format!("no log for Cassandra: {error}");
        let out = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .map_err(log)?;
        let errors = out.try_clone().map_err(log)?;
        let mut command = Command::new("java");
        command.arg(format!("-javaagent:{}", self.jamm()?.display()));
        for file in ["jvm.options", "modules.options"] {
            let path = jars::repository("dev/cassandra/conf").join(file);
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            command.args(
                text.lines()
                    .filter(|line| !line.starts_with('#') && !line.is_empty()),
            );
        }
        let logback = jars::repository("dev/cassandra/conf/logback.xml");
        let temporary = home.join("tmp");
        let settings = [
            format!("-Djava.io.tmpdir={}", temporary.display()),
            format!("-Djna.tmpdir={}", temporary.display()),
            format!("-Dcassandra.storagedir={}", home.join("data").display()),
            format!("-Dcassandra.logdir={}", home.display()),
            format!(
                "-Dcassandra.config=file://{}",
                home.join("cassandra.yaml").display()
            ),
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
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("jamm-"))
        };
        paths
            .find(named)
            .ok_or_else(|| format!("no jamm in {}", self.jars.display()))
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("system.log")
    }

    async fn ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            if TcpStream::connect(self.contact_point()).await.is_ok() {
                return Ok(());
            }
            let ended = self.process.as_mut().map(|process| process.node.try_wait());
            if let Some(Ok(Some(status))) = ended {
                return Err(format!(
                    "Cassandra ended with {status}:\n{}",
                    self.log_end()
                ));
            }
            if Instant::now() > deadline {
                let patience = START_PATIENCE.as_secs();
                return Err(format!(
                    "no Cassandra after {patience} s:\n{}",
                    self.log_end()
                ));
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

/// What a simple snitch calls its only datacenter.
const DATACENTER: &str = "datacenter1";

/// One replica, as there is one node.
fn may_create() -> MigrateOptions {
    let replication = Replication(vec![(DATACENTER.to_owned(), std::num::NonZeroU32::MIN)]);
    MigrateOptions {
        create_keyspace: Some(replication),
        lock_patience: None,
    }
}

/// Two ports that nobody has.
fn free_ports() -> Result<(u16, u16), String> {
    let bind = || TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string());
    // Both are held until both are known.
    let (one, other) = (bind()?, bind()?);
    let port = |listener: &TcpListener| {
        listener
            .local_addr()
            .map(|address| address.port())
            .map_err(|error| error.to_string())
    };
    Ok((port(&one)?, port(&other)?))
}

fn yaml(options: &CassandraOptions, home: &Path, port: u16, storage_port: u16) -> String {
    let data = home.join("data");
    let (authenticator, authorizer) = if options.passwords {
        ("PasswordAuthenticator", "CassandraAuthorizer")
    } else {
        ("AllowAllAuthenticator", "AllowAllAuthorizer")
    };
    let commit_log = match options.commit_log {
        CommitLog::Batch => "commitlog_sync: batch",
        CommitLog::Periodic => "commitlog_sync: periodic\ncommitlog_sync_period: 10s",
    };
    let paxos = match options.paxos {
        Paxos::V2 => "v2",
        Paxos::V1 => "v1",
    };
    let mut text = format!(
        "cluster_name: iris-test
num_tokens: 8
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: \"127.0.0.1:{storage_port}\"
listen_address: 127.0.0.1
storage_port: {storage_port}
start_native_transport: true
rpc_address: 127.0.0.1
native_transport_port: {port}
data_file_directories: [{data}/data]
commitlog_directory: {data}/commitlog
hints_directory: {data}/hints
saved_caches_directory: {data}/saved_caches
cdc_raw_directory: {data}/cdc_raw
{commit_log}
commitlog_disk_access_mode: direct
commitlog_segment_size: 16MiB
commitlog_total_space: 256MiB
disk_failure_policy: die
commit_failure_policy: die
authenticator: {authenticator}
authorizer: {authorizer}
role_manager: CassandraRoleManager
auto_snapshot: false
storage_compatibility_mode: NONE
paxos_variant: {paxos}
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
memtable_allocation_type: offheap_objects
key_cache_size: 8MiB
counter_cache_size: 0MiB
row_cache_size: 0MiB
prepared_statements_cache_size: 4MiB
file_cache_size: 32MiB
networking_cache_size: 16MiB
concurrent_reads: 8
concurrent_writes: 128
concurrent_counter_writes: 2
concurrent_compactors: 1
native_transport_max_threads: 128
disk_access_mode: mmap_index_only
dynamic_snitch: false
read_request_timeout: 10s
range_request_timeout: 20s
write_request_timeout: 10s
cas_contention_timeout: 5s
truncate_request_timeout: 60s
request_timeout: 20s
",
        data = data.display(),
    );
    if options.tls.is_some() {
        let files = |name: &str| home.join(name).display().to_string();
        let (server, clients) = (files("server.pem"), files("clients.pem"));
        let section = format!(
            "client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: true
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
  keystore: {server}
  truststore: {clients}
"
        );
        text.write_str(&section).expect("a String takes everything");
    }
    text
}

//! That Cassandra and etcd answer whom they should, refuse others, and lose nothing that they
//! answered when they are killed.
//!
//! Never touches a keyspace or a key of Iris.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use super::Check;
use crate::{
    cluster::{
        Cluster, Place, Signal,
        plan::{CASSANDRA_SERVICE, ETCD_SERVICE},
    },
    cmd::Cmd,
    cql::Session,
    steps::wait_until,
};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "Cassandra answers this machine, and the role of Iris has its limits", run: cql },
    Check { name: "Cassandra answers from a pod's network and the client's", run: cql_elsewhere },
    Check { name: "Cassandra keeps an answered write over kill -9", run: cql_killed },
    Check { name: "etcd answers a certificate and refuses without", run: etcd },
    Check { name: "etcd keeps an answered write over kill -9", run: etcd_killed },
];

const KEYSPACE: &str = "iris_selftest";
const RESTART_MAX: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(300);

fn address() -> SocketAddr {
    SocketAddr::new(CASSANDRA_SERVICE.into(), 9042)
}

fn session(cluster: &Cluster) -> Result<Session> {
    let user = cluster.secret("iris", "cassandra", "username")?;
    Session::open(address(), &user, &cluster.secret("iris", "cassandra", "password")?)
}

fn cql(cluster: &Cluster) -> Result<()> {
    let mut session = session(cluster)?;
    let rows = session.query("SELECT data_center, release_version FROM system.local")?;
    let row = rows.first().context("no row")?;
    ensure!(row.first() == Some(&Some(b"dc1".to_vec())), "{row:?}");
    ensure!(session.query("CREATE ROLE other").is_err(), "the role of Iris makes roles");
    for (user, password) in [("cassandra", "cassandra"), ("iris", "wrong"), ("iris", "")] {
        ensure!(Session::open(address(), user, password).is_err(), "{user}/{password} logs in");
    }
    Ok(())
}

/// Runs this program again in another network namespace.
fn cql_elsewhere(cluster: &Cluster) -> Result<()> {
    let password = cluster.secret("iris", "cassandra", "password")?;
    let pods = cluster.container_pids(super::NAMESPACE, "client", "etcd")?;
    let pod = pods.first().context("no process")?;
    let inside = vec!["nsenter".to_owned(), format!("--net=/proc/{pod}/ns/net"), "--".to_owned()];
    for prefix in [cluster.enter(Place::Client), inside] {
        let mut command = Cmd::new("env").args(prefix).arg(std::env::current_exe()?);
        command = command.args(["cluster", "cql", &address().to_string(), "iris"]);
        let answer =
            command.args(["SELECT key FROM system.local"]).stdin(password.as_str()).output()?;
        ensure!(answer.contains("local"), "{answer}");
    }
    Ok(())
}

fn cql_killed(cluster: &Cluster) -> Result<()> {
    let mut before = session(cluster)?;
    before.query(&format!(
        "CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} \
         WITH replication = {{'class': 'NetworkTopologyStrategy', 'dc1': 1}}"
    ))?;
    before
        .query(&format!("CREATE TABLE IF NOT EXISTS {KEYSPACE}.t (k text PRIMARY KEY, v text)"))?;
    for number in 0..200 {
        before.query(&format!("INSERT INTO {KEYSPACE}.t (k, v) VALUES ('k{number}', 'v')"))?;
    }
    let old = cluster.container("iris", "cassandra-0", "cassandra")?;
    cluster.kill_container("iris", "cassandra-0", "cassandra", Signal::Kill)?;
    wait_until("the process is gone", Duration::from_secs(5), TICK, || Ok(old.pids().is_empty()))?;
    let mut after = None;
    wait_until("Cassandra is back", RESTART_MAX, TICK, || {
        after = Some(session(cluster)?);
        Ok(true)
    })?;
    let mut after = after.context("no session")?;
    let rows = after.query(&format!("SELECT k FROM {KEYSPACE}.t"))?;
    after.query(&format!("DROP KEYSPACE {KEYSPACE}"))?;
    ensure!(rows.len() == 200, "{} of 200 answered writes are left", rows.len());
    let new = cluster.container("iris", "cassandra-0", "cassandra")?;
    ensure!(new.id != old.id, "it is the same container");
    cluster.wait("iris", "pod/cassandra-0", "condition=Ready", RESTART_MAX)
}

fn etcd(cluster: &Cluster) -> Result<()> {
    let files = Files::write(cluster)?;
    etcdctl(cluster, Some(&files.0), &["put", "selftest/a", "1"])?;
    let value = etcdctl(cluster, Some(&files.0), &["get", "selftest/a", "--print-value-only"])?;
    ensure!(value.trim() == "1", "{value}");
    if etcdctl(cluster, None, &["get", "selftest/a"]).is_ok() {
        bail!("it answers without a certificate");
    }
    Ok(())
}

fn etcd_killed(cluster: &Cluster) -> Result<()> {
    let files = Files::write(cluster)?;
    etcdctl(cluster, Some(&files.0), &["put", "selftest/b", "kept"])?;
    cluster.kill_container("iris", "etcd-0", "etcd", Signal::Kill)?;
    let mut value = String::new();
    wait_until("etcd is back", RESTART_MAX, TICK, || {
        value = etcdctl(cluster, Some(&files.0), &["get", "selftest/b", "--print-value-only"])?;
        Ok(true)
    })?;
    ensure!(value.trim() == "kept", "{value}");
    etcdctl(cluster, Some(&files.0), &["del", "--prefix", "selftest/"])?;
    cluster.wait("iris", "pod/etcd-0", "condition=Ready", RESTART_MAX)
}

/// The client's certificate, in files that go when this does.
struct Files(std::path::PathBuf);

impl Files {
    fn write(cluster: &Cluster) -> Result<Self> {
        let dir = cluster.env().state.join("selftest-tls");
        fs::create_dir_all(&dir)?;
        for name in ["ca.crt", "tls.crt", "tls.key"] {
            fs::write(dir.join(name), cluster.secret("iris", "etcd-client-tls", name)?)?;
        }
        Ok(Self(dir))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What is left goes with the cluster.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn etcdctl(cluster: &Cluster, tls: Option<&Path>, args: &[&str]) -> Result<String> {
    let local = cluster.local()?;
    let mut command = local.env.cmd(local.tool("iris-etcd")).arg("etcdctl");
    command = command.arg(format!("--endpoints=https://{ETCD_SERVICE}:2379"));
    command = command.args(["--dial-timeout=2s", "--command-timeout=3s"]);
    command = match tls {
        Some(dir) => command
            .arg(format!("--cacert={}", dir.join("ca.crt").display()))
            .arg(format!("--cert={}", dir.join("tls.crt").display()))
            .arg(format!("--key={}", dir.join("tls.key").display())),
        None => command.arg("--insecure-skip-tls-verify"),
    };
    command.args(args).output()
}

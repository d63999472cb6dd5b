//! Programs of the development cluster, for tests that need one of them without a cluster.
//!
//! Built and cached as `up` does it; a test never takes what happens to be installed.

use std::path::PathBuf;

use anyhow::Result;

use crate::{env::Env, images::dev, tools};

/// The etcd that Iris itself uses; `etcdctl` and `etcdutl` as its first argument make it those.
pub fn etcd() -> Result<PathBuf> {
    program("iris-etcd")
}

/// Kubernetes in one program: its first argument says which part.
pub fn kubernetes() -> Result<PathBuf> {
    program("iris-kube")
}

/// Helm, which renders the charts.
pub fn helm() -> Result<PathBuf> {
    program("helm")
}

/// The directory with Cassandra's jars.
pub fn cassandra() -> Result<PathBuf> {
    let env = Env::open()?;
    dev::make_jars(&env)?;
    dev::jars_dir(&env)
}

/// A file of the repository.
pub fn repository(path: &str) -> Result<PathBuf> {
    Ok(Env::open()?.repo_file(path))
}

fn program(name: &str) -> Result<PathBuf> {
    let env = Env::open()?;
    tools::build(&env)?;
    Ok(tools::dir(&env)?.join(name))
}

/// A program of this repository, as `up` compiled it for the cluster's images; compiled now if it was
/// not. The cluster's own version is the one to talk to it with.
pub fn own(name: &str) -> Result<PathBuf> {
    let env = Env::open()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let built = target.unwrap_or_else(|| env.repo_file("target")).join("release").join(name);
    if !built.exists() {
        let cli = ["build", "--release", "-p", "iris-cli"];
        env.cmd("cargo").args(cli).dir(&env.repo).run()?;
    }
    Ok(built)
}

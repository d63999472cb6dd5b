//! Programs of the development cluster, for tests that need one of them without a cluster.
//!
//! Built and cached as `up` does it; a test never takes what happens to be installed.

use std::path::PathBuf;

use anyhow::Result;

use crate::{env::Env, tools};

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

fn program(name: &str) -> Result<PathBuf> {
    let env = Env::open()?;
    tools::build(&env)?;
    Ok(tools::dir(&env)?.join(name))
}

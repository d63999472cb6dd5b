//! Where things are: the repository, the cache, the state of the running cluster, and the log of
//! the step at hand.
//!
//! Never makes any of these places.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{cache::Cache, cmd::Cmd};

/// The places a step works with.
#[derive(Clone, Debug)]
pub(crate) struct Env {
    /// The root of the repository.
    pub(crate) repo: PathBuf,
    /// What is built once.
    pub(crate) cache: Cache,
    /// The state of the running cluster, all of it removed by `down`.
    pub(crate) state: PathBuf,
    log: PathBuf,
}

impl Env {
    /// Finds the repository from the working directory up, the cache and the state directory
    /// (`$IRIS_STATE`, else `iris-dev` under `/var/lib`, or `iris-cluster` in the user's own state
    /// directory where the user is not root and so can only work with a cluster elsewhere; the
    /// `iris-dev` there is `iris dev`'s).
    pub(crate) fn open() -> Result<Self> {
        let here = env::current_dir().context("no working directory")?;
        let repo = here
            .ancestors()
            .find(|dir| dir.join("crates/xtask/Cargo.toml").is_file())
            .context("not inside the Iris repository")?
            .to_owned();
        let home = || env::var_os("HOME").map(PathBuf::from).context("HOME is not set");
        let state = match env::var_os("IRIS_STATE") {
            Some(dir) => PathBuf::from(dir),
            None if rustix::process::geteuid().is_root() => PathBuf::from("/var/lib/iris-dev"),
            None => home()?.join(".local/state/iris-cluster"),
        };
        let log = state.join("logs/cluster.log");
        Ok(Self { repo, cache: Cache::open()?, state, log })
    }

    /// The same places with a log of its own.
    #[must_use]
    pub(crate) fn with_log(&self, name: &str) -> Self {
        Self { log: self.logs().join(format!("{name}.log")), ..self.clone() }
    }

    /// The same places for another work tree of the repository.
    #[must_use]
    pub(crate) fn with_repo(&self, repo: impl Into<PathBuf>) -> Self {
        Self { repo: repo.into(), ..self.clone() }
    }

    /// The log that this environment's commands write to.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The directory of all logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// A command that writes to the log.
    pub(crate) fn cmd(&self, program: impl AsRef<OsStr>) -> Cmd {
        Cmd::new(program).log(&self.log)
    }

    /// A file of the repository.
    pub(crate) fn repo_file(&self, path: &str) -> PathBuf {
        self.repo.join(path)
    }
}

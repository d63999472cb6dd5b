//! What is written down about the cluster that is up, so that every later command finds it.
//!
//! Never needed for taking the cluster down.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::env::Env;

/// What kind of cluster it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Backend {
    /// Nodes in network namespaces of this machine.
    Local {
        /// Its addresses.
        plan: Plan,
    },
    /// Made by `kind` in a Docker engine.
    Kind,
    /// One that was here before, and is never taken down by us.
    Context {
        /// Its name in the user's configuration.
        context: String,
        /// Where it gets its images.
        registry: String,
    },
}

/// The record of the cluster that is up or coming up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// What kind of cluster it is.
    pub(crate) backend: Backend,
    /// How many members Iris's own etcd has.
    pub(crate) etcd_members: u8,
    /// How many shards were asked for, where the manifest does not say it.
    #[serde(default)]
    pub(crate) shards: Option<u32>,
    /// The directory of `iris-kube`, `helm` and the others.
    pub(crate) tools: PathBuf,
    /// How clients reach the API server.
    pub(crate) kubeconfig: PathBuf,
    /// The references of the images that the cluster has, by short name.
    pub(crate) images: BTreeMap<String, String>,
}

impl State {
    /// The record, if there is one.
    pub(crate) fn read(env: &Env) -> Result<Option<Self>> {
        let file = file(env);
        match fs::read(&file) {
            Ok(text) => {
                let state = serde_json::from_slice(&text);
                Ok(Some(state.with_context(|| {
                    format!("{file:?} is not readable; run `cargo xtask down`")
                })?))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {file:?}")),
        }
    }

    /// Writes the record; a crash leaves the old one or the new one.
    pub(crate) fn write(&self, env: &Env) -> Result<()> {
        fs::create_dir_all(&env.state).with_context(|| format!("cannot make {:?}", env.state))?;
        let file = file(env);
        let draft = file.with_extension("new");
        fs::write(&draft, serde_json::to_vec_pretty(self)?)?;
        fs::rename(draft, &file).with_context(|| format!("cannot write {file:?}"))
    }

    /// Adds the reference of an image to the record.
    pub(crate) fn add_image(env: &Env, name: &str, reference: &str) -> Result<()> {
        // Steps that overlap write one after the other.
        static WRITING: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _writing = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut state = Self::read(env)?.context("there is no cluster")?;
        state.images.insert(name.to_owned(), reference.to_owned());
        state.write(env)
    }
}

fn file(env: &Env) -> PathBuf {
    Path::new(&env.state).join("cluster.json")
}

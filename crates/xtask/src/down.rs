//! `down`: the cluster goes, whole or half-made, and with `purge` the caches too.
//!
//! Never takes down a cluster that was here before `up`: of that only our record goes.

use anyhow::Result;

use crate::{
    cache::remove_dir,
    cluster::{
        state::{Backend, State},
        teardown,
    },
    env::Env,
    up,
};

/// Removes the cluster and everything of it on this machine.
pub(crate) fn run(purge: bool) -> Result<()> {
    let env = Env::open()?;
    let lock = up::lock(&env)?;
    // A record that cannot be read must not be in the way of removing what it describes.
    match State::read(&env).ok().flatten().map(|state| state.backend) {
        Some(Backend::Context { .. }) => remove_dir(&env.state)?,
        Some(Backend::Kind) => {
            up::elsewhere::remove_kind(&env)?;
            remove_dir(&env.state)?;
        }
        Some(Backend::Local { .. }) | None => teardown::remove(&env, false)?,
    }
    if purge {
        env.cache.purge()?;
    }
    drop(lock);
    // Whoever waits for the lock by now has the file open and loses nothing.
    let _ = std::fs::remove_file(env.state.with_extension("lock"));
    Ok(())
}

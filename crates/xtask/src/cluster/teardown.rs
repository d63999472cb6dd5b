//! Removing a local cluster, whole or half-made or crashed: everything of it has a name or a
//! place that the plan fixes, so nothing depends on a record having been written in time.
//!
//! Never goes by the name of a process and never removes what is not below our own names.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use super::{
    cgroup::Cgroup,
    mounts, netns,
    process::{Processes, signal_if, start_time},
    sysctl,
};
use crate::{cache::remove_dir, env::Env};

/// How long processes that were killed may take to go.
const DEATH_MAX: Duration = Duration::from_secs(20);

/// Ends every process of the cluster and removes all that it made, but for its logs' directory
/// when `keep_logs` is set. Caches stay.
pub(crate) fn remove(env: &Env, keep_logs: bool) -> Result<()> {
    end_processes(env)?;
    mounts::remove(env)?;
    netns::remove(env)?;
    for group in Cgroup::all() {
        group.remove()?;
    }
    sysctl::restore(env)?;
    remove_files(env, keep_logs)?;
    let left = leftovers(env)?;
    ensure!(left.is_empty(), "still there: {}", left.join(", "));
    Ok(())
}

/// What of a cluster is on the machine: nothing, after `remove`.
pub(crate) fn leftovers(env: &Env) -> Result<Vec<String>> {
    let mut left: Vec<String> =
        netns::present().into_iter().map(|name| format!("network namespace {name}")).collect();
    if netns::device_exists() {
        left.push("the machine's device on the fabric".to_owned());
    }
    for group in Cgroup::all().filter(Cgroup::exists) {
        left.push(format!("control group {group:?}"));
        left.extend(group.processes().iter().map(|pid| format!("process {pid}")));
    }
    let mounted = mounts::mounted_below(&env.state)?;
    left.extend(mounted.iter().map(|point| format!("mount {}", point.display())));
    Ok(left)
}

/// Kills at once: a cluster that goes has nothing to save, and asking would take a minute.
fn end_processes(env: &Env) -> Result<()> {
    let processes = Processes::new(env.state.join("processes"), env.logs());
    // The recorded ones first, so that no kubelet starts again what is killed after it.
    for name in processes.names() {
        if processes.pid(&name).is_some() {
            processes.signal(&name, Signal::KILL)?;
        }
    }
    let before = Instant::now();
    loop {
        let mut alive = 0;
        for group in Cgroup::all().filter(Cgroup::exists) {
            // A frozen process dies only when it is thawed.
            group.thaw_all();
            for pid in group.processes() {
                alive += 1;
                let still = || group.processes().contains(&pid) && start_time(pid).is_some();
                signal_if(pid, Signal::KILL, still)?;
            }
        }
        if alive == 0 {
            return Ok(());
        }
        if before.elapsed() > DEATH_MAX {
            bail!("{alive} processes do not end");
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn remove_files(env: &Env, keep_logs: bool) -> Result<()> {
    let state = &env.state;
    if !state.exists() {
        return Ok(());
    }
    let mounted = mounts::mounted_below(state)?;
    ensure!(mounted.is_empty(), "{} is still mounted", display_all(&mounted));
    for entry in fs::read_dir(state).with_context(|| format!("cannot list {state:?}"))? {
        let path = entry?.path();
        if keep_logs && path.ends_with("logs") {
            continue;
        }
        if path.is_dir() {
            remove_dir(&path)?;
        } else {
            fs::remove_file(&path).with_context(|| format!("cannot remove {path:?}"))?;
        }
    }
    if !keep_logs {
        fs::remove_dir(state).with_context(|| format!("cannot remove {state:?}"))?;
    }
    Ok(())
}

fn display_all(paths: &[impl AsRef<Path>]) -> String {
    let all: Vec<String> = paths.iter().map(|path| path.as_ref().display().to_string()).collect();
    all.join(", ")
}

//! The machine's own kernel settings that kubelets change or that three nodes need higher:
//! written down before the cluster starts and put back when it goes.
//!
//! Never lowers a limit that the machine already has.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::env::Env;

/// What a kubelet sets at its start.
const TOUCHED: [&str; 5] = [
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// What several nodes on one machine need at least.
const NEEDED: [(&str, u64); 2] =
    [("fs/inotify/max_user_instances", 1024), ("fs/inotify/max_user_watches", 131_072)];

/// Writes down the settings, unless that is done, and raises the limits.
pub(crate) fn prepare(env: &Env) -> Result<()> {
    let record = env.state.join("sysctls");
    if !record.exists() {
        let needed = NEEDED.iter().map(|(name, _)| name);
        let text: String = TOUCHED
            .iter()
            .chain(needed)
            .filter_map(|name| Some(format!("{name} {}\n", read(name)?)))
            .collect();
        fs::write(&record, text).with_context(|| format!("cannot write {record:?}"))?;
    }
    for (name, least) in NEEDED {
        if read(name).and_then(|value| value.parse::<u64>().ok()).is_some_and(|value| value < least)
        {
            write(name, &least.to_string())?;
        }
    }
    Ok(())
}

/// Puts the settings back, if they were written down.
pub(crate) fn restore(env: &Env) -> Result<()> {
    let text = fs::read_to_string(env.state.join("sysctls")).unwrap_or_default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        if read(name).is_some_and(|now| now != value) {
            write(name, value)?;
        }
    }
    Ok(())
}

fn read(name: &str) -> Option<String> {
    Some(fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().to_owned())
}

fn write(name: &str, value: &str) -> Result<()> {
    let file = Path::new("/proc/sys").join(name);
    fs::write(&file, value).with_context(|| format!("cannot write {file:?}"))
}

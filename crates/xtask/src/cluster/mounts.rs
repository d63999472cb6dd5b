//! A mount namespace a node, in which the directories that the kubelet, containerd and the CNI
//! plugins insist on are the node's own. All their mounts live and die in it, so a crash leaves
//! nothing mounted on the machine but the pin that keeps the namespace.
//!
//! Never mounts anything in the machine's own namespace but that pin and the file system under it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::plan::NodeId;
use crate::env::Env;

/// What a node sees of its own: the path that programs insist on, and the directory of the node
/// that is there instead.
const OWN: [(&str, &str); 7] = [
    ("/var/lib/kubelet", "kubelet"),
    ("/var/lib/containerd", "containerd"),
    ("/run/containerd", "run"),
    ("/var/log/pods", "pods"),
    ("/var/log/containers", "containers"),
    ("/var/lib/cni", "cni"),
    ("/etc/cni/net.d", "net.d"),
];

/// Makes the new namespace a world of its own, in which mounts made by one daemon are seen by
/// the others, drops its copy of the pins, which would keep the other nodes' namespaces alive,
/// and puts the node's directories in place.
const FURNISH: &str = r#"
set -e
umount --lazy "$1"; shift
mount --make-rshared /
while [ $# -gt 0 ]; do mount --bind "$1" "$2"; shift 2; done
"#;

/// The directory of a node's files.
pub(crate) fn node_dir(env: &Env, node: NodeId) -> PathBuf {
    env.state.join("nodes").join(node.to_string())
}

/// The file that pins a node's mount namespace.
pub(crate) fn pin(env: &Env, node: NodeId) -> PathBuf {
    pins(env).join(node.to_string())
}

/// Makes a node's mount namespace, unless it is there.
pub(crate) fn create(env: &Env, node: NodeId) -> Result<()> {
    let pin = pin(env, node);
    if is_mounted(&pin)? {
        return Ok(());
    }
    prepare_pins(env)?;
    let dir = node_dir(env, node);
    let mut binds: Vec<String> = Vec::new();
    for (seen, own) in OWN {
        let own = dir.join(own);
        fs::create_dir_all(&own).with_context(|| format!("cannot make {own:?}"))?;
        create_recorded(env, Path::new(seen))?;
        binds.extend([own.display().to_string(), seen.to_owned()]);
    }
    fs::write(&pin, "").with_context(|| format!("cannot write {pin:?}"))?;
    env.cmd("unshare")
        .arg(format!("--mount={}", pin.display()))
        .args(["--propagation", "private", "sh", "-c", FURNISH, "furnish"])
        .arg(pins(env))
        .args(binds)
        .run()
}

/// Lets go of every mount below the state directory and gives back the directories that were
/// made on the machine.
pub(crate) fn remove(env: &Env) -> Result<()> {
    // The innermost first; what is busy disappears when its last user does.
    for point in mounted_below(&env.state)?.iter().rev() {
        env.cmd("umount").arg("--lazy").arg(point).run()?;
    }
    let record = made(env);
    let text = fs::read_to_string(&record).unwrap_or_default();
    for dir in text.lines().rev() {
        // One that something else has begun to use is not empty and stays.
        let _ = fs::remove_dir(dir);
    }
    Ok(())
}

/// What is mounted below a directory, the outermost first.
pub(crate) fn mounted_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("no table of mounts")?;
    Ok(parse_points(&table).into_iter().filter(|point| point.starts_with(dir)).collect())
}

fn parse_points(table: &str) -> Vec<PathBuf> {
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(|point| PathBuf::from(point.replace("\\040", " "))).collect()
}

fn is_mounted(path: &Path) -> Result<bool> {
    Ok(mounted_below(path)?.iter().any(|point| point == path))
}

fn pins(env: &Env) -> PathBuf {
    env.state.join("ns")
}

/// A namespace can only be pinned below a mount that is not shared with other namespaces.
fn prepare_pins(env: &Env) -> Result<()> {
    let pins = pins(env);
    if is_mounted(&pins)? {
        return Ok(());
    }
    fs::create_dir_all(&pins).with_context(|| format!("cannot make {pins:?}"))?;
    env.cmd("mount").args(["-t", "tmpfs", "-o", "mode=700,size=1m", "iris"]).arg(&pins).run()?;
    env.cmd("mount").arg("--make-private").arg(&pins).run()
}

fn made(env: &Env) -> PathBuf {
    env.state.join("made-directories")
}

/// Makes a directory and those above it, and writes down each that was not there.
fn create_recorded(env: &Env, dir: &Path) -> Result<()> {
    if dir.exists() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        create_recorded(env, parent)?;
    }
    let record = made(env);
    let mut text = fs::read_to_string(&record).unwrap_or_default();
    text.push_str(&format!("{}\n", dir.display()));
    fs::write(&record, text).with_context(|| format!("cannot write {record:?}"))?;
    fs::create_dir(dir).with_context(|| format!("cannot make {dir:?}"))
}

#[cfg(test)]
mod tests {
    use super::parse_points;

    #[test]
    fn mount_points_are_read_with_their_spaces() {
        let table =
            "22 1 254:0 / / rw - ext4 /dev/vda rw\n36 22 0:30 /x /a\\040b rw - tmpfs t rw\n";
        let points = parse_points(table);
        assert_eq!(points, ["/".into(), std::path::PathBuf::from("/a b")]);
    }
}

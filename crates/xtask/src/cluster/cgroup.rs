//! The control groups of the local cluster: one below the root for each node, with the node's
//! daemons in `system` and its pods in `kubepods`, and one for the control plane. They account
//! for what runs, and they find every process of ours again after a crash.
//!
//! Never touches a group that is not named after a place of the plan.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::plan::{NODES_MAX, NodeId, Place};

const ROOT: &str = "/sys/fs/cgroup";

/// A control group, in every hierarchy that the machine has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cgroup(String);

impl Cgroup {
    /// The group of all that runs at a place.
    pub(crate) fn of(place: Place) -> Self {
        Self(place.netns())
    }

    /// The group of a place's daemons, beside its pods.
    pub(crate) fn daemons(place: Place) -> Self {
        Self(format!("{}/system", place.netns()))
    }

    /// The group in which the kubelet of a place puts pods.
    pub(crate) fn pods(place: Place) -> Self {
        Self(format!("{}/kubepods", place.netns()))
    }

    /// A group by the path that a container's specification gives.
    pub(crate) fn at(path: &str) -> Self {
        Self(path.trim_start_matches('/').to_owned())
    }

    /// Every group that a cluster of any size can have.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let nodes = (1..=NODES_MAX).filter_map(|number| NodeId::new(number).ok());
        let fixed = [Place::Control, Place::Gateway, Place::Client];
        fixed.into_iter().chain(nodes.map(Place::Node)).map(Self::of)
    }

    /// Makes the group in every hierarchy.
    pub(crate) fn create(&self) -> Result<()> {
        for hierarchy in hierarchies() {
            let mut dir = hierarchy.clone();
            for part in self.0.split('/') {
                hand_down(&dir);
                dir.push(part);
                fs::create_dir_all(&dir).with_context(|| format!("cannot make {dir:?}"))?;
                fill_cpuset(&dir)?;
            }
        }
        Ok(())
    }

    /// The files into which a process writes itself to join the group.
    pub(crate) fn doors(&self) -> Vec<PathBuf> {
        hierarchies().iter().map(|dir| dir.join(&self.0).join("cgroup.procs")).collect()
    }

    /// All processes in the group and below it.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        for hierarchy in all_hierarchies() {
            walk(&hierarchy.join(&self.0), &mut |dir| pids.extend(members(dir)));
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// The group and all groups below it, in any hierarchy.
    pub(crate) fn subgroups(&self) -> Vec<Self> {
        let mut names = Vec::new();
        for hierarchy in all_hierarchies() {
            walk(&hierarchy.join(&self.0), &mut |dir| {
                let name = dir.strip_prefix(&hierarchy).unwrap_or(dir).display().to_string();
                names.push(Self(name));
            });
        }
        names.sort();
        names.dedup();
        names
    }

    /// Removes the group and all below it; only one without processes can be removed.
    pub(crate) fn remove(&self) -> Result<()> {
        for hierarchy in all_hierarchies() {
            let mut dirs = Vec::new();
            walk(&hierarchy.join(&self.0), &mut |dir| dirs.push(dir.to_owned()));
            for dir in dirs.iter().rev() {
                fs::remove_dir(dir).with_context(|| format!("cannot remove {dir:?}"))?;
            }
        }
        Ok(())
    }

    /// Whether the group is in any hierarchy.
    pub(crate) fn exists(&self) -> bool {
        all_hierarchies().iter().any(|dir| dir.join(&self.0).exists())
    }

    /// Processor time used so far by the group and all below it, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let v1 = number(&Path::new(ROOT).join("cpuacct").join(&self.0).join("cpuacct.usage"));
        v1.unwrap_or_else(|| {
            let stat = fs::read_to_string(Path::new(ROOT).join(&self.0).join("cpu.stat"));
            let stat = stat.unwrap_or_default();
            let used = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
            used.and_then(|usec| usec.parse::<u64>().ok()).unwrap_or(0).saturating_mul(1000)
        })
    }

    /// Memory of the group and all below it in bytes, the kernel's files and buffers for it included.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        let root = Path::new(ROOT);
        let v1 = number(&root.join("memory").join(&self.0).join("memory.usage_in_bytes"));
        v1.or_else(|| number(&root.join(&self.0).join("memory.current")))
    }

    /// Lets the group write to a disk (`major:minor`) so often a second, or without a limit. The first
    /// version limits what bypasses the page cache only, as a database's log does.
    pub(crate) fn limit_writes(&self, device: &str, per_second: Option<u32>) -> Result<()> {
        let v1 = self.blkio("blkio.throttle.write_iops_device");
        let v2 = Path::new(ROOT).join(&self.0).join("io.max");
        let (file, line) = match per_second {
            _ if v1.exists() => (v1, format!("{device} {}", per_second.unwrap_or(0))),
            Some(limit) => (v2, format!("{device} wiops={limit}")),
            None => (v2, format!("{device} wiops=max")),
        };
        fs::write(&file, line).with_context(|| format!("cannot write {file:?}"))
    }

    /// Writes to a disk so far.
    pub(crate) fn writes(&self, device: &str) -> Result<u64> {
        let v1 = self.blkio("blkio.throttle.io_serviced");
        let v2 = Path::new(ROOT).join(&self.0).join("io.stat");
        let file = if v1.exists() { v1 } else { v2 };
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file:?}"))?;
        Ok(writes_of(&text, device))
    }

    /// Ends limits of writes of the group and all below it.
    pub(crate) fn free_writes_all(&self) {
        for group in self.subgroups() {
            for file in ["blkio.throttle.write_iops_device", "io.max"] {
                let v1 = group.blkio(file);
                let file = if v1.exists() { v1 } else { Path::new(ROOT).join(&group.0).join(file) };
                // Few groups have such a file, and fewer a limit.
                let limits = fs::read_to_string(file).unwrap_or_default();
                for device in limits.lines().filter_map(|line| line.split(' ').next()) {
                    let _ = group.limit_writes(device, None);
                }
            }
        }
    }

    fn blkio(&self, file: &str) -> PathBuf {
        Path::new(ROOT).join("blkio").join(&self.0).join(file)
    }

    /// Thaws the group and all below it, where they have a freezer and are frozen.
    pub(crate) fn thaw_all(&self) {
        for group in self.subgroups() {
            // Not every group has one.
            let _ = group.set_frozen(false);
        }
    }

    /// Writes the freezer's state, which stops or continues every process of the group at once.
    pub(crate) fn set_frozen(&self, frozen: bool) -> Result<()> {
        let v1 = Path::new(ROOT).join("freezer").join(&self.0).join("freezer.state");
        let v2 = Path::new(ROOT).join(&self.0).join("cgroup.freeze");
        let (file, state) = match (v1.exists(), frozen) {
            (true, true) => (v1, "FROZEN"),
            (true, false) => (v1, "THAWED"),
            (false, true) => (v2, "1"),
            (false, false) => (v2, "0"),
        };
        fs::write(&file, state).with_context(|| format!("cannot write {file:?}"))
    }
}

/// Whether the machine has one hierarchy for all controllers.
fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// The directories of the hierarchies that hold our groups. The kubelet wants its group in all,
/// systemd's own among them.
fn hierarchies() -> Vec<PathBuf> {
    if is_unified() {
        return vec![PathBuf::from(ROOT)];
    }
    let mut dirs: Vec<PathBuf> = fs::read_dir(ROOT)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        // Controllers that are mounted together have links with their single names.
        .filter(|dir| !dir.is_symlink() && dir.join("cgroup.procs").exists())
        .filter(|dir| !dir.ends_with("unified"))
        .collect();
    dirs.sort();
    dirs
}

/// Those, and the one without controllers that a machine with both versions has: a kubelet makes
/// its group there too, though nothing needs it.
fn all_hierarchies() -> Vec<PathBuf> {
    let mut dirs = hierarchies();
    dirs.extend(Some(Path::new(ROOT).join("unified")).filter(|dir| dir.is_dir()));
    dirs
}

/// Lets groups below `dir` have controllers, where that is not given.
fn hand_down(dir: &Path) {
    if is_unified() {
        for controller in ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"] {
            // One that the machine lacks is missed by the kubelet, which says so itself.
            let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
}

/// A new cpuset of the first version is empty and admits no process until it is filled.
fn fill_cpuset(dir: &Path) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let file = dir.join(name);
        let parent = dir.parent().map(|parent| parent.join(name));
        let (Ok(own), Some(Ok(above))) =
            (fs::read_to_string(&file), parent.map(fs::read_to_string))
        else {
            continue;
        };
        if !is_unified() && own.trim().is_empty() {
            fs::write(&file, above.trim()).with_context(|| format!("cannot write {file:?}"))?;
        }
    }
    Ok(())
}

fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    if !dir.is_dir() {
        return;
    }
    visit(dir);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), visit);
        }
    }
}

fn members(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    // A process outside this PID namespace reads as 0.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// `254:0 Write 17` in the first version, `254:0 rbytes=1 wbytes=2 rios=3 wios=17` in the second.
fn writes_of(text: &str, device: &str) -> u64 {
    let about = text.lines().filter_map(|line| line.strip_prefix(device)?.strip_prefix(' '));
    let count = about.filter_map(|rest| {
        let v2 = rest.split(' ').find_map(|word| word.strip_prefix("wios="));
        v2.or_else(|| rest.strip_prefix("Write "))?.trim().parse::<u64>().ok()
    });
    count.sum()
}

#[cfg(test)]
mod tests {
    use super::writes_of;

    #[test]
    fn writes_are_read_from_both_versions() {
        let v1 = "254:0 Read 5\n254:0 Write 17\n254:0 Total 22\n254:16 Write 9\nTotal 31\n";
        assert_eq!(writes_of(v1, "254:0"), 17);
        let v2 = "254:0 rbytes=1 wbytes=2 rios=3 wios=17 dbytes=0 dios=0\n254:16 wios=9\n";
        assert_eq!(writes_of(v2, "254:0"), 17);
        assert_eq!(writes_of("", "254:0"), 0);
    }
}

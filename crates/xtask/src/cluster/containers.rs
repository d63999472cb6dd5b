//! The containers of the local cluster as the machine sees them: their processes, and signals
//! and freezing that reach all of a container at once.
//!
//! Never asks the API server or containerd: it reads what each node's containerd has on disk, so
//! it works while either is stopped.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{
    Cluster,
    cgroup::Cgroup,
    plan::NodeId,
    process::{signal_if, start_time},
};
use crate::cmd::Cmd;

/// A signal to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ask it to end.
    Term,
    /// Kill it, as `kill -9` does.
    Kill,
    /// Stop it until [`Signal::Continue`].
    Stop,
    /// Let it go on.
    Continue,
}

impl Signal {
    pub(crate) fn raw(self) -> rustix::process::Signal {
        match self {
            Self::Term => rustix::process::Signal::TERM,
            Self::Kill => rustix::process::Signal::KILL,
            Self::Stop => rustix::process::Signal::STOP,
            Self::Continue => rustix::process::Signal::CONT,
        }
    }
}

/// A running container.
#[derive(Clone, Debug)]
pub struct ContainerRef {
    /// The node that it runs on.
    pub node: NodeId,
    /// Its identifier; a restarted container has another.
    pub id: String,
    cgroup: Cgroup,
}

impl ContainerRef {
    /// The machine's numbers of all its processes.
    pub fn pids(&self) -> Vec<i32> {
        self.cgroup.processes()
    }

    /// Sends a signal to every process of it, and gives how many there were.
    pub fn signal(&self, signal: Signal) -> Result<usize> {
        let mut sent = 0;
        for pid in self.pids() {
            let still = || self.pids().contains(&pid);
            sent += usize::from(signal_if(pid, signal.raw(), still)?);
        }
        Ok(sent)
    }

    /// Its memory in bytes, the kernel's files and buffers for it included.
    pub fn memory_bytes(&self) -> Result<u64> {
        self.cgroup
            .memory_bytes()
            .with_context(|| format!("nothing counts the memory of {}", self.id))
    }

    /// Processor time that it used so far, in nanoseconds: it stands still while the container does.
    pub fn cpu_ns(&self) -> u64 {
        self.cgroup.cpu_ns()
    }

    /// Limits how often a second it writes to a disk, past the page cache; `None` ends the limit.
    pub fn limit_writes(&self, disk: &Disk, per_second: Option<u32>) -> Result<()> {
        self.cgroup.limit_writes(&disk.0, per_second)
    }

    /// How often it wrote to a disk so far.
    pub fn writes(&self, disk: &Disk) -> Result<u64> {
        self.cgroup.writes(&disk.0)
    }

    /// Puts a file system without room for any file over a directory of it: what is open goes on, what is
    /// new fails with "no space left on device". It goes with the container, or by [`Cluster::heal_all`].
    pub fn fill(&self, directory: &str) -> Result<()> {
        let pid = *self.pids().first().context("it has no process")?;
        // Its root is its only inode.
        let options = "size=4k,nr_inodes=1,mode=1777";
        let full = ["mount", "-c", "-n", "-t", "tmpfs", "-o", options, FULL, "."];
        in_directory_of(pid, directory).args(full).run()
    }

    /// Stops all of it at once, with no process of it able to notice.
    pub fn freeze(&self) -> Result<()> {
        self.cgroup.set_frozen(true)
    }

    /// Ends a freeze.
    pub fn thaw(&self) -> Result<()> {
        self.cgroup.set_frozen(false)
    }
}

/// The name of file systems without room, by which they are found again.
const FULL: &str = "iris-fault-full";

/// Takes the file systems without room away that a process sees.
pub(crate) fn empty(pid: i32) {
    // A process that ended sees nothing.
    let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap_or_default();
    for directory in full(&mounts) {
        // One that stays must not keep other faults from ending; it goes with its container.
        in_directory_of(pid, directory).args(["umount", "-l", "-c", "-n", "."]).succeeds();
    }
}

/// Where such file systems are, from what `/proc/N/mounts` says.
fn full(mounts: &str) -> impl Iterator<Item = &str> {
    mounts.lines().filter_map(|line| line.strip_prefix(FULL)?.strip_prefix(' ')?.split(' ').next())
}

/// Runs a command in a directory as a process sees it, among its mounts, with the machine's own programs: a
/// container need not have any.
fn in_directory_of(pid: i32, directory: &str) -> Cmd {
    let enter = ["--mount", "--target", &pid.to_string(), "--root=/"].map(ToOwned::to_owned);
    let there = format!("--wd=/proc/{pid}/root{directory}");
    Cmd::new("nsenter").args(enter).args([there, "--".to_owned()])
}

/// A disk of the machine, by its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk(String);

impl Disk {
    /// From the number of a file's device, in which the kernel mixes both of its parts.
    fn numbered(device: u64) -> Self {
        let major = ((device >> 8) & 0xfff) | ((device >> 32) & 0xffff_f000);
        let minor = (device & 0xff) | ((device >> 12) & 0xffff_ff00);
        Self(format!("{major}:{minor}"))
    }
}

/// The part of a container's specification that says whose it is.
#[derive(Deserialize)]
struct Config {
    annotations: Option<BTreeMap<String, String>>,
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    #[serde(rename = "cgroupsPath")]
    cgroups_path: Option<String>,
}

impl Cluster {
    /// The disk that the volumes of pods are on.
    pub fn disk(&self) -> Result<Disk> {
        let dir = &self.env().state;
        let device = fs::metadata(dir).with_context(|| format!("cannot look at {dir:?}"))?.dev();
        Ok(Disk::numbered(device))
    }

    /// The running container of a pod.
    pub fn container(&self, namespace: &str, pod: &str, container: &str) -> Result<ContainerRef> {
        for node in self.nodes()? {
            let tasks = self.node_files(node).join("run/io.containerd.runtime.v2.task/k8s.io");
            for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
                let Some(cgroup) = matches(&task.path(), namespace, pod, container) else {
                    continue;
                };
                let id = task.file_name().to_string_lossy().into_owned();
                let found = ContainerRef { node, id, cgroup };
                // One that ended may wait there to be cleared away.
                if found.pids().iter().any(|pid| start_time(*pid).is_some()) {
                    return Ok(found);
                }
            }
        }
        anyhow::bail!("no running container {container} in pod {namespace}/{pod}")
    }

    /// The machine's numbers of all processes of a container.
    pub fn container_pids(&self, namespace: &str, pod: &str, container: &str) -> Result<Vec<i32>> {
        Ok(self.container(namespace, pod, container)?.pids())
    }

    /// Sends a signal to every process of a container.
    pub fn kill_container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        signal: Signal,
    ) -> Result<()> {
        let sent = self.container(namespace, pod, container)?.signal(signal)?;
        ensure!(sent > 0, "container {container} of {namespace}/{pod} ended by itself");
        Ok(())
    }

    /// Freezes a container until [`Cluster::thaw`].
    pub fn freeze(&self, namespace: &str, pod: &str, container: &str) -> Result<()> {
        self.container(namespace, pod, container)?.freeze()
    }

    /// Thaws a frozen container.
    pub fn thaw(&self, namespace: &str, pod: &str, container: &str) -> Result<()> {
        self.container(namespace, pod, container)?.thaw()
    }
}

fn matches(bundle: &Path, namespace: &str, pod: &str, container: &str) -> Option<Cgroup> {
    let config = read(bundle.join("config.json")).ok()?;
    let annotations = config.annotations?;
    let says = |key: &str, value: &str| {
        annotations.get(&format!("io.kubernetes.cri.{key}")).is_some_and(|found| found == value)
    };
    let same = says("container-type", "container")
        && says("sandbox-namespace", namespace)
        && says("sandbox-name", pod)
        && says("container-name", container);
    same.then(|| config.linux?.cgroups_path.map(|path| Cgroup::at(&path))).flatten()
}

fn read(file: PathBuf) -> Result<Config> {
    let text = fs::read(&file).with_context(|| format!("cannot read {file:?}"))?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    use super::{Disk, FULL, full};

    #[test]
    fn only_our_own_full_file_systems_are_found() {
        let mounts = format!("tmpfs /tmp tmpfs rw 0 0\n{FULL} /data/log tmpfs rw,size=4k 0 0\n");
        assert_eq!(full(&mounts).collect::<Vec<_>>(), ["/data/log"]);
    }

    #[test]
    fn a_disk_has_two_numbers() {
        assert_eq!(Disk::numbered(0xfe00), Disk("254:0".to_owned()));
        assert_eq!(Disk::numbered(0x1_0803), Disk("264:3".to_owned()));
        assert_eq!(Disk::numbered(0x10_0801), Disk("8:257".to_owned()));
    }
}

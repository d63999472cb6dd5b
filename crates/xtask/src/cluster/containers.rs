//! The containers of the local cluster as the machine sees them: their processes, and signals
//! and freezing that reach all of a container at once.
//!
//! Never asks the API server or containerd: it reads what each node's containerd has on disk, so
//! it works while either is stopped.

use std::{
    collections::BTreeMap,
    fs,
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

    /// Stops all of it at once, with no process of it able to notice.
    pub fn freeze(&self) -> Result<()> {
        self.cgroup.set_frozen(true)
    }

    /// Ends a freeze.
    pub fn thaw(&self) -> Result<()> {
        self.cgroup.set_frozen(false)
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

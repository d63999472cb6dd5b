//! The running development cluster, for the tool's commands and for tests: `kubectl` and `helm`
//! against it, its nodes and processes, and real faults in it.
//!
//! Never reaches beyond 198.18.0.0/15 and the namespaces and control groups that `up` made.

pub(crate) mod cgroup;
mod containers;
pub(crate) mod control;
mod edges;
mod faults;
mod kubeconfig;
pub(crate) mod mounts;
pub(crate) mod netns;
pub(crate) mod node;
mod packets;
pub mod plan;
mod pods;
pub(crate) mod process;
pub(crate) mod reach;
pub mod soak;
pub(crate) mod state;
pub(crate) mod sysctl;
pub(crate) mod teardown;

use std::{
    collections::BTreeMap, ffi::OsStr, net::Ipv4Addr, path::PathBuf, sync::Mutex, time::Duration,
};

use anyhow::{Context, Result, ensure};

pub use self::{
    containers::{ContainerRef, Disk, Signal},
    faults::{Cut, Daemon, Link},
    packets::{Fate, Flow},
    plan::{NodeId, Place},
    pods::Sample,
};
use self::{
    plan::Plan,
    process::Processes,
    reach::Reach,
    state::{Backend, State},
};
use crate::{cmd::Cmd, env::Env};

/// The namespace of the quickstart's cluster, and of its Cassandra and etcd.
pub const NAMESPACE: &str = "iris";

/// What the steps and the faults of a local cluster work with.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) env: Env,
    pub(crate) plan: Plan,
    pub(crate) processes: Processes,
    pub(crate) tools: PathBuf,
}

impl Local {
    pub(crate) fn new(env: Env, plan: Plan, tools: PathBuf) -> Self {
        let processes = Processes::new(env.state.join("processes"), env.logs());
        Self { env, plan, processes, tools }
    }

    /// A program that was built for the cluster.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.tools.join(name)
    }

    /// The directory of the cluster's keys and certificates.
    pub(crate) fn pki(&self) -> PathBuf {
        self.env.state.join("pki")
    }

    /// The configuration with which a user of the API server reaches it.
    pub(crate) fn kubeconfig_of(&self, user: &str) -> PathBuf {
        self.pki().join(format!("{user}.kubeconfig"))
    }

    /// `kubectl` as the cluster's administrator.
    pub(crate) fn kubectl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        self.env
            .cmd(self.tool("iris-kube"))
            .arg("kubectl")
            .env("KUBECONFIG", self.kubeconfig_of("admin"))
            .args(args)
    }
}

/// The cluster that `cargo xtask up` brought up.
#[derive(Debug)]
pub struct Cluster {
    env: Env,
    state: State,
    /// The ways to pods to which this machine has no route, by the pods' names.
    forwarded: Mutex<BTreeMap<String, Reach>>,
}

impl Cluster {
    /// The running cluster; an error says how to start one.
    pub fn load() -> Result<Self> {
        let cluster = Self::open(Env::open()?)?;
        // Without the fabric its addresses would be looked for outside the machine.
        let local = matches!(cluster.state.backend, Backend::Local { .. });
        ensure!(
            !local || netns::device_exists(),
            "the cluster is not running, perhaps since the machine was restarted; run \
             `cargo xtask up`"
        );
        Ok(cluster)
    }

    pub(crate) fn open(env: Env) -> Result<Self> {
        let state = State::read(&env)?.context("there is no cluster; run `cargo xtask up`")?;
        Ok(Self { env, state, forwarded: Mutex::default() })
    }

    /// The configuration file of `kubectl`, `helm` and every other client of the API server.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.kubeconfig.clone()
    }

    /// Where the logs of the cluster's processes and of `up` are.
    pub fn logs(&self) -> PathBuf {
        self.env.logs()
    }

    /// The references of the images that `up` built, by short name.
    pub fn image(&self, name: &str) -> Option<&str> {
        self.state.images.get(name).map(String::as_str)
    }

    /// Runs `kubectl` and gives what it wrote to its standard output.
    ///
    /// While the API server is stopped a call ends only with its own `--request-timeout`.
    pub fn kubectl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        self.kubectl_command().args(args).output()
    }

    /// Runs `kubectl` with a standard input, as `apply -f -` takes it.
    pub fn kubectl_with<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Result<String> {
        self.kubectl_command().args(args).stdin(input).output()
    }

    /// Runs `helm` and gives what it wrote to its standard output.
    pub fn helm<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        self.helm_command().args(args).output()
    }

    pub(crate) fn kubectl_command(&self) -> Cmd {
        self.client(self.env.cmd(self.state.tools.join("iris-kube")).arg("kubectl"), "--context")
    }

    pub(crate) fn helm_command(&self) -> Cmd {
        self.client(self.env.cmd(self.state.tools.join("helm")), "--kube-context")
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    fn client(&self, command: Cmd, context_flag: &str) -> Cmd {
        let command = command.env("KUBECONFIG", &self.state.kubeconfig);
        match &self.state.backend {
            Backend::Context { context, .. } => command.args([context_flag, context]),
            Backend::Local { .. } | Backend::Kind => command,
        }
    }

    /// One value of a Secret.
    pub fn secret(&self, namespace: &str, name: &str, key: &str) -> Result<String> {
        let template = format!("-o=go-template={{{{index .data \"{key}\" | base64decode}}}}");
        let get = ["-n", namespace, "get", "secret", name, &template];
        self.kubectl_command().args(get).quiet().output()
    }

    /// The cluster IP of a Service, which this machine and the client's namespace can reach.
    pub fn service_ip(&self, namespace: &str, service: &str) -> Result<Ipv4Addr> {
        let get = ["-n", namespace, "get", "service", service, "-o=jsonpath={.spec.clusterIP}"];
        let address = self.kubectl(get)?;
        address.trim().parse().with_context(|| format!("{namespace}/{service} has no address"))
    }

    /// The address of a pod, which this machine and the client's namespace can reach.
    pub fn pod_ip(&self, namespace: &str, pod: &str) -> Result<Ipv4Addr> {
        let get = ["-n", namespace, "get", "pod", pod, "-o=jsonpath={.status.podIP}"];
        let address = self.kubectl(get)?;
        address.trim().parse().with_context(|| format!("{namespace}/{pod} has no address"))
    }

    /// The nodes of the local cluster.
    pub fn nodes(&self) -> Result<Vec<NodeId>> {
        Ok(self.local()?.plan.nodes().collect())
    }

    /// A node's address, at which NodePorts answer too.
    pub fn node_address(&self, node: NodeId) -> Ipv4Addr {
        node.address()
    }

    /// The beginning of a command line that runs the rest of it in a place's network namespace,
    /// as root: `Place::Client` is where tests run clients.
    pub fn enter(&self, place: Place) -> Vec<String> {
        netns::enter(place, None)
    }

    /// Waits until `condition` of a resource holds, as `kubectl wait` does.
    pub fn wait(
        &self,
        namespace: &str,
        what: &str,
        condition: &str,
        limit: Duration,
    ) -> Result<()> {
        let limit = format!("--timeout={}s", limit.as_secs());
        let condition = format!("--for={condition}");
        self.kubectl(["-n", namespace, "wait", what, &condition, &limit]).map(drop)
    }

    pub(crate) fn local(&self) -> Result<Local> {
        let Backend::Local { plan } = self.state.backend else {
            anyhow::bail!("only the local cluster has this, not one that was here before")
        };
        Ok(Local::new(self.env.clone(), plan, self.state.tools.clone()))
    }

    pub(crate) fn node_files(&self, node: NodeId) -> PathBuf {
        mounts::node_dir(&self.env, node)
    }
}

//! `up`: from a fresh machine to a running cluster with what Iris needs in it, as an ordered list
//! of steps that are each safe to repeat.
//!
//! Never changes a cluster that was here before beyond the namespace `iris`.

pub(crate) mod application;
pub(crate) mod artifacts;
pub(crate) mod elsewhere;
pub(crate) mod iris;
pub(crate) mod local;
pub(crate) mod machine;

use std::{fs::File, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::{
    cluster::{
        Cluster, Local, NodeId,
        plan::Plan,
        state::{Backend, State},
    },
    cmd::Cmd,
    env::Env,
    images::{Image, deliver},
    progress::Progress,
    steps::{self, Context, Report, Step},
    tools,
};

/// The step that `--skip-demo` leaves out.
const DEMO: &str = "demo";

/// What the caller of `up` wants.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How many nodes a local cluster has.
    pub(crate) nodes: u8,
    /// How many members Iris's own etcd has.
    pub(crate) etcd_members: u8,
    /// Shards of Iris's cluster; the manifest says how many unless this does.
    pub(crate) shards: Option<u32>,
    /// An existing cluster's context and the registry that it gets its images from.
    pub(crate) existing: Option<(String, String)>,
    /// How far to go.
    pub(crate) extent: Extent,
}

/// How much `up` brings up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// A cluster with nothing in it.
    Bare,
    /// Iris too.
    Iris,
    /// And a conversation that shows it.
    Demo,
}

/// How `up` went.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// How long it took in all.
    pub(crate) seconds: f64,
    /// Each step, in the order in which they ended.
    pub(crate) steps: Vec<Report>,
    /// The configuration file for `kubectl` and others.
    pub(crate) kubeconfig: PathBuf,
    /// Where the logs are.
    pub(crate) logs: PathBuf,
    /// What the demo saw, unless it was left out.
    pub(crate) demo: Option<String>,
}

/// What a step of `up` works with.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) env: Env,
    pub(crate) options: Options,
}

impl Context for Job {
    fn for_step(&self, name: &str) -> Self {
        Self { env: self.env.with_log(&format!("up-{name}")), options: self.options.clone() }
    }

    fn log(&self) -> PathBuf {
        self.env.log().to_owned()
    }
}

impl Job {
    pub(crate) fn local(&self) -> Result<Local> {
        let plan = Plan::new(self.options.nodes)?;
        Ok(Local::new(self.env.clone(), plan, tools::dir(&self.env)?))
    }

    pub(crate) fn cluster(&self) -> Result<Cluster> {
        Cluster::open(self.env.clone())
    }

    pub(crate) fn kubectl(&self) -> Result<Cmd> {
        Ok(self.cluster()?.kubectl_command())
    }

    /// Applies manifests to the cluster.
    pub(crate) fn apply(&self, manifests: impl Into<Vec<u8>>) -> Result<()> {
        self.kubectl()?.args(["apply", "-f", "-"]).stdin(manifests).run()
    }

    /// Brings images to wherever the cluster takes them from and writes their references down.
    pub(crate) fn deliver(&self, images: &[&Image]) -> Result<()> {
        self.deliver_to(images, None)
    }

    /// The same, but in a local cluster to one node only, where it is known that no other needs
    /// them.
    pub(crate) fn deliver_to(&self, images: &[&Image], only: Option<NodeId>) -> Result<()> {
        match (self.cluster()?.state().backend.clone(), only) {
            (Backend::Local { .. }, Some(node)) => deliver::import(&self.local()?, node, images)?,
            (Backend::Local { .. }, None) => deliver::import_everywhere(&self.local()?, images)?,
            (Backend::Kind, _) => elsewhere::load(&self.env, images)?,
            (Backend::Context { registry, .. }, _) => {
                for image in images {
                    let reference = deliver::push(&self.env, image, &registry)?;
                    State::add_image(&self.env, &image.name, &reference)?;
                }
                return Ok(());
            }
        }
        images
            .iter()
            .try_for_each(|image| State::add_image(&self.env, &image.name, &image.reference))
    }

    /// Whether the cluster has images, and has them written down.
    pub(crate) fn has(&self, images: &[&Image]) -> Result<bool> {
        let cluster = self.cluster()?;
        let tag = |reference: &str| reference.rsplit(':').next().map(str::to_owned);
        let noted = images
            .iter()
            .all(|image| cluster.image(&image.name).and_then(tag) == tag(&image.reference));
        if !noted || !matches!(cluster.state().backend, Backend::Local { .. }) {
            return Ok(noted);
        }
        let local = self.local()?;
        for node in local.plan.nodes() {
            if !deliver::has(&local, node, images)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The reference of an image that was delivered.
    pub(crate) fn reference(&self, name: &str) -> Result<String> {
        let cluster = self.cluster()?;
        Ok(cluster.image(name).with_context(|| format!("no image {name}"))?.to_owned())
    }
}

/// Brings the cluster up, or what of it is not up.
pub(crate) fn run(mut options: Options, progress: &Progress) -> Result<Summary> {
    let env = Env::open()?;
    let _alone = lock(&env)?;
    let backend = choose(&env, &options)?;
    prepare(&env, &backend, &mut options)?;
    let list = all_steps(&backend, options.extent);
    let job = Job { env: env.clone(), options };
    let steps = steps::run::<Job>(&list, &job, progress)?;
    let cluster = Cluster::open(env)?;
    let shown = list.iter().any(|step| step.name == DEMO);
    let demo = shown.then(|| std::fs::read_to_string(application::demo::page(&job))).transpose()?;
    Ok(Summary {
        seconds: progress.elapsed().as_secs_f64(),
        steps,
        kubeconfig: cluster.kubeconfig(),
        logs: cluster.logs(),
        demo,
    })
}

/// The steps to a kind of cluster with Iris's needs in it, in order.
fn all_steps(backend: &Backend, extent: Extent) -> Vec<UpStep> {
    let mut list = match backend {
        Backend::Local { .. } => local::steps(),
        Backend::Kind => elsewhere::kind_steps(),
        Backend::Context { .. } => elsewhere::context_steps(),
    };
    if extent != Extent::Bare {
        list.extend(iris::steps());
        list.extend(application::steps());
        list.retain(|step| extent == Extent::Demo || step.name != DEMO);
    }
    list
}

/// Makes the image of one of Iris's programs and brings it into the running cluster.
pub(crate) fn image(target: &str, executable: Option<PathBuf>) -> Result<String> {
    let env = Env::open()?.with_log("image");
    let nodes = match Cluster::open(env.clone())?.state().backend {
        Backend::Local { plan } => u8::try_from(plan.nodes().count())?,
        Backend::Kind | Backend::Context { .. } => 1,
    };
    let options =
        Options { nodes, etcd_members: 1, shards: None, existing: None, extent: Extent::Iris };
    iris::deliver_one(&Job { env, options }, target, executable)
}

/// Keeps a second `up` or `down` out while this one runs.
pub(crate) fn lock(env: &Env) -> Result<File> {
    // Beside the state and not in it, since `down` removes that.
    let file = env.state.with_extension("lock");
    let handle = crate::cmd::append(&file).context("`up` and `down` work as root; try sudo -E")?;
    match handle.try_lock() {
        Ok(()) => Ok(handle),
        Err(_) => bail!("another `cargo xtask up` or `down` is running"),
    }
}

fn choose(env: &Env, options: &Options) -> Result<Backend> {
    if let Some((context, registry)) = options.existing.clone() {
        return Ok(Backend::Context { context, registry });
    }
    let local = Backend::Local { plan: Plan::new(options.nodes)? };
    let recorded = State::read(env)?.map(|state| state.backend);
    if options.extent == Extent::Bare || matches!(recorded, Some(Backend::Local { .. })) {
        return Ok(local);
    }
    let docker = env.cmd("docker").arg("info").timeout(std::time::Duration::from_secs(5));
    Ok(if docker.succeeds() { Backend::Kind } else { local })
}

/// Writes down which cluster this is, or checks that it is the one that is up. Who does not say how many
/// shards it has means as many as it has.
fn prepare(env: &Env, backend: &Backend, options: &mut Options) -> Result<()> {
    let tools = tools::dir(env)?;
    let etcd_members = options.etcd_members;
    match State::read(env)? {
        Some(state) if state.backend != *backend || state.etcd_members != etcd_members => {
            bail!(
                "a cluster is up that was asked for otherwise ({:?}, {} etcd members); take it \
                 down with `cargo xtask down` first",
                state.backend,
                state.etcd_members
            )
        }
        Some(state) if options.shards.is_some_and(|asked| state.shards != Some(asked)) => {
            bail!(
                "a cluster is up with {} shards, which is for ever; take it down with `cargo xtask \
                 down` first",
                state.shards.map_or_else(|| "the manifest's".to_owned(), |count| count.to_string())
            )
        }
        Some(state) => {
            options.shards = state.shards;
            if state.tools == tools { Ok(()) } else { State { tools, ..state }.write(env) }
        }
        None => {
            let kubeconfig = match backend {
                Backend::Local { .. } => env.state.join("pki/admin.kubeconfig"),
                Backend::Kind => env.state.join("kind.kubeconfig"),
                Backend::Context { .. } => elsewhere::user_kubeconfig()?,
            };
            let images = Default::default();
            let (backend, shards) = (backend.clone(), options.shards);
            let state = State { backend, etcd_members, shards, tools, kubeconfig, images };
            state.write(env)
        }
    }
}

/// A step of `up`.
pub(crate) type UpStep = Step<Job>;

/// For a step that has nothing to look at and does its work each time, which is cheap.
pub(crate) fn always(_: &Job) -> Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::{Backend, Extent, Plan, all_steps};
    use crate::steps::check;

    #[test]
    fn every_kind_of_cluster_has_a_list_that_can_run() {
        let existing = Backend::Context { context: "c".to_owned(), registry: "r".to_owned() };
        for backend in [Backend::Local { plan: Plan::new(3).unwrap() }, Backend::Kind, existing] {
            for extent in [Extent::Bare, Extent::Iris, Extent::Demo] {
                check(&all_steps(&backend, extent)).unwrap();
            }
        }
    }
}

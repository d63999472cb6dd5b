//! The scenarios on the local cluster: bring it up, run them, and take it down if all is well.
//!
//! Never takes down a cluster that was up before, nor one in which a scenario failed: people want to
//! look at it.

use anyhow::{Result, bail};

use super::{Plan, SIMULATOR, cargo, targets::CLUSTER};
use crate::{
    cluster::state::{Backend, State},
    cmd::Cmd,
    down, up,
};

pub(super) fn run(plan: &mut Plan<'_>, keep: bool) -> Result<()> {
    let (env, progress) = (plan.env, plan.progress);
    let before = State::read(env)?;
    let options = options(before.as_ref());
    let from_nothing = before.is_none() && !keep;
    if from_nothing {
        plan.stage("existing", "dev/existing-cluster.sh does it alone", || {
            let script = Cmd::new("dev/existing-cluster.sh").dir(&env.repo);
            match script.interactive_on_stderr()? {
                0 => Ok(()),
                code => bail!("dev/existing-cluster.sh ended with {code}"),
            }
        })?;
    }
    plan.stage("up", "`cargo xtask up` goes on where this stopped", || {
        up::run(options, progress).map(drop)
    })?;
    plan.say_passed();
    let look = format!(
        "the cluster is still up: `cargo xtask status` says where its logs are, \
         `cargo test --release -p iris-e2e --test {CLUSTER} -- NAME` runs one scenario again, \
         `cargo xtask down` takes it down"
    );
    // The packages of `unit_arguments`, though only one has such a target: nothing is compiled again.
    let packages = ["--workspace", "--exclude", SIMULATOR];
    let scenarios = [&["test", "--release"], &packages[..], &["--test", CLUSTER]].concat();
    plan.stage("cluster", &look, || cargo(env, &scenarios))?;
    if from_nothing {
        // It says nothing, so that the last line is the tests' own.
        down::run(false)?;
    }
    Ok(())
}

/// As the cluster that is up was asked for, or the default.
fn options(before: Option<&State>) -> up::Options {
    let default = up::Options {
        nodes: 3,
        etcd_members: 1,
        shards: None,
        existing: None,
        extent: up::Extent::Iris,
    };
    let Some(state) = before else { return default };
    let asked = up::Options { etcd_members: state.etcd_members, ..default };
    match &state.backend {
        Backend::Local { plan } => {
            let nodes = u8::try_from(plan.nodes().count()).unwrap_or(asked.nodes);
            up::Options { nodes, ..asked }
        }
        Backend::Kind => asked,
        Backend::Context { context, registry } => {
            up::Options { existing: Some((context.clone(), registry.clone())), ..asked }
        }
    }
}

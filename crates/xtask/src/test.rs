//! `test`: everything that is asked of a commit, what says no soonest first.
//!
//! Never writes to standard output: what is there is cargo test's, and so is its last line.

mod cluster;
mod targets;

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::{cmd::Cmd, env::Env, progress::Progress, tidy, tools, up};

pub(crate) use targets::SIMULATOR;
use targets::Targets;

/// Which half of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Half {
    /// All checks and tests that need no cluster; some start a Cassandra, an etcd or an API server
    Unit,
    /// The scenarios on the local cluster
    Cluster,
}

/// What the caller of `test` wants.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only one half
    #[arg(long, value_enum, value_name = "HALF")]
    only: Option<Half>,
    /// Leave the cluster up even if the tests brought it up and passed
    #[arg(long)]
    keep: bool,
}

/// What `test --help` says after the options.
pub(crate) const HELP: &str = "\
In this order, and at the first failure it stops and says what to do:
  machine   the compilers are here; missing Debian packages are installed if you are root
  format    cargo fmt --check --all
  lint      cargo clippy --release --workspace --all-targets -- -D warnings
  tidy      cargo xtask tidy: layers, libraries, file lengths, words
  worlds    the simulator: a thousand worlds, each of which keeps every promise
  tools     Kubernetes, etcd and Helm are built from source, unless they are cached
  tests     cargo test --release --workspace, without the scenarios of the cluster; that the
            generated definitions and references are those of the code is one of these tests
  existing  dev/existing-cluster.sh: up --context, with a registry; not if a cluster is up,
            nor with --keep
  cluster   cargo xtask up, unless it is up; then the scenarios in e2e/tests/cluster;
            then cargo xtask down, if it was down before and all passed

To work on one thing, without the rest:
  cargo test --release -p iris-core                        one package
  cargo test --release -p iris-e2e --test region           a region in one process
  cargo xtask test --only cluster --keep                   the scenarios, and leave the cluster up
  cargo test --release -p iris-e2e --test cluster -- NAME  one scenario, on a cluster that is up
  cargo xtask status                                       what runs there, and where its logs are";

/// Runs the checks and the tests.
pub(crate) fn run(options: &Options, progress: &Progress) -> Result<()> {
    let env = Env::open()?.with_log("test");
    let targets = Targets::of_workspace(&env)?;
    let unit = options.only != Some(Half::Cluster);
    let scenarios = options.only != Some(Half::Unit) && targets.has_cluster();
    if options.only == Some(Half::Cluster) && !scenarios {
        bail!("there is no test target `{}`", targets::CLUSTER);
    }
    let mut plan = Plan { env: &env, progress, passed: Vec::new() };
    let root = "run it as root, or install them with apt-get";
    plan.stage("machine", root, || up::machine::prepare_for_tests(&env, scenarios))?;
    if unit {
        checks(&mut plan)?;
        let docs = ["test", "--release", "--workspace", "--exclude", SIMULATOR, "--doc"];
        plan.stage("examples", "the example that failed is named above", || cargo(&env, &docs))?;
        let simulate = ["test", "--release", "-p", SIMULATOR];
        let seed = "`cargo xtask sim --seed N` says what happened in a world that failed";
        plan.stage("worlds", seed, || cargo(&env, &simulate))?;
        // Tests take them from the cache. Here people see what takes minutes on a new machine.
        plan.stage("tools", "what go says above", || tools::build(&env))?;
    }
    if unit && !scenarios {
        plan.say_passed();
    }
    if unit {
        let again = "the test that failed is named above; `cargo test --release -p PACKAGE NAME` \
                     runs it alone";
        plan.stage("tests", again, || cargo(&env, &targets.unit_arguments()))?;
    }
    if scenarios {
        cluster::run(&mut plan, options.keep)?;
    }
    Ok(())
}

fn checks(plan: &mut Plan<'_>) -> Result<()> {
    let env = plan.env;
    plan.stage("format", "cargo fmt --all", || cargo(env, &["fmt", "--check", "--all"]))?;
    let lint = ["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"];
    plan.stage("lint", "do what clippy says above", || cargo(env, &lint))?;
    let progress = plan.progress;
    plan.stage("tidy", "do what the findings above say", || tidy::run(progress))
}

/// The stages that are under way, and those that passed.
struct Plan<'a> {
    env: &'a Env,
    progress: &'a Progress,
    passed: Vec<(&'static str, f64)>,
}

impl Plan<'_> {
    /// Runs one stage; its failure says what to do.
    fn stage(
        &mut self,
        name: &'static str,
        remedy: &str,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let began = Instant::now();
        self.progress.say(&format!("[{:6.1}s] {name}", self.progress.elapsed().as_secs_f64()));
        work().map_err(|cause| anyhow::anyhow!("{name}: {cause:#}\n  remedy: {remedy}"))?;
        self.passed.push((name, began.elapsed().as_secs_f64()));
        Ok(())
    }

    /// The summary of what passed. It stands before the last tests, since their own is the last.
    fn say_passed(&self) {
        let total = self.progress.elapsed().as_secs_f64();
        let stages: Vec<_> =
            self.passed.iter().map(|(name, seconds)| format!("{name} {seconds:.1} s")).collect();
        self.progress.say(&format!("[{total:6.1}s] passed: {}", stages.join(", ")));
    }
}

/// Runs cargo where people see what it says.
fn cargo<S: AsRef<std::ffi::OsStr>>(env: &Env, args: &[S]) -> Result<()> {
    let command = Cmd::new("cargo").args(args).dir(&env.repo);
    let line = command.line();
    match command.interactive().context("cargo cannot be run")? {
        0 => Ok(()),
        code => bail!("`{line}` ended with {code}"),
    }
}

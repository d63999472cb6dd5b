//! `cargo xtask upgrade`: takes the running cluster back to another version and forward again.
//!
//! Never decides anything: what is done and what passes is the library's.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where the tool answers")]
#![allow(clippy::disallowed_types, reason = "the cluster's time is real")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Parser;
use iris_e2e::chaos::scene::{Interrupted, Scene};
use iris_e2e::interrupt;
use iris_e2e::upgrade::change::{Operator, Said};
use iris_e2e::upgrade::journey::{self, Way};
use iris_e2e::upgrade::pods::{Images, Pair};
use iris_e2e::upgrade::verdict;
use serde_json::json;
use xtask::cluster::Cluster;
use xtask::release::Release;

/// Where everything goes, in the repository.
const DIR: &str = "target/upgrade";
/// What the cluster's spec said before, for who has to put it back later.
const SAID: &str = "said.json";
/// What shells expect of a program that an interrupt ended.
const INTERRUPTED: u8 = 130;
/// The programs that the cluster runs.
const PROGRAMS: [&str; 3] = ["operator", "controlplane", "dataplane"];

const HELP: &str = "\
The cluster runs the newer version: what `cargo xtask up` compiled. The older one is built from a commit, in \
a work tree and a target directory of its own (target/upgrade), so the first time everything is compiled. \
Then, each under `iris soak`: all pods become older ones, the operator becomes an older one and restarts \
nobody, the operator becomes the newer one again, and so do all pods. Whatever happens, everything is put \
back; after kill -9 of this command --restore does that.

Examples:
  cargo xtask upgrade --build                    compile the older version, and touch no cluster
  cargo xtask upgrade                            some ten minutes, once that is compiled
  cargo xtask upgrade --from v0.1.0 --json | jq '.legs[] | {leg, passed, failures}'";

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask upgrade",
    bin_name = "cargo xtask upgrade",
    about = "Takes the running cluster of `cargo xtask up` back to another version and forward again, under traffic",
    after_help = HELP
)]
struct Options {
    /// The older version: a commit, tag or branch [default: the newest tag v* before HEAD; without one
    /// the commit before the data plane last changed]
    #[arg(long, value_name = "REV")]
    from: Option<String>,
    /// Only build it
    #[arg(long, conflicts_with_all = ["restore", "json"])]
    build: bool,
    /// Only put everything back
    #[arg(long, conflicts_with = "from")]
    restore: bool,
    /// Leave the operator as it is
    #[arg(long)]
    keep_operator: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<ExitCode> {
    let logs = journey::directory(&xtask::programs::repository(DIR)?)?;
    let began = Instant::now();
    let say = move |line: &str| eprintln!("[{:7.1}s] {line}", began.elapsed().as_secs_f64());
    if options.restore {
        let cluster = Cluster::load()?;
        let newer = running(&cluster)?;
        // Nothing of the older version is asked for on the way.
        let pair = Pair { older: newer.clone(), newer };
        let way = way(pair, &xtask::programs::repository("")?, options, &logs)?;
        let scene = Scene::new(cluster, 1, Arc::new(AtomicBool::new(false)), say);
        return put_back(&scene, &way, &logs).map(|()| ExitCode::SUCCESS);
    }
    let release = Release::build(options.from.as_deref(), say)?;
    say(&format!("built {} ({})", release.commit, release.subject));
    if options.build {
        return Ok(ExitCode::SUCCESS);
    }
    let cluster = Cluster::load()?;
    let older = release.deliver(&cluster)?;
    let pair = Pair { older, newer: running(&cluster)? };
    journey::check(&cluster, &pair)?;
    let way = way(pair, &release.source, options, &logs)?;
    let said = Said::now(&cluster)?;
    fs::write(logs.join(SAID), said.to_json()).context("cannot write down what the spec says")?;
    let unheard = |error: &std::io::Error| eprintln!("interrupts are not heard: {error}");
    let scene = Scene::new(cluster, 1, interrupt::asked(unheard)?, say);
    let gone = journey::run(&scene, &way);
    // Also after an interrupt, which this must not hear.
    let deaf = Scene::new(Cluster::load()?, 1, Arc::new(AtomicBool::new(false)), say);
    let back = put_back(&deaf, &way, &logs);
    let outcomes = match gone {
        Ok(outcomes) => outcomes,
        Err(error) => {
            back?;
            return Err(error);
        }
    };
    let page = verdict::page(&outcomes);
    let all = json!({"older": release.commit, "images": way.pair.older, "legs": outcomes});
    let text = serde_json::to_string_pretty(&all)?;
    fs::write(logs.join("report.json"), &text).context("cannot write the report")?;
    println!("{}", if options.json { &text } else { &page });
    back?;
    let passed = outcomes.iter().all(|outcome| outcome.passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the cluster runs, as `up` wrote it down.
fn running(cluster: &Cluster) -> Result<Images> {
    let image = |name: &str| {
        let image = cluster.image(name).with_context(|| format!("`up` brought no {name}"))?;
        Ok((name.to_owned(), image.to_owned()))
    };
    PROGRAMS.into_iter().map(image).collect()
}

fn way(pair: Pair, older: &Path, options: &Options, logs: &Path) -> Result<Way> {
    Ok(Way {
        older: Operator::of(older, &pair.older),
        newer: Operator::of(&xtask::programs::repository("")?, &pair.newer),
        with_operator: !options.keep_operator,
        logs: logs.to_owned(),
        pair,
    })
}

fn put_back(scene: &Scene, way: &Way, logs: &Path) -> Result<()> {
    let file: PathBuf = logs.join(SAID);
    let text = fs::read_to_string(&file);
    let text = text.with_context(|| format!("nothing is to be put back: no {}", file.display()))?;
    scene.say("putting everything back");
    journey::put_back(scene, way, &Said::from_json(&text)?)
        .context("NOT PUT BACK, run `cargo xtask upgrade --restore`")?;
    fs::remove_file(&file).with_context(|| format!("cannot remove {file:?}"))?;
    scene.say("everything is as it was");
    Ok(())
}

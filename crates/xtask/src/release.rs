//! Another version of Iris beside the one that runs: a revision of this repository, in a work tree of its
//! own below the target directory, made into images and brought to where the running cluster starts pods.
//!
//! Never changes this work tree, what runs, or what is written down about the cluster.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{
    cluster::{Cluster, state::Backend},
    cmd::Cmd,
    env::Env,
    images::{
        Image, deliver,
        iris::{self, PROGRAMS},
    },
    up::elsewhere,
};

/// What the data plane is made of, which has to be another one in another version.
const SOURCES: [&str; 9] = [
    "Cargo.lock",
    "crates/boot",
    "crates/coord",
    "crates/core",
    "crates/net",
    "crates/proto",
    "crates/runtime",
    "crates/store",
    "dataplane",
];

/// A version that was built.
#[derive(Debug)]
pub struct Release {
    /// Its commit, shortened.
    pub commit: String,
    /// The first line of what was said of that commit.
    pub subject: String,
    /// Its work tree.
    pub source: PathBuf,
    images: Vec<Image>,
}

impl Release {
    /// Builds a revision: the newest tagged release before this commit, where none is named, or before
    /// there was one the version before the data plane last changed. `say` hears of each step. Cargo has a
    /// target directory of its own for it, so the first time everything is compiled.
    pub fn build(revision: Option<&str>, say: impl Fn(&str)) -> Result<Self> {
        let env = Env::open()?.with_log("release");
        let commit = match revision {
            Some(revision) => commit_of(&env, revision)?,
            None => earlier(&env)?,
        };
        let describe = ["log", "-1", "--format=%h%n%s", &commit];
        let described = git(&env, &env.repo).args(describe).output()?;
        let described = described.trim_end();
        let (short, subject) = described.split_once('\n').unwrap_or((described, ""));
        let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| env.repo.join("target")).join("upgrade");
        fs::create_dir_all(&target).with_context(|| format!("cannot make {target:?}"))?;
        // What cargo says of a package has no links in it.
        let target = target.canonicalize()?;
        let source = check_out(&env, &target.join("source"), &commit)?;
        say(&format!("building {short} ({subject}), the log is {}", env.log().display()));
        let there = env.with_repo(&source);
        let programs = PROGRAMS.into_iter().filter(|program| program.is_present(&there));
        let programs: Vec<_> = programs.collect();
        let compiled = iris::compile_into(&there, &programs, Some(&target.join("target")))?;
        let images = compiled.iter().map(|(program, files)| iris::image(&there, *program, files));
        let images = images.collect::<Result<Vec<_>>>()?;
        Ok(Self { commit: short.to_owned(), subject: subject.to_owned(), source, images })
    }

    /// Brings the images to where the cluster's pods are started, and gives their references there, by
    /// the programs' short names.
    pub fn deliver(&self, cluster: &Cluster) -> Result<BTreeMap<String, String>> {
        let images: Vec<_> = self.images.iter().collect();
        let of = |image: &Image, reference: String| (image.name.clone(), reference);
        match &cluster.state().backend {
            Backend::Local { .. } => deliver::import_everywhere(&cluster.local()?, &images)?,
            Backend::Kind => elsewhere::load(cluster.env(), &images)?,
            Backend::Context { registry, .. } => {
                let pushed = self
                    .images
                    .iter()
                    .map(|image| Ok(of(image, deliver::push(cluster.env(), image, registry)?)));
                return pushed.collect();
            }
        }
        Ok(self.images.iter().map(|image| of(image, image.reference.clone())).collect())
    }
}

fn git(env: &Env, dir: &Path) -> Cmd {
    env.cmd("git").dir(dir)
}

fn commit_of(env: &Env, revision: &str) -> Result<String> {
    let parse = ["rev-parse", "--verify", "--quiet", "--end-of-options"];
    let found = git(env, &env.repo).args(parse).arg(format!("{revision}^{{commit}}")).output();
    let found = found.with_context(|| format!("there is no commit {revision:?}"))?;
    Ok(found.trim().to_owned())
}

/// The version before this one.
fn earlier(env: &Env) -> Result<String> {
    let head = commit_of(env, "HEAD")?;
    let tags = ["tag", "--list", "v*", "--merged", "HEAD^", "--sort=-version:refname"];
    // The first commit of all has no parent, and so nothing before it.
    let tags = git(env, &env.repo).args(tags).output().unwrap_or_default();
    if let Some(newest) = tags.lines().next() {
        return commit_of(env, newest);
    }
    let last = ["log", "-1", "--format=%H", &head, "--"];
    let changed = git(env, &env.repo).args(last).args(SOURCES).output()?;
    ensure!(!changed.trim().is_empty(), "no commit has changed the data plane");
    commit_of(env, &format!("{}^", changed.trim()))
}

/// Checks a commit out in a work tree that is kept: the next revision is compiled from what changed.
fn check_out(env: &Env, source: &Path, commit: &str) -> Result<PathBuf> {
    // One whose directory is gone is known still.
    git(env, &env.repo).args(["worktree", "prune"]).run()?;
    if source.join(".git").exists() {
        git(env, source).args(["checkout", "--quiet", "--force", "--detach", commit]).run()?;
    } else {
        let add = ["worktree", "add", "--quiet", "--force", "--detach"];
        git(env, &env.repo).args(add).arg(source).arg(commit).run()?;
    }
    Ok(source.to_owned())
}

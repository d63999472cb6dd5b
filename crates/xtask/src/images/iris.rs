//! The images of Iris's own programs: compiled by cargo outside, put into images by the
//! repository's Dockerfile.
//!
//! Never compiles inside an image build: cargo's own cache is what makes a second build quick.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, ensure};

use super::{Image, Input, Recipe, build, rootfs};
use crate::{
    cache::{Key, remove_dir},
    env::Env,
};

/// How many builds of each program and its image the cache keeps.
const KEPT_MAX: usize = 3;

/// A program that has an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The stage of the Dockerfile, and the image's short name.
    pub(crate) target: &'static str,
    /// The package that builds it.
    package: &'static str,
    /// The package's directory.
    dir: &'static str,
}

/// Every program, whether this checkout has it already or not.
pub(crate) const PROGRAMS: [Program; 4] = [
    Program { target: "operator", package: "iris-operator", dir: "operator" },
    Program { target: "controlplane", package: "iris-controlplane", dir: "controlplane" },
    Program { target: "dataplane", package: "iris-dataplane", dir: "dataplane" },
    Program { target: "cli", package: "iris-cli", dir: "crates/cli" },
];

impl Program {
    /// The program of a stage.
    pub(crate) fn of(target: &str) -> Result<Self> {
        let found = PROGRAMS.into_iter().find(|program| program.target == target);
        found.with_context(|| format!("{target} has no image"))
    }

    /// Whether this checkout has a program there and not only a library.
    pub(crate) fn is_present(self, env: &Env) -> bool {
        let source = env.repo_file(self.dir).join("src");
        source.join("main.rs").exists() || source.join("bin").exists()
    }
}

/// Compiles programs and gives the executables of each.
pub(crate) fn compile(env: &Env, programs: &[Program]) -> Result<Vec<(Program, Vec<PathBuf>)>> {
    compile_into(env, programs, None)
}

/// The same, with a target directory of its own: two work trees that share one would take each other's
/// libraries for theirs.
pub(crate) fn compile_into(
    env: &Env,
    programs: &[Program],
    target: Option<&Path>,
) -> Result<Vec<(Program, Vec<PathBuf>)>> {
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let packages = programs.iter().flat_map(|program| ["-p", program.package]);
    let cargo = env.cmd("cargo");
    let cargo = match target {
        Some(target) => cargo.env("CARGO_TARGET_DIR", target),
        None => cargo,
    };
    let messages = cargo
        .args(["build", "--release", "--bins", "--message-format=json-render-diagnostics"])
        .args(packages)
        .dir(&env.repo)
        .output()?;
    programs
        .iter()
        .map(|program| {
            let found = executables(&messages, &env.repo_file(program.dir));
            ensure!(!found.is_empty(), "{} built no program", program.package);
            Ok((*program, found))
        })
        .collect()
}

/// Puts a program's executables into its image.
pub(crate) fn image(env: &Env, program: Program, executables: &[PathBuf]) -> Result<Image> {
    let inputs = executables.iter().map(|file| stripped(env, file)).collect::<Result<_>>()?;
    let recipe = Recipe {
        name: program.target.to_owned(),
        dockerfile: env.repo_file("Dockerfile"),
        target: Some(program.target.to_owned()),
        inputs,
        base: Some(("BASE", rootfs::Kind::Base)),
        args: vec![("BINARIES", "prebuilt".to_owned())],
    };
    let image = build(env, &recipe)?;
    forget_old(env, &format!("image-{}-", program.target))?;
    Ok(image)
}

/// An executable without what only a debugger reads, which is most of it.
fn stripped(env: &Env, file: &Path) -> Result<Input> {
    let name = file.file_name().and_then(|name| name.to_str()).context("a nameless program")?;
    let entry = format!("program-{name}");
    let dir = env.cache.make(&entry, &Key::of_tree(file)?, |dir| {
        env.cmd("strip").args(["--strip-debug", "-o"]).arg(dir.join(name)).arg(file).run()
    })?;
    forget_old(env, &format!("{entry}-"))?;
    Ok(Input { name: format!("bin/{name}"), path: dir.join(name) })
}

/// The executables that a build of the package in `dir` made, from what cargo says of it.
fn executables(messages: &str, dir: &Path) -> Vec<PathBuf> {
    let manifest = dir.join("Cargo.toml");
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["manifest_path"].as_str().map(Path::new) == Some(&manifest))
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect()
}

/// Every build of a program is a new entry; those of last week are of no use.
fn forget_old(env: &Env, prefix: &str) -> Result<()> {
    let mut entries: Vec<(SystemTime, PathBuf)> = fs::read_dir(env.cache.root())?
        .flatten()
        .filter(|entry| is_entry(&entry.file_name().to_string_lossy(), prefix))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    entries.sort();
    let old = entries.len().saturating_sub(KEPT_MAX);
    entries.iter().take(old).try_for_each(|(_, path)| remove_dir(path))
}

/// What follows the prefix must be a key and nothing else, for a name may begin like another.
fn is_entry(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.len() == 12 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{executables, is_entry};

    #[test]
    fn only_the_packages_own_executables_are_taken() {
        let messages = concat!(
            r#"{"manifest_path":"/r/dep/Cargo.toml","executable":"/t/build-script"}"#,
            "\n",
            r#"{"manifest_path":"/r/operator/Cargo.toml","executable":null}"#,
            "\n",
            r#"{"manifest_path":"/r/operator/Cargo.toml","executable":"/t/iris-operator"}"#,
            "\nnot json\n"
        );
        let found = executables(messages, Path::new("/r/operator"));
        assert_eq!(found, [Path::new("/t/iris-operator")]);
    }

    #[test]
    fn a_name_that_begins_like_another_is_another() {
        assert!(is_entry("program-iris-0123456789ab", "program-iris-"));
        assert!(!is_entry("program-iris-operator-0123456789ab", "program-iris-"));
    }
}

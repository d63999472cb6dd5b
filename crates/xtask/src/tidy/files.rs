//! Files: none so long that nobody would want to live in it, none that no module names.
//!
//! Never judges content.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::Finding;
use crate::env::Env;

/// A file with more lines is split.
const LINES_MAX: usize = 500;

pub(super) fn check(env: &Env) -> Result<Vec<Finding>> {
    let sources = tracked(env, "*.rs")?;
    let mut findings = Vec::new();
    for path in &sources {
        let text = read(env, path)?;
        let lines = text.lines().count();
        if lines > LINES_MAX {
            let path = path.display();
            findings.push(format!("{path} has {lines} lines, more than {LINES_MAX}: split it"));
        }
        if path.file_name().is_some_and(|name| name == "mod.rs") {
            findings.push(format!("{} should be named after its module", path.display()));
        }
    }
    let named = reachable(env, &sources)?;
    let in_src = |path: &&PathBuf| path.components().any(|part| part.as_os_str() == "src");
    for path in sources.iter().filter(in_src).filter(|path| !named.contains(*path)) {
        findings.push(format!("{} is named by no module: it is never compiled", path.display()));
    }
    Ok(findings)
}

/// The files of the repository that match a pattern, those that git does not know yet too.
pub(super) fn tracked(env: &Env, pattern: &str) -> Result<BTreeSet<PathBuf>> {
    let listed = env
        .cmd("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--", pattern])
        .dir(&env.repo)
        .quiet()
        .output()?;
    let exists = |path: &PathBuf| env.repo.join(path).is_file();
    Ok(listed.lines().map(PathBuf::from).filter(exists).collect())
}

pub(super) fn read(env: &Env, path: &Path) -> Result<String> {
    let full = env.repo.join(path);
    std::fs::read_to_string(&full).with_context(|| format!("cannot read {}", full.display()))
}

/// The files that are compiled: the roots, and what their modules name.
fn reachable(env: &Env, sources: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>> {
    let root = |path: &&PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let parent = path.parent().and_then(Path::file_name).and_then(|n| n.to_str());
        matches!(name, "lib.rs" | "main.rs") || parent == Some("bin")
    };
    let mut waiting: Vec<PathBuf> = sources.iter().filter(root).cloned().collect();
    let mut named: BTreeSet<PathBuf> = waiting.iter().cloned().collect();
    while let Some(path) = waiting.pop() {
        let text = read(env, &path)?;
        for module in modules(&text) {
            for candidate in places(&path, &module) {
                if sources.contains(&candidate) && named.insert(candidate.clone()) {
                    waiting.push(candidate);
                }
            }
        }
    }
    Ok(named)
}

/// The names in `mod name;` lines.
fn modules(text: &str) -> Vec<String> {
    let declared = text.lines().filter_map(|line| {
        let line = line.trim();
        let line = line
            .split_once("mod ")
            .filter(|(before, _)| before.is_empty() || before.starts_with("pub"))?;
        line.1.strip_suffix(';').map(ToOwned::to_owned)
    });
    declared.collect()
}

/// Where a module that `path` declares may be.
fn places(path: &Path, module: &str) -> Vec<PathBuf> {
    let directory = path.parent().unwrap_or(Path::new(""));
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let inside = match stem {
        "lib" | "main" => directory.to_owned(),
        stem => directory.join(stem),
    };
    vec![inside.join(format!("{module}.rs")), directory.join(format!("{module}.rs"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_where_they_are_declared() {
        let text = "mod a;\n    pub(crate) mod b;\npub mod c {\n}\n// mod d;\nlet model = 1;\n";
        assert_eq!(modules(text), ["a", "b"]);
        let at = |path: &str| places(Path::new(path), "x").remove(0);
        assert_eq!(at("k/src/lib.rs"), Path::new("k/src/x.rs"));
        assert_eq!(at("k/src/a/b.rs"), Path::new("k/src/a/b/x.rs"));
    }
}

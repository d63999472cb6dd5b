//! Who may depend on whom. The table is the architecture; a new arrow is a decision.
//!
//! Never looks at code: what cargo says of each package's dependencies is the truth.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Finding;
use crate::env::Env;

/// For each package of ours, those of ours that it may depend on.
const LAYERS: &[(&str, &[&str])] = &[
    ("iris-core", &[]),
    ("iris-check", &[]),
    ("iris-crds", &[]),
    ("iris-proto", &["iris-core"]),
    ("iris-coord", &[]),
    ("iris-net", &[]),
    ("iris-store", &["iris-core", "iris-proto"]),
    ("iris-runtime", &["iris-core", "iris-proto", "iris-net"]),
    ("iris-boot", &["iris-core", "iris-coord", "iris-net", "iris-runtime", "iris-store"]),
    ("iris-client", &["iris-core", "iris-proto", "iris-net"]),
    ("iris-operator", &["iris-core", "iris-proto", "iris-crds", "iris-net", "iris-runtime"]),
    ("iris-controlplane", SERVER),
    ("iris-dataplane", SERVER),
    (
        "iris-cli",
        &[
            "iris-core",
            "iris-proto",
            "iris-client",
            "iris-crds",
            "iris-net",
            // `iris dev` is a region in one process.
            "iris-coord",
            "iris-store",
            "iris-runtime",
            "iris-controlplane",
            "iris-dataplane",
        ],
    ),
    ("xtask", &[]),
];

/// What a process of a region is made of.
const SERVER: &[&str] = &[
    "iris-core",
    "iris-proto",
    "iris-coord",
    "iris-store",
    "iris-net",
    "iris-runtime",
    "iris-boot",
];

/// Packages of ours for tests and measurements: nothing ships them, and nothing depends on them.
const OUTSIDE: &[&str] =
    &["iris-e2e", "iris-bench", "iris-sim", "iris-shells", "iris-model", "iris-testing"];

/// Libraries that only some of ours may use.
const RESERVED: &[(&str, &[&str])] = &[
    ("scylla", &["iris-store"]),
    ("fjall", &["iris-store"]),
    ("etcd-client", &["iris-coord"]),
    ("kube", &["iris-operator", "iris-crds", "iris-cli"]),
    ("k8s-openapi", &["iris-operator", "iris-crds", "iris-cli"]),
    ("jsonwebtoken", &["iris-dataplane"]),
    ("argon2", &["iris-dataplane"]),
    ("turmoil", &["iris-shells"]),
];

/// What the core may never have: anything that waits, asks the system or draws lots.
const NOT_IN_CORE: &[&str] =
    &["tokio", "tonic", "kube", "rand", "fastrand", "getrandom", "tracing", "prost", "serde"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

pub(super) fn check(env: &Env) -> Result<Vec<Finding>> {
    let metadata = env
        .cmd("cargo")
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .dir(&env.repo)
        .quiet()
        .output()?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    let packages: BTreeMap<_, _> = metadata
        .packages
        .iter()
        .map(|package| {
            // What tests use is theirs.
            let normal = package.dependencies.iter().filter(|d| d.kind.as_deref() != Some("dev"));
            (package.name.as_str(), normal.map(|d| d.name.as_str()).collect::<BTreeSet<_>>())
        })
        .collect();
    Ok(findings(&packages))
}

fn findings(packages: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ours: BTreeSet<&str> = packages.keys().copied().collect();
    for (name, dependencies) in packages {
        if OUTSIDE.contains(name) {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| layer == name) else {
            findings
                .push(format!("{name} has no place in the layers: give it one in tidy/layers.rs"));
            continue;
        };
        for dependency in dependencies.intersection(&ours) {
            if !allowed.contains(dependency) {
                findings.push(format!("{name} may not depend on {dependency}"));
            }
        }
        for (library, users) in RESERVED {
            if dependencies.contains(library) && !users.contains(name) {
                findings.push(format!("{name} may not use {library}: only {users:?} do"));
            }
        }
    }
    if let Some(core) = packages.get("iris-core") {
        let forbidden = NOT_IN_CORE.iter().filter(|library| core.contains(*library));
        findings.extend(forbidden.map(|library| format!("iris-core may not use {library}")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &'static str, dependencies: &[&'static str]) -> Vec<Finding> {
        let mut packages: BTreeMap<&str, BTreeSet<&str>> =
            LAYERS.iter().map(|(name, _)| (*name, BTreeSet::new())).collect();
        packages.insert(name, dependencies.iter().copied().collect());
        findings(&packages)
    }

    #[test]
    fn every_forbidden_arrow_is_found() {
        assert!(found("iris-dataplane", &["iris-core", "iris-store", "tokio"]).is_empty());
        assert_eq!(found("iris-dataplane", &["iris-crds"]).len(), 1);
        assert_eq!(found("iris-dataplane", &["kube"]).len(), 1);
        assert_eq!(found("iris-operator", &["iris-store"]).len(), 1);
        assert_eq!(found("iris-operator", &["scylla"]).len(), 1);
        assert_eq!(found("iris-core", &["tokio"]).len(), 1);
        assert_eq!(found("iris-client", &["iris-runtime"]).len(), 1);
        assert_eq!(found("iris-new", &[]).len(), 1, "a package without a place");
        assert!(found("iris-e2e", &["iris-store", "kube"]).is_empty(), "tests see everything");
    }
}

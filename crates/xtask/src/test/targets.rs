//! The test targets of the workspace, from cargo: which need a cluster, and how to run the others.
//!
//! Never guesses from files.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::env::Env;

/// The test target with the scenarios on the cluster.
pub(super) const CLUSTER: &str = "cluster";

/// The package with the simulator. It has the core compiled with known defects as switches, so it is
/// compiled by itself: beside the others, all of them would have the switches.
pub(crate) const SIMULATOR: &str = "iris-sim";

/// The targets with tests.
#[derive(Debug)]
pub(super) struct Targets {
    bins: BTreeSet<String>,
    tests: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    test: bool,
}

impl Targets {
    /// Asks cargo.
    pub(super) fn of_workspace(env: &Env) -> Result<Self> {
        let command = env
            .cmd("cargo")
            .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
            .dir(&env.repo)
            .quiet();
        Self::parse(&command.output()?)
    }

    fn parse(metadata: &str) -> Result<Self> {
        let metadata: Metadata = serde_json::from_str(metadata).context("cargo metadata")?;
        let of_kind = |kind: &str| {
            let others = metadata.packages.iter().filter(|package| package.name != SIMULATOR);
            let targets = others.flat_map(|package| &package.targets);
            let tested =
                targets.filter(|target| target.test && target.kind.iter().any(|k| k == kind));
            tested.map(|target| target.name.clone()).collect()
        };
        Ok(Self { bins: of_kind("bin"), tests: of_kind("test") })
    }

    /// Whether there are scenarios for a cluster.
    pub(super) fn has_cluster(&self) -> bool {
        self.tests.contains(CLUSTER)
    }

    /// What cargo is told to run all tests that need no cluster. It knows no way to leave out one
    /// target, so the others are named. Packages are not, but for the simulator: choosing some would
    /// choose other features of the libraries, and compile them again.
    pub(super) fn unit_arguments(&self) -> Vec<&str> {
        let mut args = vec!["test", "--release", "--workspace", "--exclude", SIMULATOR];
        args.extend(["--no-fail-fast", "--lib"]);
        args.extend(self.bins.iter().flat_map(|name| ["--bin", name]));
        let tests = self.tests.iter().filter(|name| *name != CLUSTER);
        args.extend(tests.flat_map(|name| ["--test", name]));
        args
    }
}

#[cfg(test)]
mod tests {
    use super::Targets;

    #[test]
    fn all_but_the_cluster_is_named() {
        let metadata = r#"{"packages": [
            {"name": "one", "targets": [
                {"name": "a", "kind": ["lib"], "test": true},
                {"name": "b", "kind": ["bin"], "test": true},
                {"name": "quiet", "kind": ["bin"], "test": false}
            ]},
            {"name": "iris-sim", "targets": [
                {"name": "worlds", "kind": ["test"], "test": true}
            ]},
            {"name": "other", "targets": [
                {"name": "cluster", "kind": ["test"], "test": true},
                {"name": "region", "kind": ["test"], "test": true}
            ]}
        ]}"#;
        let targets = Targets::parse(metadata).unwrap();
        assert!(targets.has_cluster());
        let line = targets.unit_arguments().join(" ");
        let packages = "--workspace --exclude iris-sim";
        let wanted =
            format!("test --release {packages} --no-fail-fast --lib --bin b --test region");
        assert_eq!(line, wanted);
    }
}

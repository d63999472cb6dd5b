//! The programs that are built for the cluster from the Go module in `e2e/cluster`: Kubernetes
//! in one binary, etcd, CoreDNS and Helm, every version fixed by that module.
//!
//! Never downloads a program: only sources, checked against the module's sums.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{cache::Key, env::Env};

const MODULE: &str = "e2e/cluster";

/// Where the programs are or will be.
pub(crate) fn dir(env: &Env) -> Result<PathBuf> {
    Ok(env.cache.entry("tools", &key(env)?))
}

/// Builds the programs, unless the cache has them. It takes minutes, all cores, and 4 GB.
pub(crate) fn build(env: &Env) -> Result<()> {
    let module = env.repo_file(MODULE);
    let flags = link_flags(&fs::read_to_string(module.join("go.mod"))?)?;
    env.cache.make("tools", &key(env)?, |dir| {
        env.cmd("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", &flags])
            .arg("-o")
            .arg(dir)
            .args(["./cmd/...", "helm.sh/helm/v3/cmd/helm"])
            .env("CGO_ENABLED", "0")
            .dir(&module)
            .run()
    })?;
    Ok(())
}

fn key(env: &Env) -> Result<Key> {
    // The compiler is left out: another one makes other bytes but not another program, and asking
    // for its version would cost each `kubectl` a process.
    Key::of_tree(&env.repo_file(MODULE))
}

/// Kubernetes tells its version only if the linker is told it.
fn link_flags(module: &str) -> Result<String> {
    let kubernetes = module
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"))
        .context("the Go module names no version of Kubernetes")?;
    let mut parts = kubernetes.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let set = |name: &str, value: &str| format!("-X k8s.io/component-base/version.{name}={value}");
    Ok(format!(
        "-s -w {} {} {}",
        set("gitVersion", &format!("v{kubernetes}")),
        set("gitMajor", major),
        set("gitMinor", minor)
    ))
}

#[cfg(test)]
mod tests {
    use super::link_flags;

    #[test]
    fn the_version_is_the_modules() {
        let module = "require (\n\tk8s.io/kubectl v0.34.4\n\tk8s.io/kubernetes v1.34.4\n)\n";
        let flags = link_flags(module).unwrap();
        assert!(flags.contains("gitVersion=v1.34.4 "), "{flags}");
        assert!(flags.ends_with("gitMinor=34"), "{flags}");
        assert!(link_flags("module x").is_err());
    }
}

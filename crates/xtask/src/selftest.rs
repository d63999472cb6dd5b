//! Checks on the running local cluster of everything that tests and faults rely on: a fault that
//! does nothing would make every test of it pass.
//!
//! Never leaves anything of its own in the cluster.

mod data;
mod faults;
mod pods;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use crate::{
    cluster::{Cluster, Place, teardown},
    cmd::Cmd,
    down,
    env::Env,
    progress::Progress,
    template::render,
};

/// The namespace of the checks' own pods.
const NAMESPACE: &str = "iris-selftest";
const MANIFEST: &str = include_str!("../../../dev/kube/selftest.yaml");

/// One check.
struct Check {
    name: &'static str,
    run: fn(&Cluster) -> Result<()>,
}

/// Runs every check, and fails if one does. With `take_down` the last one is that `down` leaves
/// nothing on the machine.
pub(crate) fn run(take_down: bool, progress: &Progress) -> Result<()> {
    let cluster = Cluster::load()?;
    cluster.heal_all()?;
    remove_pods(&cluster)?;
    make_pods(&cluster)?;
    let checks = pods::CHECKS.iter().chain(data::CHECKS).chain(faults::CHECKS);
    let mut failed = 0;
    let mut passed = 0;
    for check in checks {
        let before = Instant::now();
        let result = (check.run)(&cluster);
        // A check that failed half-way must not fail the next.
        cluster.heal_all()?;
        let seconds = before.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                passed += 1;
                progress.say(&format!("ok    {} ({seconds:.1} s)", check.name));
            }
            Err(error) => {
                failed += 1;
                progress.say(&format!("FAIL  {} ({seconds:.1} s): {error:#}", check.name));
            }
        }
    }
    remove_pods(&cluster)?;
    if take_down {
        match leaves_nothing(cluster) {
            Ok(()) => {
                passed += 1;
                progress.say("ok    down leaves nothing behind");
            }
            Err(error) => {
                failed += 1;
                progress.say(&format!("FAIL  down leaves nothing behind: {error:#}"));
            }
        }
    }
    progress.say(&format!("{passed} passed, {failed} failed"));
    ensure!(failed == 0, "{failed} of the checks failed");
    Ok(())
}

/// Two pods on two nodes and a Service of the one, all of a program that serves and can ask.
fn make_pods(cluster: &Cluster) -> Result<()> {
    let image = cluster.image("etcd").unwrap_or_default();
    let manifest = render(MANIFEST, &[("IMAGE", image)])?;
    cluster.kubectl_with(["apply", "-f", "-"], &manifest)?;
    cluster.wait(NAMESPACE, "pod/server", "condition=Ready", Duration::from_secs(60))?;
    cluster.wait(NAMESPACE, "pod/client", "condition=Ready", Duration::from_secs(60))
}

fn remove_pods(cluster: &Cluster) -> Result<()> {
    let delete = ["delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s"];
    cluster.kubectl(delete).map(drop)
}

fn leaves_nothing(cluster: Cluster) -> Result<()> {
    drop(cluster);
    down::run(false)?;
    let env = Env::open()?;
    let mut left = teardown::leftovers(&env)?;
    let kept = [env.state, PathBuf::from("/var/lib/kubelet"), PathBuf::from("/run/containerd")];
    left.extend(kept.iter().filter(|dir| dir.exists()).map(|dir| dir.display().to_string()));
    if !left.is_empty() {
        bail!("{}", left.join(", "));
    }
    Ok(())
}

/// `etcdctl` in the client's pod, so that the request goes from one node to the other.
fn ask(cluster: &Cluster, endpoint: &str, args: &[&str]) -> Result<String> {
    let exec = ["-n", NAMESPACE, "exec", "client", "--", "/etcd", "etcdctl"];
    let limits = ["--dial-timeout=2s", "--command-timeout=4s"];
    let endpoint = format!("--endpoints={endpoint}");
    cluster.kubectl(
        exec.into_iter().chain(limits).chain([endpoint.as_str()]).chain(args.iter().copied()),
    )
}

/// Whether a TCP connection opens from a place within two seconds, and how long that took.
fn connects(cluster: &Cluster, from: Place, address: &str, port: u16) -> (bool, Duration) {
    let before = Instant::now();
    let open = format!("exec 3<>/dev/tcp/{address}/{port}");
    let mut command = Cmd::new("timeout").arg("2").args(cluster.enter(from));
    command = command.args(["bash", "-c", &open]);
    (command.succeeds(), before.elapsed())
}

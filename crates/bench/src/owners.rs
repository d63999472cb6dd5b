//! Owners that die and come back, as the long measurements need them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use xtask::cluster::{Cluster, NAMESPACE, Signal};

use crate::pause;

/// After so long every shard has an owner again, whatever happened.
const SERVED_MAX: Duration = Duration::from_secs(60);
/// To look costs the machine something, and the takeover is to be measured, not the looking.
const LOOK: Duration = Duration::from_secs(1);

/// How many shards each owner serves, by its own count.
pub(crate) fn shards(cluster: &Cluster) -> Result<Vec<(String, u64)>> {
    let count = |pod: String| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let shards = cluster.metrics(&pod)?.sum("iris_owner_shards") as u64;
        Ok((pod, shards))
    };
    cluster.pods("owner")?.into_iter().map(count).collect()
}

/// Kills an owner with `kill -9` and waits until others serve its shards, and a new pod is in its place.
/// Answers when all were seen to be served, after the kill.
pub(crate) fn kill(cluster: &Cluster, owner: &str) -> Result<Duration> {
    let all: u64 = shards(cluster)?.iter().map(|(_, count)| count).sum();
    cluster.kill_container(NAMESPACE, owner, "owner", Signal::Kill)?;
    let killed = Instant::now();
    let survivors: Vec<_> = cluster.pods("owner")?.into_iter().filter(|pod| pod != owner).collect();
    loop {
        pause(LOOK);
        let served: f64 = survivors
            .iter()
            .map(|pod| Ok(cluster.metrics(pod)?.sum("iris_owner_shards")))
            .sum::<Result<f64>>()?;
        #[expect(clippy::cast_precision_loss, reason = "there are few shards")]
        if served >= all as f64 {
            break;
        }
        ensure!(killed.elapsed() < SERVED_MAX, "{served} of {all} shards are served again");
    }
    let took = killed.elapsed();
    // The kubelet waits ever longer before it starts a container that dies often; a new pod's it starts
    // at once.
    cluster.kubectl(["-n", NAMESPACE, "delete", "pod", owner, "--wait"])?;
    let there = format!("pod/{owner}");
    for condition in ["create", "condition=Ready"] {
        cluster
            .wait(NAMESPACE, &there, condition, SERVED_MAX)
            .with_context(|| format!("{owner} did not come back"))?;
    }
    Ok(took)
}

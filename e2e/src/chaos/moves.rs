//! Moves of all shards of one owner, by `IrisShardMigration`s that are under way when a fault strikes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use xtask::cluster::{Cluster, NAMESPACE};

use super::scene::Scene;
use super::shards::{REGION, Shards};

/// The quickstart's cluster.
const CLUSTER: &str = "chat";
/// The operator takes them up within this time.
const BEGIN_MAX: Duration = Duration::from_secs(30);
/// Names of moves end with a number up to this.
const NUMBERS: u64 = 900_000;

/// How moves stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Moves {
    /// Ordered.
    pub ordered: usize,
    /// The target serves.
    pub succeeded: usize,
    /// Given up, with the source or its heir serving on.
    pub failed: usize,
    /// Neither.
    pub unfinished: usize,
    /// Of those that are unfinished, the ones that somebody works at.
    pub under_way: usize,
}

/// Orders the moves and waits until some are under way.
pub(crate) fn begin(scene: &Scene, shards: &Shards, from: &str, to: &[&str]) -> Result<Moves> {
    clear(&scene.cluster)?;
    let orders = orders(shards, from, to, number());
    ensure!(!orders.is_empty(), "{from} has no shard to move");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": orders});
    scene.cluster.kubectl_with(["create", "-f", "-"], &list.to_string())?;
    scene.wait(BEGIN_MAX, 0.05, || {
        let moves = now(&scene.cluster)?;
        ensure!(moves.unfinished > 0, "all {} moves ended before the fault", moves.ordered);
        ensure!(moves.under_way > 0 || moves.succeeded > 0, "no move is under way");
        Ok(moves)
    })
}

/// How they stand now.
pub(crate) fn now(cluster: &Cluster) -> Result<Moves> {
    let get = ["-n", NAMESPACE, "get", "irm", "--request-timeout=10s", "-o", "json"];
    Ok(count(&serde_json::from_str(&cluster.kubectl(get)?)?))
}

/// Removes all of them.
pub(crate) fn clear(cluster: &Cluster) -> Result<()> {
    let delete = ["-n", NAMESPACE, "delete", "irm", "--all", "--wait", "--timeout=60s"];
    cluster.kubectl(delete).map(drop).context("the moves of before do not go")
}

/// One of each shard, to the targets in turn. A name is used once for ever, so `number` is new each time.
fn orders(shards: &Shards, from: &str, to: &[&str], number: u64) -> Vec<Value> {
    let targets = to.iter().cycle();
    let orders = shards.of(from).zip(targets).map(|((shard, epoch), target)| {
        json!({
            "apiVersion": "iris.dev/v1alpha1",
            "kind": "IrisShardMigration",
            "metadata": {"name": format!("m-{shard}-e{epoch}-{number}"), "namespace": NAMESPACE},
            "spec": {
                "clusterRef": {"name": CLUSTER},
                "shard": shard,
                "source": {"region": REGION, "owner": from, "epoch": epoch},
                "target": {"region": REGION, "owner": target},
            },
        })
    });
    orders.collect()
}

/// Different for each run within ten days, and never zero.
fn number() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    1 + since.as_secs() % NUMBERS
}

fn count(list: &Value) -> Moves {
    let mut moves = Moves::default();
    for status in list["items"].as_array().into_iter().flatten().map(|item| &item["status"]) {
        moves.ordered += 1;
        match status["result"].as_str() {
            Some("Succeeded") => moves.succeeded += 1,
            Some(_) => moves.failed += 1,
            None => {
                moves.unfinished += 1;
                let waits = matches!(status["step"].as_str(), None | Some("Pending" | "Planned"));
                moves.under_way += usize::from(!waits);
            }
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_counted_by_how_they_stand() {
        let list = json!({"items": [
            {"status": {"step": "Succeeded", "result": "Succeeded"}},
            {"status": {"step": "Failed", "result": "Failed"}},
            {"status": {"step": "HandingOff"}},
            {"status": {"step": "Planned"}},
            {},
        ]});
        let wanted = Moves { ordered: 5, succeeded: 1, failed: 1, unfinished: 3, under_way: 1 };
        assert_eq!(count(&list), wanted);
    }

    #[test]
    fn a_number_is_one_that_names_may_have() {
        assert!((1..=NUMBERS).contains(&number()));
    }
}

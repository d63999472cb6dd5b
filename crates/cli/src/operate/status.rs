//! `kubectl iris status`.

use iris_crds::conditions::{Condition, find};
use iris_crds::{IrisCluster, IrisEdgePool, IrisRegion, IrisShardMap, IrisShardMigration};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Output, table};

use super::args::{Global, Status};
use super::cluster::{Cluster, Objects};
use super::plan::held;
use super::problems::{Problem, problems};

pub(super) async fn run(
    global: &Global,
    args: &Status,
    output: &mut Output,
) -> Result<(), Failure> {
    let cluster = Cluster::connect(global).await?;
    let objects = match cluster.objects(!cluster.named).await {
        // Whoever may not look everywhere may look at home.
        Err(failure) if !cluster.named => cluster.objects(false).await.map_err(|_| failure)?,
        other => other?,
    };
    let problems = problems(&objects);
    let mut text = page(&objects, args.shards);
    text.push_str(&wrong(&problems));
    output.result(text.trim_end(), &value(&objects, &problems, args.shards))?;
    if args.check && !problems.is_empty() { Err(Failure::told()) } else { Ok(()) }
}

fn page(objects: &Objects, shards: bool) -> String {
    let mut page = String::new();
    let mut section = |heads: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            page.push_str(&table(heads, &rows));
            page.push_str("\n\n");
        }
    };
    section(
        &["CLUSTER", "NAMESPACE", "AVAILABLE", "SHARDS", "REGIONS", "OWNERS", "EDGES"],
        objects.clusters.iter().map(of_cluster).collect(),
    );
    section(
        &["REGION", "AVAILABLE", "OWNERS", "CONTROL", "SERVING", "EDGES", "LEADER"],
        objects.regions.iter().map(of_region).collect(),
    );
    section(
        &["OWNER", "REGION", "STATE", "SHARDS", "WHICH", "NODE"],
        objects.regions.iter().flat_map(|region| of_owners(region, &objects.maps)).collect(),
    );
    section(
        &["POOL", "AVAILABLE", "READY", "CONNECTIONS", "ADDRESS"],
        objects.pools.iter().map(of_pool).collect(),
    );
    section(
        &["MAP", "REGION", "SERVING", "IMBALANCE", "MODE", "PROPOSED"],
        objects.maps.iter().map(of_map).collect(),
    );
    if shards {
        section(
            &["SHARD", "REGION", "OWNER", "EPOCH"],
            objects.maps.iter().flat_map(of_shards).collect(),
        );
    }
    section(&["MOVE", "SHARD", "FROM", "TO", "STEP"], under_way(objects).map(of_move).collect());
    page
}

fn wrong(problems: &[Problem]) -> String {
    if problems.is_empty() {
        return "Nothing is wrong.".to_owned();
    }
    let lines = problems.iter().map(|problem| format!("  {}: {}", problem.object, problem.text));
    format!("What is wrong:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

fn under_way(objects: &Objects) -> impl Iterator<Item = &IrisShardMigration> {
    objects
        .moves
        .iter()
        .filter(|one| one.status.as_ref().is_none_or(|status| status.result.is_none()))
}

fn state(conditions: Option<&Vec<Condition>>, kind: &str) -> String {
    let found = conditions.and_then(|conditions| find(conditions, kind));
    found.map_or_else(|| "Unknown".to_owned(), |condition| format!("{:?}", condition.status))
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn of_cluster(cluster: &IrisCluster) -> Vec<String> {
    let status = cluster.status.as_ref();
    let summary = status.and_then(|status| status.summary.as_ref());
    vec![
        cluster.name_any(),
        cluster.namespace().unwrap_or_default(),
        state(status.map(|status| &status.conditions), "Available"),
        cluster.spec.shard_count.to_string(),
        or_dash(summary.map(|summary| &summary.regions)),
        or_dash(summary.map(|summary| &summary.owners)),
        or_dash(summary.map(|summary| &summary.edges)),
    ]
}

fn of_region(region: &IrisRegion) -> Vec<String> {
    let status = region.status.as_ref();
    let summary = status.and_then(|status| status.summary.as_ref());
    vec![
        region.name_any(),
        state(status.map(|status| &status.conditions), "Available"),
        or_dash(summary.map(|summary| &summary.owners)),
        or_dash(summary.map(|summary| &summary.control_plane)),
        or_dash(summary.map(|summary| &summary.serving)),
        or_dash(status.map(|status| status.edges)),
        or_dash(status.and_then(|status| status.leader.as_ref())),
    ]
}

fn of_owners(region: &IrisRegion, maps: &[IrisShardMap]) -> Vec<Vec<String>> {
    let name = region.name_any();
    let map = maps.iter().find(|map| map.spec.region_ref.name == name);
    let shares = map.and_then(|map| map.status.as_ref()).map(|status| status.owners.as_slice());
    let instances = region.status.iter().flat_map(|status| &status.instances);
    let row = |instance: &iris_crds::region::Instance| {
        let share = shares.unwrap_or_default().iter().find(|share| share.owner == instance.name);
        vec![
            instance.name.clone(),
            name.clone(),
            instance.state.clone(),
            instance.shards.to_string(),
            or_dash(share.map(|share| &share.shards)),
            or_dash(instance.node.as_ref()),
        ]
    };
    instances.map(row).collect()
}

fn of_pool(pool: &IrisEdgePool) -> Vec<String> {
    let status = pool.status.as_ref();
    vec![
        pool.name_any(),
        state(status.map(|status| &status.conditions), "Available"),
        or_dash(status.and_then(|status| status.summary.as_ref())),
        or_dash(status.and_then(|status| status.connections)),
        or_dash(status.and_then(|status| status.address.as_ref())),
    ]
}

fn of_map(map: &IrisShardMap) -> Vec<String> {
    let status = map.status.as_ref();
    let imbalance = status.and_then(|status| status.imbalance_percent);
    vec![
        map.name_any(),
        map.spec.region_ref.name.clone(),
        or_dash(status.and_then(|status| status.summary.as_ref())),
        or_dash(imbalance.map(|percent| format!("{percent}%"))),
        format!("{:?}", map.spec.rebalance.mode),
        or_dash(status.and_then(|status| status.proposed)),
    ]
}

fn of_shards(map: &IrisShardMap) -> Vec<Vec<String>> {
    let ranges = map.status.iter().flat_map(|status| held(&status.ranges));
    let row = |held: super::plan::Held| {
        vec![
            held.shard.to_string(),
            map.spec.region_ref.name.clone(),
            or_dash(held.owner),
            held.epoch.to_string(),
        ]
    };
    ranges.map(row).collect()
}

fn of_move(one: &IrisShardMigration) -> Vec<String> {
    let step = one.status.as_ref().and_then(|status| status.step);
    vec![
        one.name_any(),
        one.spec.shard.to_string(),
        one.spec.source.owner.clone(),
        one.spec.target.owner.clone(),
        step.map_or_else(|| "Pending".to_owned(), |step| format!("{step:?}")),
    ]
}

fn value(objects: &Objects, problems: &[Problem], shards: bool) -> Value {
    let named = |name: String, namespace: Option<String>, rest: Value| {
        let mut value = rest;
        value["name"] = name.into();
        value["namespace"] = namespace.into();
        value
    };
    let clusters = objects.clusters.iter().map(|cluster| {
        let conditions = cluster.status.as_ref().map(|status| &status.conditions);
        let rest = json!({
            "available": state(conditions, "Available"),
            "shards": cluster.spec.shard_count,
        });
        named(cluster.name_any(), cluster.namespace(), rest)
    });
    let regions = objects.regions.iter().map(|region| {
        let status = region.status.as_ref();
        let rest = json!({
            "cluster": region.spec.cluster_ref.name,
            "available": state(status.map(|status| &status.conditions), "Available"),
            "leader": status.and_then(|status| status.leader.as_ref()),
            "edges": status.map(|status| status.edges),
            "shards": status.and_then(|status| status.shards),
            "owners": status.map(|status| &status.instances),
        });
        named(region.name_any(), region.namespace(), rest)
    });
    let pools = objects.pools.iter().map(|pool| {
        let status = pool.status.as_ref();
        let rest = json!({
            "region": pool.spec.region_ref.name,
            "available": state(status.map(|status| &status.conditions), "Available"),
            "ready": status.map(|status| status.ready_replicas),
            "connections": status.and_then(|status| status.connections),
            "address": status.and_then(|status| status.address.as_ref()),
        });
        named(pool.name_any(), pool.namespace(), rest)
    });
    let maps = objects.maps.iter().map(|map| {
        let status = map.status.as_ref();
        let mut rest = json!({
            "region": map.spec.region_ref.name,
            "serving": status.and_then(|status| status.summary.as_ref()),
            "imbalance_percent": status.and_then(|status| status.imbalance_percent),
            "owners": status.map(|status| &status.owners),
        });
        if shards {
            rest["ranges"] = json!(status.map(|status| &status.ranges));
        }
        named(map.name_any(), map.namespace(), rest)
    });
    let moves = under_way(objects).map(|one| {
        let rest = json!({
            "shard": one.spec.shard,
            "from": one.spec.source.owner,
            "to": one.spec.target.owner,
            "step": one.status.as_ref().and_then(|status| status.step),
        });
        named(one.name_any(), one.namespace(), rest)
    });
    json!({
        "ok": problems.is_empty(),
        "clusters": clusters.collect::<Vec<_>>(),
        "regions": regions.collect::<Vec<_>>(),
        "pools": pools.collect::<Vec<_>>(),
        "maps": maps.collect::<Vec<_>>(),
        "moves": moves.collect::<Vec<_>>(),
        "problems": problems,
    })
}

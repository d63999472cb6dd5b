//! `kubectl iris migrate`.

use std::collections::BTreeSet;

use iris_crds::common::LocalRef;
use iris_crds::migration::{Approval, ApprovalMode, IrisShardMigrationSpec, Soak, Source, Target};
use iris_crds::{IrisRegion, IrisShardMap, IrisShardMigration};
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{Output, table};

use super::args::{Global, Migrate};
use super::cluster::{Cluster, Objects, explained};
use super::follow;
use super::plan::{Move, Wish, after, held, name, plan};

/// Owners in these states take shards.
const TAKING: [&str; 2] = ["Serving", "Idle"];
/// Names that are taken meanwhile by somebody else.
const NAME_TRIES: u32 = 5;

/// Orders moves of one region.
pub(super) struct Orders {
    pub(super) api: Api<IrisShardMigration>,
    cluster: String,
    region: String,
    approval: Approval,
    soak: Soak,
    taken: BTreeSet<String>,
}

pub(super) async fn run(
    global: &Global,
    args: Migrate,
    output: &mut Output,
) -> Result<(), Failure> {
    let cluster = Cluster::connect(global).await?;
    let objects = cluster.objects(false).await?;
    let (map, region) = one_region(&objects, args.region.as_deref(), &cluster.namespace)?;
    let status = map.status.clone().unwrap_or_default();
    if status.ranges.is_empty() || status.truncated {
        return Err(Failure::new(format!("the map {} does not show every shard", map.name_any()))
            .hint("wait until `kubectl iris status` shows the region as available"));
    }
    let wish = match args.shard {
        Some(shard) => Wish::One { shard, to: args.to.clone().unwrap_or_default() },
        None => Wish::All { to: args.to.clone() },
    };
    let held = after(held(&status.ranges), &objects.moves, &region.name_any());
    let (moves, notes) = plan(&held, &owners(region), &wish).map_err(|error| {
        Failure::new(error).hint("`kubectl iris status` shows owners and shards")
    })?;
    for note in notes {
        output.note(&note);
    }
    if args.dry_run {
        return tell_plan(output, &moves);
    }
    let mut orders = Orders {
        api: cluster.api(),
        cluster: region.spec.cluster_ref.name.clone(),
        region: region.name_any(),
        approval: Approval {
            mode: if args.manual { ApprovalMode::Manual } else { ApprovalMode::Automatic },
            plan_hash: None,
        },
        soak: Soak {
            seconds: args.soak.map_or(0, |soak| u32::try_from(soak.as_secs()).unwrap_or(u32::MAX)),
        },
        taken: objects.moves.iter().map(IrisShardMigration::name_any).collect(),
    };
    if args.wait {
        return follow::run(orders, moves, &args, output).await;
    }
    let mut names = Vec::new();
    for a_move in &moves {
        names.push(orders.order(a_move).await?);
    }
    let next = match names.as_slice() {
        [one] => format!("kubectl get irm {one} -n {} -w", cluster.namespace),
        _ => format!("kubectl get irm -n {} -w", cluster.namespace),
    };
    output.result(&names.join("\n"), &json!({"ordered": names}))?;
    output.note(&format!("ordered; to watch: {next}"));
    Ok(())
}

impl Orders {
    /// Creates the object of a move. Answers its name.
    pub(super) async fn order(&mut self, a_move: &Move) -> Result<String, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let name = name(a_move, &self.taken);
            let object = IrisShardMigration::new(&name, self.spec(a_move));
            self.taken.insert(name.clone());
            match self.api.create(&PostParams::default(), &object).await {
                Ok(_) => return Ok(name),
                Err(kube::Error::Api(status)) if status.code == 409 && tries < NAME_TRIES => {}
                Err(error) => return Err(explained(&error)),
            }
        }
    }

    fn spec(&self, a_move: &Move) -> IrisShardMigrationSpec {
        let region = || self.region.clone();
        IrisShardMigrationSpec {
            cluster_ref: LocalRef { name: self.cluster.clone() },
            shard: a_move.shard,
            source: Source { region: region(), owner: a_move.from.clone(), epoch: a_move.epoch },
            target: Target { region: region(), owner: a_move.to.clone() },
            outcome: Default::default(),
            paused: false,
            approval: self.approval.clone(),
            fence: Default::default(),
            verify: Default::default(),
            soak: self.soak.clone(),
            ttl_seconds_after_finished: None,
        }
    }
}

/// The map and region that are meant.
fn one_region<'a>(
    objects: &'a Objects,
    named: Option<&str>,
    namespace: &str,
) -> Result<(&'a IrisShardMap, &'a IrisRegion), Failure> {
    let of = |map: &IrisShardMap| map.spec.region_ref.name.clone();
    let maps: Vec<_> =
        objects.maps.iter().filter(|map| named.is_none_or(|named| of(map) == named)).collect();
    let map = match maps.as_slice() {
        [map] => *map,
        [] => {
            let which = named.map_or_else(String::new, |named| format!(" of region {named}"));
            return Err(Failure::new(format!("there is no shard map{which} in {namespace}"))
                .hint("name another namespace with -n; `kubectl get irsm -A` lists all maps"));
        }
        several => {
            let regions: Vec<_> = several.iter().map(|map| of(map)).collect();
            return Err(Failure::new(format!("there are several regions: {}", regions.join(", ")))
                .hint("say which one with --region"));
        }
    };
    let region = objects.regions.iter().find(|region| region.name_any() == of(map));
    let region = region.ok_or_else(|| {
        Failure::new(format!(
            "the map {} is of region {}, which is not there",
            map.name_any(),
            of(map)
        ))
    })?;
    Ok((map, region))
}

fn owners(region: &IrisRegion) -> Vec<String> {
    let instances = region.status.iter().flat_map(|status| &status.instances);
    let taking = instances.filter(|instance| TAKING.contains(&instance.state.as_str()));
    let mut names: Vec<_> = taking.map(|instance| instance.name.clone()).collect();
    names.sort();
    names
}

fn tell_plan(output: &mut Output, moves: &[Move]) -> Result<(), Failure> {
    let rows: Vec<_> = moves
        .iter()
        .map(|a| vec![a.shard.to_string(), a.from.clone(), a.to.clone(), a.epoch.to_string()])
        .collect();
    let mut text = table(&["SHARD", "FROM", "TO", "EPOCH"], &rows);
    text.push_str(&format!("\n{} moves; nothing was ordered (--dry-run)", moves.len()));
    output.result(&text, &json!({"dry_run": true, "moves": moves}))
}

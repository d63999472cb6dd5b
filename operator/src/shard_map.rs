//! `IrisShardMap`: tells the control plane what people want of placement, and people what it does.
//!
//! Never moves a shard: the control plane places those without an owner, and people move the others.

mod proposals;
mod report;

use std::sync::Arc;
use std::time::Duration;

use iris_crds::{IrisCluster, IrisRegion, IrisShardMap};
use iris_proto::control::{Pin, Placement, RegionState};
use kube::ResourceExt;
use tokio::time::Instant;

use crate::context::Context;
use crate::controller::{Next, Reconciler};
use crate::error::Error;
use crate::region::name_of;
use crate::{gate, status};

/// How often the control plane is asked: while every shard is served, and while something moves.
const REST: Duration = Duration::from_secs(5);
const UNDERWAY: Duration = Duration::from_secs(1);

/// Looks after shard maps.
#[derive(Debug, Clone, Copy)]
pub struct ShardMapReconciler;

/// What was found.
struct Seen {
    /// What the control plane says, or why it says nothing.
    state: Result<Arc<RegionState>, String>,
    /// Whether it has taken over what people want.
    placed: Result<(), Error>,
}

impl Reconciler for ShardMapReconciler {
    type Kind = IrisShardMap;

    async fn reconcile(&self, context: &Context, map: Arc<IrisShardMap>) -> Result<Next, Error> {
        if map.metadata.deletion_timestamp.is_some() {
            return Ok(Next::OnChange);
        }
        let namespace = map.namespace().unwrap_or_default();
        let region_name = &map.spec.region_ref.name;
        let region = gate::region(&context.stores, &namespace, region_name)?;
        let cluster = gate::cluster(&context.stores, &namespace, &region.spec.cluster_ref.name)?;
        check_alone(context, &map)?;
        let seen = observe(context, &cluster, &region, &map).await;
        let (status, settled) = report::report(&cluster, &map, &seen, context.now());
        status::write(&context.client, &*map, &status, None).await?;
        let moving = !context.stores.moves_in(&namespace, region_name).is_empty();
        Ok(match seen.placed {
            Err(error) => Next::Held(error),
            Ok(()) if settled && !moving => Next::After(REST),
            Ok(()) => Next::After(UNDERWAY),
        })
    }
}

/// Two maps would undo each other: the older one counts.
fn check_alone(context: &Context, map: &IrisShardMap) -> Result<(), Error> {
    let namespace = map.namespace().unwrap_or_default();
    let region = &map.spec.region_ref.name;
    let age = |map: &IrisShardMap| {
        (map.metadata.creation_timestamp.clone().map(|time| time.0), map.name_any())
    };
    let maps = context.stores.maps_of(&namespace, region);
    match maps.iter().find(|other| age(other) < age(map)) {
        None => Ok(()),
        Some(older) => Err(Error::blocked(
            "RegionHasAMap",
            format!(
                "IrisShardMap {} is the map of region {region} already: change that one, and delete \
                 this one",
                older.name_any()
            ),
        )),
    }
}

async fn observe(
    context: &Context,
    cluster: &IrisCluster,
    region: &IrisRegion,
    map: &IrisShardMap,
) -> Seen {
    let name = name_of(cluster, region);
    let placed = match placement(cluster, region, Some(map)) {
        Err(error) => Err(error),
        Ok(placement) => context
            .control
            .set_placement(&name, placement)
            .await
            .map_err(|error| Error::waiting("ControlPlaneSilent", error.to_string())),
    };
    let state = context.control.describe_since(&name, Instant::now()).await;
    Seen { state: state.map_err(|error| error.to_string()), placed }
}

/// What people want of placement, as the control plane takes it. Without a map there are no wishes.
pub(crate) fn placement(
    cluster: &IrisCluster,
    region: &IrisRegion,
    map: Option<&IrisShardMap>,
) -> Result<Placement, Error> {
    let mut wanted =
        Placement { expected_owners: region.spec.owners.replicas, ..Placement::default() };
    let Some(map) = map else { return Ok(wanted) };
    let shards = cluster.spec.shard_count;
    let mut pins = map.spec.placement.pins.clone();
    pins.sort_by_key(|pin| pin.first);
    for (n, pin) in pins.iter().enumerate() {
        let invalid = |why: String| {
            let pin = format!("{}-{} to {}", pin.first, pin.last, pin.owner);
            Err(Error::blocked(
                "InvalidPlacement",
                format!("spec.placement.pins: {pin}: {why}. No pin is taken over until then"),
            ))
        };
        if pin.last >= shards {
            return invalid(format!("the cluster has the shards 0-{}", shards - 1));
        }
        if let Some(before) = n.checked_sub(1).and_then(|n| pins.get(n))
            && before.last >= pin.first
        {
            return invalid(format!("shard {} is pinned twice", pin.first));
        }
    }
    wanted.generation = u64::try_from(map.metadata.generation.unwrap_or_default()).unwrap_or(0);
    let pin = |pin: iris_crds::shard_map::Pin| Pin {
        first_shard: pin.first,
        last_shard: pin.last,
        pod: pin.owner,
    };
    wanted.pins = pins.into_iter().map(pin).collect();
    wanted.cordoned_pods.clone_from(&map.spec.placement.cordoned);
    Ok(wanted)
}

#[cfg(test)]
mod tests;

//! `IrisRegion`: a control plane and owners, and what the control plane says of them.
//!
//! A new template of the owners waits in their StatefulSet: they are restarted one after the other, each
//! emptied first, by [`restart`].

mod build;
mod observe;
mod report;
mod restart;

use std::sync::Arc;
use std::time::Duration;

use iris_crds::cluster::Profile;
use iris_crds::{IrisCluster, IrisRegion};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::ResourceExt;

use crate::apply::Owner;
use crate::context::Context;
use crate::controller::{Next, Reconciler};
use crate::error::Error;
use crate::gate::{self, ReadyCluster};
use crate::secrets::{self, Need};
use crate::{cluster, shard_map, status};
pub(crate) use build::{budget, gently, said_of, selector};
pub(crate) use observe::{count, name_of};
use restart::Turn;

/// How often the control plane is asked at rest.
const REST: Duration = Duration::from_secs(20);
/// How often while something is on its way.
const UNDERWAY: Duration = Duration::from_secs(3);

/// Looks after regions.
#[derive(Debug, Clone, Copy)]
pub struct RegionReconciler;

impl Reconciler for RegionReconciler {
    type Kind = IrisRegion;

    async fn reconcile(&self, context: &Context, region: Arc<IrisRegion>) -> Result<Next, Error> {
        if region.metadata.deletion_timestamp.is_some() {
            return Ok(Next::OnChange);
        }
        if region.spec.paused {
            let status = report::paused(&region, context.now());
            status::write(&context.client, &*region, &status, None).await?;
            return Ok(Next::OnChange);
        }
        let namespace = region.namespace().unwrap_or_default();
        let cluster = gate::cluster(&context.stores, &namespace, &region.spec.cluster_ref.name)?;
        // What runs is told of in any case; what holds changes back is told beside it.
        let applied = act(context, &cluster, &region).await;
        let seen = observe::observe(context, &cluster, &region).await?;
        if seen.state.is_ok() && context.stores.maps_of(&namespace, &region.name_any()).is_empty() {
            place(context, &cluster, &region).await;
        }
        let (applied, turn) = roll(context, &region, &seen, applied).await;
        let facts = report::Facts { cluster: &cluster, region: &region, seen: &seen, turn: &turn };
        let (status, settled) = report::report(&facts, &applied, context.now());
        status::write(&context.client, &*region, &status, None).await?;
        Ok(match applied {
            Err(error) => Next::Held(error),
            Ok(_) if settled => Next::After(REST),
            Ok(_) => Next::After(UNDERWAY),
        })
    }
}

/// Without a map nobody wants anything of placement, whatever a map wanted that was there before.
async fn place(context: &Context, cluster: &IrisCluster, region: &IrisRegion) {
    let Ok(wanted) = shard_map::placement(cluster, region, None) else { return };
    if let Err(error) = context.control.set_placement(&name_of(cluster, region), wanted).await {
        tracing::info!(region = region.name_any(), %error, "placement was not told");
    }
}

/// Goes on with the owners' restarts, unless something holds changes back.
async fn roll(
    context: &Context,
    region: &IrisRegion,
    seen: &observe::Seen,
    applied: Result<Applied, Error>,
) -> (Result<Applied, Error>, Turn) {
    let turn = restart::turn(seen);
    let applied = match applied {
        Ok(applied) => applied,
        Err(error) => {
            let held = match turn {
                Turn::Nobody => Turn::Nobody,
                Turn::Waits(_) | Turn::Next { .. } => {
                    Turn::Waits("changes are held back".to_owned())
                }
            };
            return (Err(error), held);
        }
    };
    match restart::take(context, region, turn).await {
        Ok(turn) => (Ok(applied), turn),
        Err(error) => {
            let held = Turn::Waits(error.to_string());
            (Err(error), held)
        }
    }
}

/// What waits to be let through, by workload.
#[derive(Debug, Default)]
struct Applied {
    waiting: Vec<String>,
}

async fn act(
    context: &Context,
    cluster: &Arc<IrisCluster>,
    region: &IrisRegion,
) -> Result<Applied, Error> {
    gate::check_running(cluster)?;
    let owner = Owner::of(region);
    for account in build::accounts(cluster, region, &owner) {
        context.applier.apply(&owner, &account).await?;
    }
    secrets::check(&context.client, &owner.namespace, &needs(cluster, region)).await?;
    let ready = gate::ready(Arc::clone(cluster))?;
    validate(&ready, region)?;
    let built =
        build::Builder { ready: &ready, region, owner: &owner, built_in: &context.built_in };
    context.applier.apply(&owner, &built.config()?).await?;
    for service in built.services() {
        context.applier.apply(&owner, &service).await?;
    }
    for budget in built.budgets() {
        context.applier.apply(&owner, &budget).await?;
    }
    let mut applied = Applied::default();
    let client = &context.client;
    let name = build::control_plane_name(region);
    let live = observe::annotations::<Deployment>(client, &owner, &name).await?;
    let (deployment, waiting) = built.control_plane(live.as_ref())?;
    context.applier.apply(&owner, &deployment).await?;
    applied.waiting.extend(waiting.map(|what| format!("control plane: {what}")));
    let name = build::owners_name(region);
    let live = observe::annotations::<StatefulSet>(client, &owner, &name).await?;
    let (set, waiting) = built.owners(live.as_ref())?;
    context.applier.apply(&owner, &set).await?;
    applied.waiting.extend(waiting.map(|what| format!("owners: {what}")));
    Ok(applied)
}

/// The Secrets of people's that pods of this region mount.
fn needs(cluster: &IrisCluster, region: &IrisRegion) -> Vec<Need> {
    let etcd = region.spec.etcd.tls.as_ref().map(|tls| Need {
        name: tls.secret_ref.name.clone(),
        keys: &["ca.crt", "tls.crt", "tls.key"],
        field: "spec.etcd.tls.secretRef",
    });
    cluster::needs(cluster).into_iter().chain(etcd).collect()
}

/// What the API server cannot check, because it is about two objects.
fn validate(ready: &ReadyCluster, region: &IrisRegion) -> Result<(), Error> {
    let single = [
        ("spec.controlPlane.replicas", region.spec.control_plane.replicas, 2),
        ("spec.owners.replicas", region.spec.owners.replicas, 2),
    ];
    if ready.cluster.spec.profile == Profile::Production {
        for (field, replicas, least) in single {
            if replicas < least {
                return Err(Error::blocked(
                    "TooFewReplicas",
                    format!(
                        "{field} is {replicas}, and profile Production needs at least {least}: \
                     one must go on when another ends. Raise it, or set profile Development \
                     in IrisCluster {}",
                        ready.cluster.name_any()
                    ),
                ));
            }
        }
    }
    if region.spec.owners.replicas > ready.cluster.spec.shard_count {
        return Err(Error::blocked(
            "MoreOwnersThanShards",
            format!(
                "spec.owners.replicas is {}, and the cluster has {} shards: an owner without a shard \
             does nothing",
                region.spec.owners.replicas, ready.cluster.spec.shard_count
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;

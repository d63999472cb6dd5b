//! What there is of a region: its workloads, why pods do not run, and what its control plane says.
//! What could not be asked is unknown, never zero.

use std::collections::BTreeMap;

use iris_crds::{IrisCluster, IrisRegion};
use iris_proto::control::RegionState;
use iris_runtime::tls::Role;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use super::build;
use super::restart::OwnerPod;
use crate::apply::{Owner, Part};
use crate::context::Context;
use crate::control::RegionName;
use crate::error::{Error, Tried};
use crate::names;
use crate::troubles;

/// What there is of a region.
pub(super) struct Seen {
    pub(super) control_plane: Workload,
    pub(super) owners: Workload,
    /// Why pods do not run.
    pub(super) troubles: Vec<String>,
    /// What the control plane says, or why it says nothing.
    pub(super) state: Result<RegionState, String>,
    /// The owners' pods, while not all of them run the template that is wanted now.
    pub(super) pods: BTreeMap<String, OwnerPod>,
}

/// Pods of a workload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) wanted: u32,
    pub(super) running: u32,
    pub(super) ready: u32,
    /// Whether all that run have the template that is wanted now.
    pub(super) updated: u32,
}

pub(super) async fn observe(
    context: &Context,
    cluster: &IrisCluster,
    region: &IrisRegion,
) -> Result<Seen, Error> {
    let namespace = region.namespace().unwrap_or_default();
    let client = &context.client;
    let deployment: Option<Deployment> =
        read(client, &namespace, &build::control_plane_name(region)).await?;
    let set: Option<StatefulSet> = read(client, &namespace, &build::owners_name(region)).await?;
    let control_plane = deployment_of(deployment.as_ref(), region.spec.control_plane.replicas);
    let owners = set_of(set.as_ref(), region.spec.owners.replicas);
    let mut found = Vec::new();
    for (workload, role) in [(control_plane, Role::ControlPlane), (owners, Role::Owner)] {
        if workload.running > 0 && workload.ready < workload.running {
            let labels = build::labels(&cluster.name_any(), region, role);
            let selector = names::selector_text(&labels.selector());
            found.extend(troubles::of_pods(client, &namespace, &selector).await?);
        }
    }
    let pods = owner_pods(client, cluster, region, set.as_ref()).await?;
    let state = ask(context, cluster, region, control_plane).await;
    Ok(Seen { control_plane, owners, troubles: found, state, pods })
}

/// What the control plane says. Without a pod of it there is nobody to ask.
async fn ask(
    context: &Context,
    cluster: &IrisCluster,
    region: &IrisRegion,
    control_plane: Workload,
) -> Result<RegionState, String> {
    if control_plane.running == 0 {
        return Err("no control plane pod exists yet".to_owned());
    }
    let name = name_of(cluster, region);
    context.control.describe(&name).await.map_err(|error| error.to_string())
}

/// How the control plane of a region is called.
pub(crate) fn name_of(cluster: &IrisCluster, region: &IrisRegion) -> RegionName {
    RegionName {
        namespace: region.namespace().unwrap_or_default(),
        cluster: cluster.name_any(),
        region: region.name_any(),
    }
}

/// Which owner pods run the template that is wanted now: looked at only while some do not.
async fn owner_pods(
    client: &Client,
    cluster: &IrisCluster,
    region: &IrisRegion,
    set: Option<&StatefulSet>,
) -> Result<BTreeMap<String, OwnerPod>, Error> {
    let status = set.and_then(|set| set.status.as_ref());
    let Some(status) = status else { return Ok(BTreeMap::new()) };
    let wanted = status.update_revision.clone().unwrap_or_default();
    if status.updated_replicas.unwrap_or_default() >= status.replicas {
        return Ok(BTreeMap::new());
    }
    let namespace = region.namespace().unwrap_or_default();
    let labels = build::labels(&cluster.name_any(), region, Role::Owner);
    let selector = names::selector_text(&labels.selector());
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let pods = api.list(&ListParams::default().labels(&selector)).await;
    let pods = pods.tried(|| "cannot list the owners' pods".to_owned())?;
    let of = |pod: &Pod| OwnerPod {
        uid: pod.uid().unwrap_or_default(),
        updated: pod.labels().get("controller-revision-hash") == Some(&wanted),
        ready: is_ready(pod),
        leaving: pod.metadata.deletion_timestamp.is_some(),
    };
    Ok(pods.items.iter().map(|pod| (pod.name_any(), of(pod))).collect())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    let ready = |one: &PodCondition| one.type_ == "Ready" && one.status == "True";
    conditions.is_some_and(|conditions| conditions.iter().any(ready))
}

/// The annotations of a workload as it is, for what was written down with it.
pub(crate) async fn annotations<K: Part>(
    client: &Client,
    owner: &Owner,
    name: &str,
) -> Result<Option<BTreeMap<String, String>>, Error> {
    let api: Api<K> = Api::namespaced(client.clone(), &owner.namespace);
    let found = api.get_metadata_opt(name).await;
    let found = found.tried(|| format!("cannot read {} {name}", K::kind(&())))?;
    // Somebody else's annotations say nothing of ours.
    Ok(found.filter(|found| owner.owns(&found.metadata)).map(|found| found.annotations().clone()))
}

async fn read<K: Part>(client: &Client, namespace: &str, name: &str) -> Result<Option<K>, Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.get_opt(name).await.tried(|| format!("cannot read {} {namespace}/{name}", K::kind(&())))
}

pub(crate) fn count(number: Option<i32>) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
}

fn deployment_of(deployment: Option<&Deployment>, wanted: u32) -> Workload {
    let Some(status) = deployment.and_then(|deployment| deployment.status.as_ref()) else {
        return Workload { wanted, ..Workload::default() };
    };
    // What its controller has not seen yet, no pod has.
    let generation = deployment.and_then(|deployment| deployment.metadata.generation);
    let is_seen = status.observed_generation >= generation;
    Workload {
        wanted,
        running: count(status.replicas),
        ready: count(status.ready_replicas),
        updated: if is_seen { count(status.updated_replicas) } else { 0 },
    }
}

fn set_of(set: Option<&StatefulSet>, wanted: u32) -> Workload {
    let Some(status) = set.and_then(|set| set.status.as_ref()) else {
        return Workload { wanted, ..Workload::default() };
    };
    Workload {
        wanted,
        running: u32::try_from(status.replicas).unwrap_or_default(),
        ready: count(status.ready_replicas),
        updated: count(status.updated_replicas),
    }
}

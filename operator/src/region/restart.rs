//! Owners that run an older template, restarted one after the other. Kubernetes leaves them alone (their set
//! is `OnDelete`): an owner has shards. One that is asked to end has them moved to the others first.
//!
//! Never asks one while anything else of the region is not whole, or is not known to be: what goes wrong
//! with the first one restarted stops the rest.

use std::collections::BTreeMap;

use iris_crds::IrisRegion;
use iris_proto::control::{OwnerState, RegionState, ShardPhase};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use serde_json::Value;

use super::observe::{Seen, Workload};
use super::report::is_silent;
use crate::context::Context;
use crate::error::{Error, Tried};

/// An owner's pod, while not all of them are of the template that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct OwnerPod {
    pub(super) uid: String,
    /// Of the template that is wanted.
    pub(super) updated: bool,
    pub(super) ready: bool,
    /// It was asked to end.
    pub(super) leaving: bool,
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// All are of the template that is wanted.
    Nobody,
    /// Somebody's, once this is over.
    Waits(String),
    /// This pod's.
    Next {
        /// Its name.
        pod: String,
        /// Exactly this one, and none that has taken its name meanwhile.
        uid: String,
    },
}

impl Turn {
    /// For people; nothing when nobody is left.
    pub(super) fn words(&self, pods: &BTreeMap<String, OwnerPod>) -> Option<String> {
        let done = pods.values().filter(|pod| pod.updated).count();
        let count = format!("{done} of {} owners have restarted with what changed", pods.len());
        match self {
            Self::Nobody => None,
            Self::Waits(why) => Some(format!("{count}; the next one waits: {why}")),
            Self::Next { pod, .. } => Some(format!("{count}; {pod} is emptied and restarts")),
        }
    }
}

/// Decides whose turn it is.
pub(super) fn turn(seen: &Seen) -> Turn {
    let old = || seen.pods.iter().filter(|(_, pod)| !pod.updated);
    let next =
        |(name, pod): (&String, &OwnerPod)| Turn::Next { pod: name.clone(), uid: pod.uid.clone() };
    if let Some((leaving, _)) = seen.pods.iter().find(|(_, pod)| pod.leaving) {
        return match old().next() {
            Some(_) => Turn::Waits(format!("{leaving} is on its way out")),
            None => Turn::Nobody,
        };
    }
    // One that serves nobody and is not ready costs nobody anything, and may be why the region is not
    // whole: a template that does not run is replaced by the next one.
    if let Some(broken) = old().find(|(name, pod)| !pod.ready && serves_nothing(seen, name)) {
        return next(broken);
    }
    let Some(first) = old().next() else { return Turn::Nobody };
    hindrance(seen).map_or_else(|| next(first), Turn::Waits)
}

/// What of the region is not whole, or not known to be.
fn hindrance(seen: &Seen) -> Option<String> {
    let Workload { wanted, running, ready, updated } = seen.control_plane;
    if running != wanted || ready < wanted || updated < running {
        return Some(format!("{updated} of {wanted} control planes are new and {ready} are ready"));
    }
    if let Some((pod, _)) = seen.pods.iter().find(|(_, pod)| !pod.ready) {
        return Some(format!("{pod} is not ready"));
    }
    let there = u32::try_from(seen.pods.len()).unwrap_or(u32::MAX);
    if there != seen.owners.wanted {
        return Some(format!("there are {there} of {} owners", seen.owners.wanted));
    }
    let state = match &seen.state {
        Ok(state) => state,
        Err(why) => return Some(format!("nobody says who serves what: {why}")),
    };
    if let Some((name, _)) = seen.pods.iter().find(|(name, pod)| !is_heard(state, name, pod)) {
        return Some(format!("the control plane has not heard of {name} yet"));
    }
    let serving = state.shards.iter().filter(|shard| shard.phase() == ShardPhase::Serving).count();
    let all = usize::try_from(state.shard_count).unwrap_or(usize::MAX);
    (all == 0 || serving != all).then(|| format!("{serving} of {all} shards rest with an owner"))
}

/// Whether the control plane counts on this pod, and not on an earlier one of its name.
fn is_heard(state: &RegionState, name: &str, pod: &OwnerPod) -> bool {
    let is_it = |owner: &OwnerState| {
        let info = owner.info.as_ref();
        info.is_some_and(|info| info.pod == name && info.pod_uid == pod.uid && !info.cordoned)
            && !owner.taken_over
            && !is_silent(owner)
    };
    state.owners.iter().any(is_it)
}

/// What nobody says is not so.
fn serves_nothing(seen: &Seen, name: &str) -> bool {
    let state = seen.state.as_ref();
    state.is_ok_and(|state| state.shards.iter().all(|shard| shard.pod != *name))
}

/// Asks the pod to end whose turn it is. Its disruption budget may say that it is too early: a node may be
/// drained at the same time.
pub(super) async fn take(
    context: &Context,
    region: &IrisRegion,
    turn: Turn,
) -> Result<Turn, Error> {
    let Turn::Next { pod, uid } = turn else { return Ok(turn) };
    let namespace = region.namespace().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    // Not by the client's own `evict`: it spells the options in a way that no API server reads.
    let eviction = Eviction {
        metadata: ObjectMeta { name: Some(pod.clone()), ..ObjectMeta::default() },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }),
            ..DeleteOptions::default()
        }),
    };
    let asked: Result<Value, kube::Error> =
        api.create_subresource("eviction", &pod, &PostParams::default(), &eviction).await;
    match asked {
        Ok(_) => {
            let note = format!("{pod} is asked to end: its shards move to the others first");
            context.events.normal(region, "OwnerRestarts", note).await;
            Ok(Turn::Next { pod, uid })
        }
        Err(kube::Error::Api(status)) if status.code == 429 => {
            Ok(Turn::Waits(format!("{pod} may not end yet: {}", status.message)))
        }
        // Somebody was faster.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
            Ok(Turn::Waits(format!("{pod} has just been replaced")))
        }
        Err(error) => Err(error).tried(|| format!("cannot ask Pod {namespace}/{pod} to end")),
    }
}

#[cfg(test)]
mod tests;

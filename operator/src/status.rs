//! Writing what was found into an object's status, and only when it differs from what is there.
//!
//! Never writes a spec: that is people's.

use std::fmt::Debug;

use iris_crds::common::Time;
use iris_crds::conditions::{Condition, Conditions, Progress};
use iris_crds::{
    IrisCluster, IrisClusterStatus, IrisEdgePool, IrisEdgePoolStatus, IrisRebalance,
    IrisRebalanceStatus, IrisRegion, IrisRegionStatus, IrisShardMap, IrisShardMapStatus,
    IrisShardMigration, IrisShardMigrationStatus,
};
use kube::api::{Api, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::error::{Error, Remedy, Tried};
use crate::names::MANAGER;

/// A kind whose status has conditions.
pub trait Reported:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + DeserializeOwned
    + Serialize
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
    /// Its status.
    type Status: Serialize + Clone + Default + PartialEq + Debug + Send + Sync;

    /// The status as it is.
    fn status(&self) -> Option<&Self::Status>;
    /// The conditions in a status.
    fn conditions(status: &Self::Status) -> &[Condition];
    /// The object that it refers to: a region's cluster, a pool's region.
    fn refers_to(&self) -> Option<&str>;
    /// Replaces the conditions and the generation that they are about.
    fn set_conditions(
        status: &mut Self::Status,
        conditions: Vec<Condition>,
        generation: Option<i64>,
    );
}

macro_rules! reported {
    ($($kind:ident, $status:ident, $refers:expr;)*) => {$(
        impl Reported for $kind {
            type Status = $status;

            fn status(&self) -> Option<&$status> {
                self.status.as_ref()
            }

            fn conditions(status: &$status) -> &[Condition] {
                &status.conditions
            }

            fn refers_to(&self) -> Option<&str> {
                let refers: fn(&Self) -> Option<&str> = $refers;
                refers(self)
            }

            fn set_conditions(
                status: &mut $status,
                conditions: Vec<Condition>,
                generation: Option<i64>,
            ) {
                status.conditions = conditions;
                status.observed_generation = generation;
            }
        }
    )*};
}

reported! {
    IrisCluster, IrisClusterStatus, |_| None;
    IrisRegion, IrisRegionStatus, |region| Some(&region.spec.cluster_ref.name);
    IrisEdgePool, IrisEdgePoolStatus, |pool| Some(&pool.spec.region_ref.name);
    IrisShardMap, IrisShardMapStatus, |map| Some(&map.spec.region_ref.name);
    IrisShardMigration, IrisShardMigrationStatus, |a_move| Some(&a_move.spec.source.region);
    IrisRebalance, IrisRebalanceStatus, |rebalance| Some(&rebalance.spec.region_ref.name);
}

/// The conditions of an object, to be built upon.
pub fn conditions_of<K: Reported>(object: &K, now: Time) -> Conditions {
    let before = object.status().map(K::conditions).unwrap_or_default();
    Conditions::new(before, object.meta().generation, now)
}

/// The status of an object whose reconciliation failed: as it was, with the reason why.
pub fn of_failure<K: Reported>(object: &K, error: &Error, now: Time) -> K::Status {
    let mut conditions = conditions_of(object, now);
    let (reason, message) = (error.category(), error.to_string());
    let message = message.as_str();
    conditions.set_progress(match error.remedy() {
        Remedy::Time => Progress::Underway { reason, message },
        Remedy::Person => Progress::Stuck { reason, message },
    });
    let mut status = object.status().cloned().unwrap_or_default();
    K::set_conditions(&mut status, conditions.into_vec(), object.meta().generation);
    status
}

/// Writes a status, unless it is the one that is there. With a version, only if the object is still at
/// that version.
pub async fn write<K: Reported>(
    client: &Client,
    object: &K,
    status: &K::Status,
    version: Option<&str>,
) -> Result<bool, Error> {
    if object.status() == Some(status) {
        return Ok(false);
    }
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let mut patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // The uid: a status of an object that was deleted must not end up in its successor.
        "metadata": {"name": name, "uid": object.uid()},
        "status": status,
    });
    if let Some(version) = version {
        patch["metadata"]["resourceVersion"] = version.into();
    }
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    let params = PatchParams::apply(MANAGER).force();
    let action = || format!("cannot write the status of {} {namespace}/{name}", K::kind(&()));
    api.patch_status(&name, &params, &Patch::Apply(patch)).await.tried(action)?;
    Ok(true)
}

/// Says of an object that cannot be decoded that it cannot, in a form that needs no decoding.
pub async fn write_undecodable<K: Reported>(
    client: &Client,
    namespace: &str,
    name: &str,
    why: &str,
    now: Time,
) -> Result<(), Error> {
    let mut conditions = Conditions::new(&[], None, now);
    let message = format!("this version of the operator cannot read the object: {why}");
    conditions.set_progress(Progress::Stuck { reason: "Unreadable", message: &message });
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "status": {"conditions": conditions.into_vec()},
    });
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    // Apart from the rest of the status, which another version wrote and may know better.
    let params = PatchParams::apply("iris-operator-unreadable").force();
    let action = || format!("cannot write the status of {} {namespace}/{name}", K::kind(&()));
    // The answer is the object, which cannot be decoded; that it came is enough.
    match api.patch_status(name, &params, &Patch::Apply(patch)).await {
        Ok(_) | Err(kube::Error::SerdeError(_)) => Ok(()),
        Err(error) => Err(error).tried(action),
    }
}

//! What a cluster's status says: what was done, what waits, and what of its regions and pools is there.

use std::time::Duration;

use iris_crds::cluster::Summary;
use iris_crds::common::Time;
use iris_crds::conditions::{self, Conditions, Progress, State};
use iris_crds::{IrisCluster, IrisClusterStatus};
use kube::ResourceExt;

use super::schema::Schema;
use super::{Done, Found, REST, waiting_images};
use crate::context::Context;
use crate::controller::Next;
use crate::error::{Error, Remedy};
use crate::status::{Reported, conditions_of};

/// While something is on its way.
const UNDERWAY: Duration = Duration::from_secs(5);

/// The status of a cluster that people have stopped.
pub(super) fn paused(cluster: &IrisCluster, now: Time) -> IrisClusterStatus {
    let mut conditions = conditions_of(cluster, now);
    conditions.set_progress(Progress::Done);
    conditions.set("Paused", true, "PausedByPeople", "spec.paused is true: nothing is changed");
    let mut status = cluster.status.clone().unwrap_or_default();
    IrisCluster::set_conditions(&mut status, conditions.into_vec(), cluster.metadata.generation);
    status
}

pub(super) fn report(
    context: &Context,
    cluster: &IrisCluster,
    found: &Found,
    done: Result<Done, Error>,
) -> (IrisClusterStatus, Next) {
    let mut conditions = conditions_of(cluster, context.now());
    conditions.remove("Paused");
    conditions.expect(&["Progressing", "RequiresUpdate", "SchemaApplied"]);
    let mut status = cluster.status.clone().unwrap_or_default();
    status.summary = Some(summary(found));
    availability(&mut conditions, found);
    let next = match done {
        Ok(done) => {
            let waiting = waiting(cluster, &done, found, context);
            requires_update(&mut conditions, &waiting);
            let progress = schema_condition(&mut conditions, &done.schema);
            overall(&mut conditions, progress, found);
            status.pki = Some(done.keyed.pki);
            status.keys = Some(done.keyed.keys);
            status.images = Some(done.images);
            let underway = !matches!(done.schema, Schema::Applied(_));
            status.schema = match done.schema {
                Schema::NoRegion => status.schema,
                Schema::Applied(schema) | Schema::Running(schema) | Schema::Failed(schema) => {
                    Some(schema)
                }
            };
            Next::After(if underway { UNDERWAY } else { REST })
        }
        Err(error) => {
            let (reason, message) = (error.category(), error.to_string());
            let message = message.as_str();
            conditions.set_progress(match error.remedy() {
                Remedy::Time => Progress::Underway { reason, message },
                Remedy::Person => Progress::Stuck { reason, message },
            });
            Next::Held(error)
        }
    };
    let generation = cluster.metadata.generation;
    IrisCluster::set_conditions(&mut status, conditions.into_vec(), generation);
    (status, next)
}

/// `ready/wanted` of everything below.
fn summary(found: &Found) -> Summary {
    let available =
        |conditions: &[conditions::Condition]| conditions::holds(conditions, "Available");
    let ready = found.regions.iter().filter(|region| {
        region.status.as_ref().is_some_and(|status| available(&status.conditions))
    });
    let (mut owners, mut owners_wanted) = (0_u64, 0_u64);
    for region in &found.regions {
        owners_wanted += u64::from(region.spec.owners.replicas);
        owners += region.status.as_ref().map_or(0, |status| u64::from(status.ready_replicas));
    }
    let (mut edges, mut edges_wanted) = (0_u64, 0_u64);
    for pool in &found.pools {
        let status = pool.status.as_ref();
        let running = status.map_or(0, |status| u64::from(status.replicas));
        edges_wanted += pool.spec.replicas.map_or(running.max(2), u64::from);
        edges += status.map_or(0, |status| u64::from(status.ready_replicas));
    }
    Summary {
        regions: format!("{}/{}", ready.count(), found.regions.len()),
        owners: format!("{owners}/{owners_wanted}"),
        edges: format!("{edges}/{edges_wanted}"),
    }
}

fn availability(conditions: &mut Conditions, found: &Found) {
    if found.regions.is_empty() {
        let message = "no IrisRegion refers to this cluster yet";
        conditions.set("Available", false, "NoRegion", message);
        conditions.set("Degraded", false, "NoRegion", message);
        return;
    }
    let mut states = Vec::new();
    let mut degraded = Vec::new();
    for region in &found.regions {
        let list = region.status.as_ref().map(|status| status.conditions.as_slice());
        let list = list.unwrap_or_default();
        let available = conditions::find(list, "Available");
        let told = available.map_or_else(
            || (State::Unknown, "not looked at yet".to_owned()),
            |condition| (condition.status, condition.message.clone()),
        );
        states.push((region.name_any(), told.0, told.1));
        if let Some(condition) = conditions::find(list, "Degraded")
            && condition.status == State::True
        {
            degraded.push(format!("region {}: {}", region.name_any(), condition.message));
        }
    }
    let bad: Vec<_> = states.iter().filter(|(_, state, _)| *state != State::True).collect();
    if bad.is_empty() {
        let message = format!("every region serves its shards ({})", states.len());
        conditions.set("Available", true, "RegionsAvailable", message);
    } else {
        let unknown = bad.iter().all(|(_, state, _)| *state == State::Unknown);
        let state = if unknown { State::Unknown } else { State::False };
        let message: Vec<_> =
            bad.iter().map(|(name, _, message)| format!("region {name}: {message}")).collect();
        conditions.set("Available", state, "RegionsUnavailable", message.join("; "));
    }
    if degraded.is_empty() {
        conditions.set("Degraded", false, "AsDesired", "");
    } else {
        conditions.set("Degraded", true, "RegionsDegraded", degraded.join("; "));
    }
}

/// What waits to be let through: images, and what regions and pools say of themselves.
fn waiting(cluster: &IrisCluster, done: &Done, found: &Found, context: &Context) -> Vec<String> {
    let mut waiting = waiting_images(cluster, &done.images, &context.built_in);
    let regions = found.regions.iter().map(|region| {
        let list = region.status.as_ref().map(|status| status.conditions.as_slice());
        ("region", region.name_any(), list.unwrap_or_default())
    });
    let pools = found.pools.iter().map(|pool| {
        let list = pool.status.as_ref().map(|status| status.conditions.as_slice());
        ("pool", pool.name_any(), list.unwrap_or_default())
    });
    for (what, name, list) in regions.chain(pools) {
        if let Some(condition) = conditions::find(list, "RequiresUpdate")
            && condition.status == State::True
        {
            waiting.push(format!("{what} {name}: {}", condition.message));
        }
    }
    waiting
}

fn requires_update(conditions: &mut Conditions, waiting: &[String]) {
    if waiting.is_empty() {
        conditions.set("RequiresUpdate", false, "UpToDate", "");
        return;
    }
    let message =
        format!("{}. To roll this out, raise spec.updatePolicy.request by one", waiting.join("; "));
    conditions.set("RequiresUpdate", true, "OperatorIsNewer", message);
}

/// Says how the schema stands, and what that means for the whole.
fn schema_condition(
    conditions: &mut Conditions,
    schema: &Schema,
) -> Option<(&'static str, String, bool)> {
    let (state, reason, message, stuck) = match schema {
        Schema::NoRegion => {
            let message = "an IrisRegion must say which datacenter of the database there is";
            (false, "NoRegion", message.to_owned(), false)
        }
        Schema::Applied(_) => {
            conditions.set("SchemaApplied", true, "Applied", "");
            return None;
        }
        Schema::Running(status) => {
            (false, "JobRunning", format!("the schema job runs{}", tries(status.failures)), false)
        }
        Schema::Failed(status) => {
            let said = status.last_failure.clone().unwrap_or_default();
            let message = format!(
                "the schema job failed{}: {said}. See spec.cassandra (contactPoints, \
                 credentialsSecretRef, tls) and whether the database is up. Nothing is rolled out \
                 until the job succeeds",
                tries(status.failures)
            );
            (false, "SchemaJobFailed", message, true)
        }
    };
    conditions.set("SchemaApplied", state, reason, message.clone());
    Some((reason, message, stuck))
}

/// One number of many digits would change the message, and so the status, with every try.
fn tries(failures: u32) -> &'static str {
    match failures {
        0 | 1 => "",
        2..=4 => " more than once",
        _ => " again and again",
    }
}

fn overall(
    conditions: &mut Conditions,
    schema: Option<(&'static str, String, bool)>,
    found: &Found,
) {
    match &schema {
        Some((reason, message, true)) => {
            conditions.set("Progressing", false, reason, message.clone());
            conditions.set_progress(Progress::Stuck { reason, message });
        }
        Some((reason, message, false)) => {
            conditions.set("Progressing", true, reason, message.clone());
            conditions.set_progress(Progress::Underway { reason, message });
        }
        None => {
            let unfinished = unfinished(found);
            let progressing = !unfinished.is_empty();
            let reason = if progressing { "PartsProgressing" } else { "AsDesired" };
            conditions.set("Progressing", progressing, reason, unfinished.join(", "));
            conditions.set_progress(Progress::Done);
        }
    }
}

fn unfinished(found: &Found) -> Vec<String> {
    let regions = found.regions.iter().filter(|region| {
        region
            .status
            .as_ref()
            .is_none_or(|status| !conditions::holds(&status.conditions, "Available"))
    });
    let pools = found.pools.iter().filter(|pool| {
        pool.status
            .as_ref()
            .is_none_or(|status| !conditions::holds(&status.conditions, "Available"))
    });
    let regions = regions.map(|region| format!("region {}", region.name_any()));
    regions.chain(pools.map(|pool| format!("pool {}", pool.name_any()))).collect()
}

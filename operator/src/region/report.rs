//! What a region's status says. Pure: from what was seen to words and numbers.
//!
//! Never takes silence for well-being: what the control plane does not say is unknown.

use iris_crds::cluster::Profile;
use iris_crds::common::Time;
use iris_crds::conditions::{Conditions, Progress, State};
use iris_crds::region::{Instance, RegionSummary, ShardCounts};
use iris_crds::{IrisCluster, IrisRegion, IrisRegionStatus};
use iris_proto::control::{OwnerState, RegionState, SessionInfo, ShardPhase};
use iris_runtime::tls::Role;
use kube::ResourceExt;

use super::observe::{Seen, Workload};
use super::restart::Turn;
use super::{Applied, build};
use crate::error::{Error, Remedy};
use crate::names;
use crate::status::{Reported, conditions_of};

/// An owner that was not heard for longer is silent.
const SILENT_MS: u32 = 3_000;

/// What a status is made from.
pub(super) struct Facts<'a> {
    pub(super) cluster: &'a IrisCluster,
    pub(super) region: &'a IrisRegion,
    pub(super) seen: &'a Seen,
    pub(super) turn: &'a Turn,
}

/// The status of a region that people have stopped.
pub(super) fn paused(region: &IrisRegion, now: Time) -> IrisRegionStatus {
    let mut conditions = conditions_of(region, now);
    conditions.set_progress(Progress::Done);
    conditions.set("Paused", true, "PausedByPeople", "spec.paused is true: nothing is changed");
    let mut status = region.status.clone().unwrap_or_default();
    IrisRegion::set_conditions(&mut status, conditions.into_vec(), region.metadata.generation);
    status
}

/// The status, and whether everything is as it should be.
pub(super) fn report(
    facts: &Facts<'_>,
    applied: &Result<Applied, Error>,
    now: Time,
) -> (IrisRegionStatus, bool) {
    let Facts { cluster, region, seen, turn } = facts;
    let mut conditions = conditions_of(*region, now);
    conditions.remove("Paused");
    conditions.expect(&["RequiresUpdate"]);
    let state = seen.state.as_ref().ok();
    let shards = state.map(shard_counts);
    let availability = availability(facts, shards);
    let available = availability.state == State::True;
    conditions.set("Available", availability.state, availability.reason, availability.message);
    let rolling = rolling(seen, turn);
    let reason = if rolling.is_empty() { "AsDesired" } else { "PodsComing" };
    conditions.set("Progressing", !rolling.is_empty(), reason, rolling.join("; "));
    store(&mut conditions, facts);
    let degraded = degraded(facts, shards);
    let reason = if degraded.is_empty() { "AsDesired" } else { "BelowDesired" };
    conditions.set("Degraded", !degraded.is_empty(), reason, degraded.join("; "));
    peers(&mut conditions, region);
    if let Ok(applied) = applied {
        requires_update(&mut conditions, applied);
    }
    progress(&mut conditions, applied, available && rolling.is_empty());
    let before = region.status.clone().unwrap_or_default();
    let labels = build::labels(&cluster.name_any(), region, Role::Owner);
    let mut status = IrisRegionStatus {
        observed_generation: None,
        conditions: Vec::new(),
        replicas: seen.owners.running,
        ready_replicas: seen.owners.ready,
        selector: Some(names::selector_text(&labels.selector())),
        summary: Some(RegionSummary {
            owners: fraction(seen.owners),
            control_plane: fraction(seen.control_plane),
            serving: serving(cluster, shards),
        }),
        leader: state.map(|state| state.leader.clone()).filter(|leader| !leader.is_empty()),
        leader_term: state.map(|state| state.leader_term),
        described_at: before.described_at,
        edges: state.map_or(0, |state| state.edges),
        shards,
        instances: state.map(|state| instances(state, seen)).unwrap_or_default(),
        store_version: state.map(|state| state.store_version.clone()).filter(|v| !v.is_empty()),
    };
    IrisRegion::set_conditions(&mut status, conditions.into_vec(), region.metadata.generation);
    // The time is news only beside other news: otherwise every look would be a write.
    if state.is_some() && region.status.as_ref() != Some(&status) {
        status.described_at = Some(now);
    }
    let settled = available && rolling.is_empty() && applied.is_ok();
    (status, settled)
}

struct Availability {
    state: State,
    reason: &'static str,
    message: String,
}

fn availability(facts: &Facts<'_>, shards: Option<ShardCounts>) -> Availability {
    let Facts { cluster, seen, .. } = facts;
    let told = |state, reason, message: String| Availability {
        state,
        reason,
        message: with_troubles(message, &seen.troubles),
    };
    let state = match (&seen.state, shards) {
        (Ok(state), Some(shards)) => (state, shards),
        (Ok(_), None) => return told(State::Unknown, "NoAnswer", "no answer".to_owned()),
        (Err(why), _) if seen.control_plane.ready == 0 => {
            let message = format!(
                "no control plane pod is ready ({}), so nothing is known of the shards: {why}",
                fraction(seen.control_plane)
            );
            let state = if seen.owners.ready == 0 { State::False } else { State::Unknown };
            return told(state, "ControlPlaneNotReady", message);
        }
        (Err(why), _) => return told(State::Unknown, "ControlPlaneSilent", why.clone()),
    };
    let (state, shards) = state;
    let production = cluster.spec.profile == Profile::Production;
    if production && !state.store_problems.is_empty() {
        return told(State::False, "StoreUnfit", state.store_problems.join("; "));
    }
    if shards.total == 0 {
        let message = "the control plane knows no shards yet".to_owned();
        return told(State::False, "NoShards", message);
    }
    // One that moves is served but for milliseconds.
    let served = shards.serving + shards.moving;
    if served < shards.total {
        let trouble = first_trouble(state);
        let message = format!("{served} of {} shards are served{trouble}", shards.total);
        return told(State::False, "ShardsUnserved", message);
    }
    told(State::True, "Serving", format!("all {} shards are served", shards.total))
}

fn first_trouble(state: &RegionState) -> String {
    let troubled = state.shards.iter().find(|shard| !shard.trouble.is_empty());
    troubled.map_or_else(String::new, |shard| format!("; shard {}: {}", shard.shard, shard.trouble))
}

fn with_troubles(message: String, troubles: &[String]) -> String {
    if troubles.is_empty() { message } else { format!("{message}. {}", troubles.join("; ")) }
}

/// Workloads that are not as they are wanted.
fn rolling(seen: &Seen, turn: &Turn) -> Vec<String> {
    let parts = [("control plane", seen.control_plane), ("owners", seen.owners)];
    let coming = parts.into_iter().filter(|(_, workload)| {
        workload.ready < workload.wanted || workload.running != workload.wanted
    });
    let told = coming.map(|(what, workload)| format!("{what}: {} ready", fraction(workload)));
    told.chain(turn.words(&seen.pods)).collect()
}

/// Says whether the database can keep what is promised on top of it.
fn store(conditions: &mut Conditions, facts: &Facts<'_>) {
    match &facts.seen.state {
        Err(_) => {
            let message = "the control plane, which checks the database, has not said";
            conditions.set("StoreFit", State::Unknown, "NotAsked", message);
        }
        Ok(state) if state.store_problems.is_empty() => {
            conditions.set("StoreFit", true, "Fit", "");
        }
        Ok(state) => {
            let message = state.store_problems.join("; ");
            conditions.set("StoreFit", false, "StoreUnfit", message);
        }
    }
}

fn degraded(facts: &Facts<'_>, shards: Option<ShardCounts>) -> Vec<String> {
    let seen = facts.seen;
    let mut found = Vec::new();
    // What was complete once and is not any more; before that it is on its way.
    let was = facts.region.status.as_ref().and_then(|status| status.summary.as_ref());
    if was.is_some() && seen.owners.ready < seen.owners.wanted && seen.owners.ready > 0 {
        found.push(format!("{} owners are ready", fraction(seen.owners)));
    }
    if let Ok(state) = &seen.state {
        if !state.store_problems.is_empty() {
            found.push(format!("the database: {}", state.store_problems.join("; ")));
        }
        let silent: Vec<_> =
            state.owners.iter().filter(|owner| is_silent(owner)).map(pod_of).collect();
        if !silent.is_empty() {
            found.push(format!("not heard: {}", silent.join(", ")));
        }
    }
    if let Some(shards) = shards.filter(|shards| shards.troubled > 0) {
        found.push(format!("{} shards have trouble", shards.troubled));
    }
    found
}

/// This version serves a region by itself; what it does not do is said, not left out.
fn peers(conditions: &mut Conditions, region: &IrisRegion) {
    if region.spec.peers.is_empty() {
        conditions.remove("PeersServed");
        return;
    }
    let message = "this version does not connect regions: spec.peers has no effect";
    conditions.set("PeersServed", false, "NotServed", message);
}

fn requires_update(conditions: &mut Conditions, applied: &Applied) {
    if !applied.waiting.is_empty() {
        conditions.set("RequiresUpdate", true, "OperatorIsNewer", applied.waiting.join("; "));
    } else {
        conditions.set("RequiresUpdate", false, "UpToDate", "");
    }
}

fn progress(conditions: &mut Conditions, applied: &Result<Applied, Error>, done: bool) {
    match applied {
        Err(error) => {
            let (reason, message) = (error.category(), error.to_string());
            let message = message.as_str();
            conditions.set_progress(match error.remedy() {
                Remedy::Time => Progress::Underway { reason, message },
                Remedy::Person => Progress::Stuck { reason, message },
            });
        }
        Ok(_) if done => conditions.set_progress(Progress::Done),
        Ok(_) => conditions.set_progress(Progress::Underway {
            reason: "ComingUp",
            message: "see Available and Progressing",
        }),
    }
}

fn shard_counts(state: &RegionState) -> ShardCounts {
    let mut counts = ShardCounts { total: state.shard_count, ..ShardCounts::default() };
    for shard in &state.shards {
        match shard.phase() {
            ShardPhase::Serving => counts.serving += 1,
            ShardPhase::Released => counts.released += 1,
            ShardPhase::Moving => counts.moving += 1,
            ShardPhase::Takeover => counts.takeover += 1,
            ShardPhase::Unclaimed | ShardPhase::Unspecified => counts.unclaimed += 1,
        }
        counts.troubled += u32::from(!shard.trouble.is_empty());
    }
    counts
}

fn instances(state: &RegionState, seen: &Seen) -> Vec<Instance> {
    let mut found: Vec<_> = state.owners.iter().map(|owner| instance(owner, seen)).collect();
    found.sort_by_key(|instance| natural(&instance.name));
    found.truncate(512);
    found
}

/// `eu-owner-2` before `eu-owner-10`.
fn natural(name: &str) -> (String, u32) {
    let (base, number) = name.rsplit_once('-').unwrap_or((name, ""));
    (base.to_owned(), number.parse().unwrap_or(u32::MAX))
}

fn instance(owner: &OwnerState, seen: &Seen) -> Instance {
    let info = owner.info.clone().unwrap_or_default();
    let state = if owner.taken_over {
        "TakenOver"
    } else if is_silent(owner) {
        "Silent"
    } else if info.cordoned {
        "Cordoned"
    } else if owner.shards == 0 {
        "Idle"
    } else {
        "Serving"
    };
    let SessionInfo { pod, node, zone, version, .. } = info;
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    Instance {
        state: state.to_owned(),
        shards: owner.shards,
        updated: seen.pods.get(&pod).is_none_or(|pod| pod.updated),
        name: pod,
        node: some(node),
        zone: some(zone),
        version: some(version),
    }
}

pub(super) fn is_silent(owner: &OwnerState) -> bool {
    owner.silent_ms > SILENT_MS && !owner.taken_over
}

fn pod_of(owner: &OwnerState) -> String {
    owner.info.as_ref().map(|info| info.pod.clone()).unwrap_or_default()
}

fn serving(cluster: &IrisCluster, shards: Option<ShardCounts>) -> String {
    match shards {
        Some(shards) => format!("{}/{}", shards.serving, shards.total),
        None => format!("?/{}", cluster.spec.shard_count),
    }
}

fn fraction(workload: Workload) -> String {
    format!("{}/{}", workload.ready, workload.wanted)
}

//! What a map's status says. Pure: never takes silence for coverage.

use std::collections::BTreeMap;

use iris_core::id::{ShardCount, ShardId};
use iris_core::ranges::{ShardRange, check_coverage, ranges_of};
use iris_crds::common::Time;
use iris_crds::conditions::{Conditions, Progress, State};
use iris_crds::shard_map::{MapRange, Mode, OwnerShare, Trouble};
use iris_crds::{IrisCluster, IrisShardMap, IrisShardMapStatus};
use iris_proto::control::{RegionState, ShardPhase, ShardState};

use super::Seen;
use super::proposals::proposals;
use crate::error::{Error, Remedy};
use crate::status::{Reported, conditions_of};

/// An object holds no more ranges than this; `owners` is complete in any case.
const RANGES_MAX: usize = 1024;
const TROUBLES_MAX: usize = 64;
const PROPOSALS_MAX: usize = 64;

/// The status, and whether every shard is served and every wish taken over.
pub(super) fn report(
    cluster: &IrisCluster,
    map: &IrisShardMap,
    seen: &Seen,
    now: Time,
) -> (IrisShardMapStatus, bool) {
    let mut conditions = conditions_of(map, now);
    let before = map.status.clone().unwrap_or_default();
    let (mut status, covered) = match &seen.state {
        Ok(state) => {
            let covered = covered(&mut conditions, state);
            (of_state(cluster, map, state), covered)
        }
        Err(why) => {
            // What was true is kept, and said to be old.
            conditions.set("Covered", State::Unknown, "ControlPlaneSilent", why.clone());
            let summary = Some(format!("?/{}", cluster.spec.shard_count));
            (IrisShardMapStatus { summary, ..before.clone() }, false)
        }
    };
    status.placed_generation = before.placed_generation;
    match &seen.placed {
        Ok(()) => {
            conditions.set("Placed", true, "TakenOver", "");
            status.placed_generation = map.metadata.generation;
        }
        Err(error) => conditions.set("Placed", false, error.category(), error.to_string()),
    }
    match map.spec.rebalance.mode {
        Mode::Auto => {
            let message = "this version proposes moves and makes none: see status.proposals";
            conditions.set("RebalanceServed", false, "NotServed", message);
        }
        Mode::Off | Mode::Propose => conditions.remove("RebalanceServed"),
    }
    progress(&mut conditions, &seen.placed, covered);
    status.described_at = before.described_at;
    IrisShardMap::set_conditions(&mut status, conditions.into_vec(), map.metadata.generation);
    // The time is news only beside other news: otherwise every look would be a write.
    if seen.state.is_ok() && map.status.as_ref() != Some(&status) {
        status.described_at = Some(now);
    }
    (status, covered && seen.placed.is_ok())
}

fn of_state(cluster: &IrisCluster, map: &IrisShardMap, state: &RegionState) -> IrisShardMapStatus {
    let served = state.shards.iter().filter(|shard| is_served(shard)).count();
    let ranges = ranges(state);
    let truncated = ranges.len() > RANGES_MAX;
    let proposals = match map.spec.rebalance.mode {
        Mode::Off => None,
        Mode::Propose | Mode::Auto => Some(proposals(state, &map.spec.placement.pins)),
    };
    let troubled = state.shards.iter().filter(|shard| !shard.trouble.is_empty());
    let trouble =
        |shard: &ShardState| Trouble { shard: shard.shard, message: shard.trouble.clone() };
    IrisShardMapStatus {
        summary: Some(format!("{served}/{}", cluster.spec.shard_count)),
        imbalance_percent: imbalance(state),
        owners: shares(state),
        ranges: ranges.into_iter().take(RANGES_MAX).collect(),
        truncated,
        troubles: troubled.take(TROUBLES_MAX).map(trouble).collect(),
        proposed: proposals.as_ref().map(|all| u32::try_from(all.len()).unwrap_or(u32::MAX)),
        proposals: proposals.unwrap_or_default().into_iter().take(PROPOSALS_MAX).collect(),
        ..IrisShardMapStatus::default()
    }
}

/// One that moves is served but for milliseconds.
fn is_served(shard: &ShardState) -> bool {
    matches!(shard.phase(), ShardPhase::Serving | ShardPhase::Moving)
}

/// Says whether somebody serves every shard of the cluster, each once.
fn covered(conditions: &mut Conditions, state: &RegionState) -> bool {
    let numbers = |wanted: &dyn Fn(&&ShardState) -> bool| {
        let shards = state.shards.iter().filter(wanted);
        ranges_of(shards.filter_map(|shard| id(shard.shard)))
    };
    let single =
        |shard: &ShardState| id(shard.shard).map(|shard| ShardRange { first: shard, last: shard });
    let listed: Vec<_> = state.shards.iter().filter_map(single).collect();
    let whole = ShardCount::new(state.shard_count)
        .map_err(|error| error.to_string())
        .and_then(|count| check_coverage(count, &listed).map_err(|error| error.to_string()));
    if let Err(why) = whole {
        let message = format!("the control plane's map does not cover every shard once: {why}");
        conditions.set("Covered", false, "MapBroken", message);
        return false;
    }
    let unserved = numbers(&|shard| !is_served(shard));
    if unserved.is_empty() {
        let message = format!("all {} shards are served", state.shard_count);
        conditions.set("Covered", true, "Covered", message);
        return true;
    }
    let count: u32 = unserved.iter().map(|range| range.len()).sum();
    let trouble = state.shards.iter().find(|shard| !shard.trouble.is_empty());
    let trouble = trouble
        .map_or_else(String::new, |shard| format!("; shard {}: {}", shard.shard, shard.trouble));
    let message = format!("{count} shards are not served: {}{trouble}", text_of(&unserved));
    conditions.set("Covered", false, "ShardsUnserved", message);
    false
}

fn id(number: u32) -> Option<ShardId> {
    u16::try_from(number).ok().map(ShardId::new)
}

fn text_of(ranges: &[ShardRange]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn ranges(state: &RegionState) -> Vec<MapRange> {
    let mut shards: Vec<_> = state.shards.iter().collect();
    shards.sort_by_key(|shard| shard.shard);
    let mut ranges: Vec<MapRange> = Vec::new();
    for shard in shards {
        let owner = Some(shard.pod.clone()).filter(|pod| !pod.is_empty());
        let phase = phase_name(shard.phase());
        match ranges.last_mut() {
            Some(last)
                if last.last + 1 == shard.shard
                    && last.owner == owner
                    && last.epoch == shard.epoch
                    && last.phase == phase =>
            {
                last.last = shard.shard;
            }
            _ => ranges.push(MapRange {
                first: shard.shard,
                last: shard.shard,
                owner,
                epoch: shard.epoch,
                phase: phase.to_owned(),
            }),
        }
    }
    ranges
}

fn phase_name(phase: ShardPhase) -> &'static str {
    match phase {
        ShardPhase::Unspecified | ShardPhase::Unclaimed => "Unclaimed",
        ShardPhase::Serving => "Serving",
        ShardPhase::Released => "Released",
        ShardPhase::Moving => "Moving",
        ShardPhase::Takeover => "Takeover",
    }
}

fn shares(state: &RegionState) -> Vec<OwnerShare> {
    let mut by_owner: BTreeMap<&str, Vec<ShardId>> = BTreeMap::new();
    for owner in state.owners.iter().filter(|owner| !owner.taken_over) {
        by_owner.entry(owner.info.as_ref().map_or("", |info| info.pod.as_str())).or_default();
    }
    for shard in state.shards.iter().filter(|shard| is_served(shard)) {
        by_owner.entry(&shard.pod).or_default().extend(id(shard.shard));
    }
    by_owner
        .into_iter()
        .filter(|(owner, _)| !owner.is_empty())
        .map(|(owner, shards)| OwnerShare {
            owner: owner.to_owned(),
            count: u32::try_from(shards.len()).unwrap_or(u32::MAX),
            shards: text_of(&ranges_of(shards)),
        })
        .collect()
}

/// By how much the owner with the most shards exceeds the mean.
fn imbalance(state: &RegionState) -> Option<u32> {
    let shares = shares(state);
    let owners = u32::try_from(shares.len()).ok().filter(|owners| *owners > 0)?;
    let total: u32 = shares.iter().map(|share| share.count).sum();
    let most = shares.iter().map(|share| share.count).max()?;
    // One more than a fair share cannot be avoided.
    let fair = total.div_ceil(owners).max(1);
    Some((most * 100 / fair).saturating_sub(100))
}

fn progress(conditions: &mut Conditions, placed: &Result<(), Error>, covered: bool) {
    match placed {
        Err(error) => {
            let (reason, message) = (error.category(), error.to_string());
            let message = message.as_str();
            conditions.set_progress(match error.remedy() {
                Remedy::Time => Progress::Underway { reason, message },
                Remedy::Person => Progress::Stuck { reason, message },
            });
        }
        Ok(()) if covered => conditions.set_progress(Progress::Done),
        Ok(()) => conditions.set_progress(Progress::Underway {
            reason: "NotCovered",
            message: "see condition Covered",
        }),
    }
}

//! What must be known for a decision: asked of the region's control plane, and only what the step
//! needs. What was not answered is unknown.

use iris_core::migration::{
    Journal, Move, Observed, Outcome, Phase, Plan, Seen, Shard, Step, Way, Wish, id_of_reverse,
};
use iris_core::seq::Epoch;
use iris_crds::{IrisRegion, IrisShardMigration};
use iris_proto::control::{MovePhase, MoveState, PlanMoveReply, ShardPhase, ShardState};
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};
use tokio::time::Instant;

use super::journal::Learned;
use crate::context::Context;
use crate::control::{ControlError, RegionName};

/// What the control plane answered to an order.
pub(super) struct Answer {
    pub(super) way: Way,
    pub(super) state: MoveState,
}

impl Answer {
    pub(super) fn has_ended(&self) -> bool {
        match self.state.phase() {
            MovePhase::Committed | MovePhase::Aborted | MovePhase::Failed => true,
            MovePhase::Unspecified
            | MovePhase::Unknown
            | MovePhase::Preparing
            | MovePhase::HandingOff => false,
        }
    }
}

/// Whom to ask.
pub(super) fn place_of(object: &IrisShardMigration) -> RegionName {
    RegionName {
        namespace: object.namespace().unwrap_or_default(),
        cluster: object.spec.cluster_ref.name.clone(),
        region: object.spec.source.region.clone(),
    }
}

/// Asks what the step needs.
pub(super) async fn observe(
    context: &Context,
    object: &IrisShardMigration,
    wish: &Wish,
    journal: &Journal,
    answer: Option<Answer>,
    learned: &mut Learned,
) -> Observed {
    if matches!(journal.step, Step::Ended(_)) {
        return Observed::NOTHING;
    }
    let place = place_of(object);
    let region = region(context, &place, learned).await;
    let mut seen = Observed { region, ..Observed::NOTHING };
    if seen.region != Seen::Known(()) {
        return seen;
    }
    let shard = u32::from(wish.order.shard.get());
    let (forward, back) = match answer {
        Some(Answer { way: Way::Forward, state }) => (Some(state), None),
        Some(Answer { way: Way::Back, state }) => (None, Some(state)),
        None => (None, None),
    };
    match journal.step {
        Step::Pending => {
            let begins =
                !wish.paused && wish.outcome == Outcome::Complete && wish.deleted_at_s.is_none();
            if begins {
                let asked = context.control.plan_move(&place, shard, &wish.order.target).await;
                seen.plan = plan(wish, asked, learned);
            }
        }
        Step::Planned => {}
        Step::Preparing | Step::HandingOff | Step::Aborting => {
            let asked = match forward {
                Some(state) => Ok(state),
                None => context.control.describe_move(&place, &object.name_any(), shard).await,
            };
            if let Ok(state) = &asked {
                learned.forward = Some(state.clone());
            }
            seen.forward = told(asked, learned);
        }
        Step::Verifying | Step::Soaking => {
            seen.shard = serving(context, &place, shard, learned).await;
        }
        Step::Reversing => {
            let committed = journal.committed.unwrap_or_default();
            let id = id_of_reverse(wish.order.shard, committed);
            let asked = match back {
                Some(state) => Ok(state),
                None => context.control.describe_move(&place, &id, shard).await,
            };
            seen.back = told(asked, learned);
        }
        Step::Ended(_) => {}
    }
    seen
}

/// Whether the region is there. The watch may be behind, so a missing one is asked for.
async fn region(context: &Context, place: &RegionName, learned: &mut Learned) -> Seen<()> {
    let RegionName { namespace, cluster, region } = place;
    let found = match context.stores.region(namespace, region) {
        Some(found) => Some(found.spec.cluster_ref.name.clone()),
        None => {
            let api: Api<DeserializeGuard<IrisRegion>> =
                Api::namespaced(context.client.clone(), namespace);
            match api.get_opt(region).await {
                Ok(Some(guard)) => match guard.0 {
                    Ok(found) => Some(found.spec.cluster_ref.name),
                    Err(_) => return Seen::Unknown,
                },
                Ok(None) => None,
                Err(error) => {
                    learned.silence = Some(iris_runtime::rpc::chain(&error));
                    return Seen::Unknown;
                }
            }
        }
    };
    if found.as_ref() == Some(cluster) { Seen::Known(()) } else { Seen::Absent }
}

fn plan(
    wish: &Wish,
    asked: Result<PlanMoveReply, ControlError>,
    learned: &mut Learned,
) -> Seen<Plan> {
    match asked {
        Ok(reply) => {
            // While nobody serves it, the control plane names no epoch: that says nothing against
            // the one that is expected.
            let unserved = reply.source_pod.is_empty() && reply.epoch == 0;
            let epoch = if unserved { wish.order.epoch } else { Epoch(reply.epoch) };
            let plan =
                Plan { source: reply.source_pod.clone(), epoch, problems: reply.problems.clone() };
            learned.plan = Some(reply);
            Seen::Known(plan)
        }
        Err(ControlError::Refused { status, .. }) => Seen::Known(Plan {
            source: String::new(),
            epoch: wish.order.epoch,
            problems: vec![status.message().to_owned()],
        }),
        Err(error) => {
            learned.silence = Some(error.to_string());
            Seen::Unknown
        }
    }
}

fn told(asked: Result<MoveState, ControlError>, learned: &mut Learned) -> Seen<Move> {
    match asked {
        Ok(state) => seen_of(&state),
        Err(error) => {
            learned.silence = Some(error.to_string());
            Seen::Unknown
        }
    }
}

pub(super) fn seen_of(state: &MoveState) -> Seen<Move> {
    let phase = match state.phase() {
        MovePhase::Unspecified => return Seen::Unknown,
        MovePhase::Unknown => return Seen::Absent,
        MovePhase::Preparing => Phase::Preparing,
        MovePhase::HandingOff => Phase::HandingOff,
        MovePhase::Committed => Phase::Committed(Epoch(state.committed_epoch)),
        MovePhase::Aborted => Phase::Aborted,
        MovePhase::Failed => Phase::Failed,
    };
    let (reason, message) = (state.reason.clone(), state.message.clone());
    Seen::Known(Move { phase, reason, message })
}

async fn serving(
    context: &Context,
    place: &RegionName,
    shard: u32,
    learned: &mut Learned,
) -> Seen<Shard> {
    match context.control.describe_since(place, Instant::now()).await {
        Ok(state) => {
            let found = state.shards.iter().find(|found| found.shard == shard);
            found.map_or(Seen::Absent, |found| Seen::Known(shard_of(found)))
        }
        Err(error) => {
            learned.silence = Some(error.to_string());
            Seen::Unknown
        }
    }
}

pub(super) fn shard_of(state: &ShardState) -> Shard {
    // The next move of a shard that is served does not make it less served.
    let serving = matches!(state.phase(), ShardPhase::Serving | ShardPhase::Moving);
    Shard { epoch: Epoch(state.epoch), owner: state.pod.clone(), serving }
}

//! What the operator and, through it, people ask.

use std::sync::Arc;
use std::time::Duration;

use iris_coord::Write;
use iris_core::id::ShardId;
use iris_core::seq::Epoch;
use iris_proto::control::region_server::Region;
use iris_proto::control::{
    AbortMoveRequest, DescribeMoveRequest, DescribeRequest, ExecuteMoveRequest, MovePhase,
    MoveState, Placement, PlacementReply, PlanMoveReply, PlanMoveRequest, RegionState,
};
use iris_proto::coordinated::Placement as StoredPlacement;
use iris_proto::coordinated_keys as keys;
use iris_runtime::rpc::require_role;
use iris_runtime::tls::Role;
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::Lead;
use super::describe::describe;
use crate::leader::{Leader, MoveOrder, MoveRefused, wishes_from};

/// A call that waits for a move answers after this long whatever happened: the move goes on.
const MOVE_PATIENCE: Duration = Duration::from_secs(20);

/// The service.
pub struct RegionService {
    /// Who leads.
    pub lead: Lead,
}

impl RegionService {
    fn leader<T>(&self, request: &Request<T>) -> Result<Arc<Leader>, Status> {
        require_role(request, &[Role::Operator])?;
        self.lead.leader()
    }
}

const DEPOSED: &str = "a later operator took over";

#[tonic::async_trait]
impl Region for RegionService {
    async fn describe(
        &self,
        request: Request<DescribeRequest>,
    ) -> Result<Response<RegionState>, Status> {
        let leader = self.leader(&request)?;
        Ok(Response::new(describe(&leader)))
    }

    async fn plan_move(
        &self,
        request: Request<PlanMoveRequest>,
    ) -> Result<Response<PlanMoveReply>, Status> {
        let leader = self.leader(&request)?;
        let request = request.into_inner();
        let shard = shard(&leader, request.shard)?;
        Ok(Response::new(plan(&leader, shard, &request.target_pod)))
    }

    async fn execute_move(
        &self,
        request: Request<ExecuteMoveRequest>,
    ) -> Result<Response<MoveState>, Status> {
        let leader = self.leader(&request)?;
        let request = request.into_inner();
        if !leader.accept_operator(request.operator_term) {
            return Err(Status::permission_denied(DEPOSED));
        }
        let shard = shard(&leader, request.shard)?;
        let id = request.move_id.clone();
        let order = MoveOrder {
            id: request.move_id,
            shard,
            epoch: Epoch(request.epoch),
            source_pod: request.source_pod,
            target_pod: request.target_pod,
            max_fence_ms: request.max_fence_ms.clamp(50, 60_000),
            attempt: 1,
            operator_term: request.operator_term,
        };
        match leader.begin_move(order).await {
            Ok(()) => Ok(Response::new(await_move(&leader, shard, &id).await)),
            Err(MoveRefused::Unavailable(why)) => Err(Status::unavailable(why)),
            Err(refused) => {
                let reason = match refused {
                    MoveRefused::Active(_) => "Active",
                    MoveRefused::Precondition(_) | MoveRefused::Unavailable(_) => "SourceMoved",
                };
                Ok(Response::new(MoveState {
                    move_id: id,
                    phase: MovePhase::Failed.into(),
                    reason: reason.to_owned(),
                    message: refused.to_string(),
                    source_epoch: request.epoch,
                    ..MoveState::default()
                }))
            }
        }
    }

    async fn abort_move(
        &self,
        request: Request<AbortMoveRequest>,
    ) -> Result<Response<MoveState>, Status> {
        let leader = self.leader(&request)?;
        let request = request.into_inner();
        if !leader.accept_operator(request.operator_term) {
            return Err(Status::permission_denied(DEPOSED));
        }
        let shard = shard(&leader, request.shard)?;
        let aborted = leader.abort_move(shard, &request.move_id).await;
        aborted.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(await_move(&leader, shard, &request.move_id).await))
    }

    async fn describe_move(
        &self,
        request: Request<DescribeMoveRequest>,
    ) -> Result<Response<MoveState>, Status> {
        let leader = self.leader(&request)?;
        let request = request.into_inner();
        let shard = shard(&leader, request.shard)?;
        Ok(Response::new(leader.move_state(shard, &request.move_id)))
    }

    async fn set_placement(
        &self,
        request: Request<Placement>,
    ) -> Result<Response<PlacementReply>, Status> {
        let leader = self.leader(&request)?;
        let placement = request.into_inner();
        // Operators of versions before do not say.
        if placement.operator_term > 0 && !leader.accept_operator(placement.operator_term) {
            return Err(Status::permission_denied(DEPOSED));
        }
        let stored = StoredPlacement {
            generation: placement.generation,
            value: placement.encode_to_vec().into(),
        };
        let put = Write::Put {
            key: keys::PLACEMENT.to_owned(),
            value: stored.encode_to_vec().into(),
            lease: None,
        };
        let wishes = wishes_from(leader.deps(), &placement);
        let known = leader.see(|model| *model.wishes() == wishes);
        if !known {
            let written = leader.write(vec![put]).await;
            written.map_err(|error| Status::unavailable(error.to_string()))?;
            leader.change(|model| model.wish(wishes));
        }
        Ok(Response::new(PlacementReply {}))
    }
}

fn shard(leader: &Leader, number: u32) -> Result<ShardId, Status> {
    let shard = leader.deps().count.shard(number);
    shard.map_err(|error| Status::invalid_argument(error.to_string()))
}

/// Waits until a move has ended.
async fn await_move(leader: &Leader, shard: ShardId, id: &str) -> MoveState {
    let deadline = tokio::time::Instant::now() + MOVE_PATIENCE;
    loop {
        let state = leader.move_state(shard, id);
        let active = [MovePhase::Preparing, MovePhase::HandingOff];
        let ended = !active.into_iter().any(|phase| state.phase == i32::from(phase));
        if ended || tokio::time::Instant::now() >= deadline || leader.tasks.is_stopped() {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a move could run now, and what it would touch.
fn plan(leader: &Leader, shard: ShardId, target_pod: &str) -> PlanMoveReply {
    let predicted_fence_ms = leader.expected_fence_ms();
    leader.see(|model| {
        let mut reply = PlanMoveReply { predicted_fence_ms, ..PlanMoveReply::default() };
        match model.serving(shard) {
            None => reply.problems.push(format!("nobody serves shard {shard} at the moment")),
            Some((source, epoch)) => {
                let member = &model.members()[&source];
                reply.source_pod = member.about.pod.clone();
                reply.epoch = epoch.0;
                let share = u64::try_from(member.serving.len().max(1)).unwrap_or(1);
                reply.accounts = member.load.1 / share;
                reply.connections = member.load.2 / share;
                if reply.source_pod == target_pod {
                    reply.problems.push(format!("{target_pod} serves shard {shard} already"));
                }
            }
        }
        match model.session_of(target_pod) {
            None => reply.problems.push(format!("{target_pod} has no live session")),
            Some(id) if model.members()[&id].leaving => {
                reply.problems.push(format!("{target_pod} is ending"));
            }
            Some(_) => {}
        }
        if model.is_moving(shard) {
            reply.problems.push(format!("another move of shard {shard} is active"));
        }
        reply
    })
}

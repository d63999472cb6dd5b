//! Planned moves: at the source, empty a shard, release it, hand it over; at the target, claim it and
//! serve. Nothing here waits for Kubernetes, the operator or etcd.

mod convert;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use iris_core::code::Code;
use iris_core::id::ShardId;
use iris_core::seq::Epoch;
use iris_proto::peer::shard_move_server::ShardMove;
use iris_proto::peer::{
    CancelReply, CancelRequest, ClaimReply, ClaimRequest, Failure, PrepareReply, PrepareRequest,
    ReleaseReply, ReleaseRequest,
};
use iris_runtime::rpc::{self, require_role};
use iris_runtime::task::Tasks;
use iris_runtime::tls::{Identity, Role};
use parking_lot::Mutex;
use tonic::{Request, Response, Status};

use super::acquire::{AcquireError, Acquirer, Turn};
use super::held::{Held, Holding};
use super::inputs::LaneInput;

/// The service.
#[derive(Clone)]
pub(super) struct Moves {
    pub(super) identity: Identity,
    pub(super) acquirer: Arc<Acquirer>,
    pub(super) held: Arc<Held>,
    pub(super) tasks: Tasks,
    /// The highest operator term seen for each shard: an earlier one is refused.
    pub(super) terms: Arc<Mutex<BTreeMap<ShardId, u64>>>,
}

/// Why a step of a move did nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum MoveError {
    #[error("this session does not serve shard {0}")]
    NotServed(ShardId),
    #[error("shard {shard} is at epoch {found} here, not {expected}")]
    WrongEpoch { shard: ShardId, expected: Epoch, found: Epoch },
    #[error("the shard could not be emptied within {0} ms; it serves on")]
    TooSlow(u32),
    #[error("the target cannot be reached: {0}; the shard serves on")]
    Target(#[from] rpc::RpcError),
    #[error("an earlier operator asked")]
    OldTerm,
    #[error("unusable request: {0}")]
    Invalid(String),
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    #[error("{0}")]
    Store(#[from] iris_store::StoreError),
    #[error("what was handed over and the shard's rows contradict each other: see the owner's log")]
    Contradiction,
    #[error("the session is ending")]
    Ending,
}

#[tonic::async_trait]
impl ShardMove for Moves {
    async fn prepare(
        &self,
        request: Request<PrepareRequest>,
    ) -> Result<Response<PrepareReply>, Status> {
        require_role(&request, &[Role::ControlPlane])?;
        let reply = match self.prepare_target(request.into_inner()).await {
            Ok(reply) => reply,
            Err(error) => PrepareReply { failure: Some(failure(&error)), ..Default::default() },
        };
        Ok(Response::new(reply))
    }

    async fn release(
        &self,
        request: Request<ReleaseRequest>,
    ) -> Result<Response<ReleaseReply>, Status> {
        require_role(&request, &[Role::ControlPlane])?;
        let request = request.into_inner();
        // Once begun it goes on though the caller goes away: an unfinished release serves nobody.
        let moves = self.clone();
        let (done, released) = tokio::sync::oneshot::channel();
        self.tasks.spawn("release", async move {
            let result = moves.release_source(request).await;
            // The caller may be gone.
            let _ = done.send(result);
        });
        let reply = match released.await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => ReleaseReply { failure: Some(failure(&error)), ..Default::default() },
            Err(_) => return Err(Status::unavailable("the session is ending")),
        };
        Ok(Response::new(reply))
    }

    async fn claim(&self, request: Request<ClaimRequest>) -> Result<Response<ClaimReply>, Status> {
        require_role(&request, &[Role::Owner, Role::ControlPlane])?;
        let request = request.into_inner();
        // Once begun it goes on though the source waits no longer: nobody else may have the shard then.
        let moves = self.clone();
        let (done, claimed) = tokio::sync::oneshot::channel();
        self.tasks.spawn("claim", async move {
            let result = moves.claim_target(request).await;
            // The source may be gone.
            let _ = done.send(result);
        });
        let reply = match claimed.await {
            Ok(Ok(epoch)) => ClaimReply { failure: None, epoch: epoch.0 },
            Ok(Err(error)) => ClaimReply { failure: Some(failure(&error)), epoch: 0 },
            Err(_) => return Err(Status::unavailable("the claim ended without a result")),
        };
        Ok(Response::new(reply))
    }

    async fn cancel(
        &self,
        request: Request<CancelRequest>,
    ) -> Result<Response<CancelReply>, Status> {
        require_role(&request, &[Role::ControlPlane])?;
        // Nothing is kept for a prepared move; a release that began ends by itself.
        tracing::debug!(move_id = request.get_ref().move_id, "a move was cancelled");
        Ok(Response::new(CancelReply {}))
    }
}

impl Moves {
    /// Reads what a claim would need, and so proves that it can be read here.
    async fn prepare_target(&self, request: PrepareRequest) -> Result<PrepareReply, MoveError> {
        let shard = self.shard(request.shard)?;
        self.check_term(shard, request.operator_term)?;
        if let Some(Holding::Serving(found)) = self.held.get(shard) {
            let expected = Epoch(request.epoch);
            return Err(MoveError::WrongEpoch { shard, expected, found });
        }
        let store = &self.acquirer.store;
        let head = store.epoch_head(self.acquirer.shard_ref(shard)).await?;
        let found = head.map(|row| row.epoch).unwrap_or_default();
        if found != Epoch(request.epoch) {
            return Err(MoveError::WrongEpoch { shard, expected: Epoch(request.epoch), found });
        }
        store.checkpoint(shard).await?;
        Ok(PrepareReply::default())
    }

    /// Claims a shard that was released to this session. Repeating it answers the same.
    async fn claim_target(&self, request: ClaimRequest) -> Result<Epoch, MoveError> {
        let shard = self.shard(request.shard)?;
        self.check_term(shard, request.operator_term)?;
        let released = Epoch(request.released_epoch);
        if let Some(Holding::Serving(epoch)) = self.held.get(shard)
            && epoch > released
        {
            return Ok(epoch);
        }
        if !self.held.begin(shard) {
            return Err(MoveError::Invalid("the shard is being moved here already".to_owned()));
        }
        let taken = async {
            match request.handed_over.map(convert::from_wire) {
                Some(Ok(hot)) => self.acquirer.take_released(shard, released, hot).await,
                // What cannot be understood is read from the store instead.
                Some(Err(_)) | None => {
                    self.acquirer.acquire(shard, &BTreeSet::new(), Turn::Now).await
                }
            }
        };
        match AssertUnwindSafe(taken).catch_unwind().await {
            Ok(Ok(acquired)) => {
                self.held.served(shard, acquired.epoch);
                Ok(acquired.epoch)
            }
            Ok(Err(error)) => {
                self.held.failed(shard, error.to_string());
                Err(error.into())
            }
            Err(_) => {
                self.held.failed(shard, MoveError::Contradiction.to_string());
                Err(MoveError::Contradiction)
            }
        }
    }

    fn shard(&self, number: u32) -> Result<ShardId, MoveError> {
        let shard = self.acquirer.config.shard_count.shard(number);
        shard.map_err(|error| MoveError::Invalid(error.to_string()))
    }

    fn check_term(&self, shard: ShardId, term: u64) -> Result<(), MoveError> {
        let mut terms = self.terms.lock();
        let seen = terms.entry(shard).or_default();
        if term < *seen {
            return Err(MoveError::OldTerm);
        }
        *seen = term;
        Ok(())
    }

    async fn tell_lane(&self, shard: ShardId, input: LaneInput) -> Result<(), MoveError> {
        self.acquirer.lanes.of(shard).tell(input).await.map_err(|_| MoveError::Ending)
    }
}

fn failure(error: &MoveError) -> Failure {
    let code = match error {
        MoveError::NotServed(_) | MoveError::WrongEpoch { .. } => Code::OwnerMoving,
        MoveError::TooSlow(_)
        | MoveError::Store(_)
        | MoveError::Acquire(_)
        | MoveError::Contradiction => Code::StoreUnavailable,
        MoveError::OldTerm | MoveError::Invalid(_) => Code::Invalid,
        MoveError::Ending | MoveError::Target(_) => Code::Overloaded,
    };
    Failure { code: code.number().into(), retry_after_ms: 0, text: error.to_string(), moved: None }
}

//! The source of a planned move.

use std::time::Duration;

use iris_core::engine::Drained;
use iris_core::id::{SessionId, ShardId};
use iris_core::seq::{BlockSeq, Epoch};
use iris_proto::peer::shard_move_client::ShardMoveClient;
use iris_proto::peer::{ClaimRequest, HandedOver, ReleaseReply, ReleaseRequest};
use iris_runtime::backoff::Backoff;
use iris_runtime::rpc;
use iris_runtime::tls::Role;
use iris_store::{Cas, StoreError};
use tokio::time::Instant;
use tonic::transport::Channel;

use super::super::inputs::{LaneInput, Whereabouts};
use super::{MoveError, Moves, convert};

/// How long the target may take to claim before anybody may.
const CLAIM_PATIENCE: Duration = Duration::from_secs(2);

impl Moves {
    /// Empties, releases and hands over a shard.
    pub(super) async fn release_source(
        &self,
        request: ReleaseRequest,
    ) -> Result<ReleaseReply, MoveError> {
        let shard = self.shard(request.shard)?;
        self.check_term(shard, request.operator_term)?;
        // Before anything stops: the handshake is no part of the pause, and a target that cannot be
        // reached costs none.
        let target = rpc::connect(&self.identity, Role::Owner, &request.target_address).await?;
        let epoch = self.held.leave(shard).ok_or(MoveError::NotServed(shard))?;
        if epoch != Epoch(request.epoch) {
            self.held.served(shard, epoch);
            let expected = Epoch(request.epoch);
            return Err(MoveError::WrongEpoch { shard, expected, found: epoch });
        }
        let drained = match self.empty(shard, request.max_fence_ms).await {
            Ok(drained) => drained,
            Err(error) => {
                // No release was sent: the shard serves on as if nothing had been.
                self.held.served(shard, epoch);
                return Err(error);
            }
        };
        let began = Instant::now();
        // From here on nothing is appended under this epoch, whatever becomes of the release.
        let state = self.acquirer.lanes.of(shard);
        let state = state.ask(|removed| LaneInput::Remove { shard, removed }).await;
        let state = state.map_err(|_| MoveError::Ending)?.ok_or(MoveError::NotServed(shard))?;
        let (claimed_before, handed_over) =
            tokio::join!(self.release(shard, epoch, drained.end_block), async {
                convert::to_wire(&state, &drained)
            },);
        self.acquirer.metrics.released.inc();
        if let Some(epoch) = claimed_before {
            self.held.left(shard);
            return Ok(self.moved_on(shard, epoch, &drained).await);
        }
        let claimed = self.hand_over(target, &request, epoch, handed_over).await;
        match claimed {
            Some(_) => self.held.left(shard),
            None => self.held.left_to_nobody(shard),
        }
        let fence = began.elapsed() + Duration::from_micros(drained.stopped_us);
        self.acquirer.metrics.move_s.observe(fence.as_secs_f64());
        Ok(self.reply(&request, shard, &drained, claimed, fence).await)
    }

    async fn empty(&self, shard: ShardId, max_fence_ms: u32) -> Result<Drained, MoveError> {
        let lane = self.acquirer.lanes.of(shard);
        let drained = lane.ask(|done| LaneInput::Drain { shard, done });
        let patience = Duration::from_millis(max_fence_ms.max(1).into());
        match tokio::time::timeout(patience, drained).await {
            Ok(Ok(drained)) => Ok(drained),
            Ok(Err(_)) => Err(MoveError::NotServed(shard)),
            Err(_) => {
                self.tell_lane(shard, LaneInput::CancelDrain { shard }).await?;
                Err(MoveError::TooSlow(max_fence_ms))
            }
        }
    }

    /// Releases the epoch, until that is read as done. Answers the epoch that followed, if somebody
    /// claimed it before this was known.
    async fn release(&self, shard: ShardId, epoch: Epoch, end: BlockSeq) -> Option<Epoch> {
        let at = self.acquirer.shard_ref(shard);
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            match self.acquirer.store.release(at, epoch, end).await {
                Ok(Cas::Applied) => return None,
                Ok(Cas::Refused) => {}
                Err(StoreError::Unknown(why)) => {
                    tracing::warn!(%shard, why, "the outcome of a release is unknown");
                }
                Err(error) => tracing::warn!(%shard, %error, "a release is tried again"),
            }
            match self.acquirer.store.epoch_head(at).await {
                Ok(Some(row)) if row.epoch > epoch => return Some(row.epoch),
                Ok(Some(row)) if row.epoch == epoch && row.released_block.is_some() => return None,
                Ok(_) | Err(_) => backoff.wait().await,
            }
        }
    }

    /// Gives the target what it would otherwise read, and has it claim. Answers the epoch.
    async fn hand_over(
        &self,
        target: Channel,
        request: &ReleaseRequest,
        epoch: Epoch,
        handed_over: Option<HandedOver>,
    ) -> Option<Epoch> {
        let claim = ClaimRequest {
            move_id: request.move_id.clone(),
            shard: request.shard,
            home_gen: request.home_gen,
            released_epoch: epoch.0,
            operator_term: request.operator_term,
            handed_over,
        };
        let mut client =
            ShardMoveClient::new(target).max_encoding_message_size(rpc::MESSAGE_BYTES_MAX);
        let claimed = async {
            let reply = client.claim(claim).await.map_err(|status| status.to_string())?;
            let reply = reply.into_inner();
            match reply.failure {
                None => Ok(Epoch(reply.epoch)),
                Some(failure) => Err(failure.text),
            }
        };
        match tokio::time::timeout(CLAIM_PATIENCE, claimed).await {
            Ok(Ok(epoch)) => Some(epoch),
            Ok(Err(why)) => {
                tracing::warn!(shard = request.shard, why, "the target did not claim");
                None
            }
            Err(_) => {
                tracing::warn!(shard = request.shard, "the target did not claim in its time");
                None
            }
        }
    }

    async fn reply(
        &self,
        request: &ReleaseRequest,
        shard: ShardId,
        drained: &Drained,
        claimed: Option<Epoch>,
        fence: Duration,
    ) -> ReleaseReply {
        let session = claimed.and_then(|_| SessionId::from_bytes(&request.target_session).ok());
        let to = Whereabouts {
            epoch: claimed.unwrap_or_default(),
            session,
            address: request.target_address.clone(),
        };
        // A lane that is gone has nobody to tell.
        let _ = self.tell_lane(shard, LaneInput::Moved { shard, to }).await;
        ReleaseReply {
            failure: None,
            released_block: drained.end_block.0,
            last_seq: drained.last_seq.0,
            fence_ms: u32::try_from(fence.as_millis()).unwrap_or(u32::MAX),
            refused: drained.refused,
            claimed: claimed.is_some(),
            claimed_epoch: claimed.unwrap_or_default().0,
        }
    }

    /// Somebody claimed the next epoch while the release was being found out.
    async fn moved_on(&self, shard: ShardId, epoch: Epoch, drained: &Drained) -> ReleaseReply {
        let to = Whereabouts { epoch, session: None, address: String::new() };
        // A lane that is gone has nobody to tell.
        let _ = self.tell_lane(shard, LaneInput::Moved { shard, to }).await;
        ReleaseReply {
            released_block: drained.end_block.0,
            last_seq: drained.last_seq.0,
            refused: drained.refused,
            claimed: true,
            claimed_epoch: epoch.0,
            ..ReleaseReply::default()
        }
    }
}

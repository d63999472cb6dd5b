//! The steps of a move.

use std::sync::Arc;
use std::time::Duration;

use iris_core::id::{SessionId, ShardId};
use iris_core::seq::Epoch;
use iris_proto::control::MovePhase;
use iris_proto::coordinated::Move;
use iris_proto::peer::shard_move_client::ShardMoveClient;
use iris_proto::peer::{PrepareRequest, ReleaseReply, ReleaseRequest};
use iris_runtime::rpc;
use iris_runtime::tls::Role;
use tonic::transport::Channel;

use super::super::Leader;

/// The target must prove within this time that it can take the shard.
const PREPARE_PATIENCE: Duration = Duration::from_secs(5);
/// Beyond the fence's own limit, an answer of the source is waited for so long.
const RELEASE_PATIENCE: Duration = Duration::from_secs(8);
/// After a hand-off without an answer, the shard is kept for its target so long.
const OUTCOME_PATIENCE: Duration = Duration::from_secs(20);
/// So often its outcome is looked for.
const OUTCOME_POLL: Duration = Duration::from_millis(100);
/// And later on.
const OUTCOME_POLL_LATE: Duration = Duration::from_secs(1);

/// How a step failed: the machine's word for it, and the people's.
struct Failed(&'static str, String);

impl Leader {
    /// Takes a move from where it stands to its end.
    pub(super) async fn run_move(self: &Arc<Self>, mut stored: Move) {
        let Ok(shard) = self.deps.count.shard(stored.shard) else { return };
        let ended = if stored.phase == i32::from(MovePhase::Preparing) {
            self.prepare_and_hand_over(shard, &mut stored).await
        } else {
            // An earlier leader was handing over: the outcome is in the store.
            self.find_outcome(shard, &stored).await
        };
        match ended {
            Ok(reply) => {
                stored.phase = i32::from(MovePhase::Committed);
                stored.committed_epoch = reply.claimed_epoch;
                stored.released_block = reply.released_block;
                stored.fence_ms = reply.fence_ms;
                stored.refused = reply.refused;
                stored.reason = "Moved".to_owned();
                stored.message = format!("served by {}", stored.target_pod);
                let seconds = Duration::from_millis(reply.fence_ms.into()).as_secs_f64();
                self.deps.metrics.move_s.observe(seconds);
            }
            Err(Failed(reason, message)) => {
                stored.phase = i32::from(MovePhase::Aborted);
                stored.reason = reason.to_owned();
                stored.message = message;
            }
        }
        self.conclude(shard, stored).await;
    }

    async fn conclude(&self, shard: ShardId, mut stored: Move) {
        let committed = stored.phase == i32::from(MovePhase::Committed);
        let outcome = if committed { "committed" } else { "aborted" };
        self.deps.metrics.moves.with_label_values(&[outcome]).inc();
        tracing::info!(
            %shard,
            move_id = stored.move_id,
            outcome,
            fence_ms = stored.fence_ms,
            reason = stored.reason,
            message = stored.message,
            "a move ended"
        );
        stored.ended_at_ms = self.deps.clock.now().wall.0;
        let target = SessionId::from_bytes(&stored.target_session).ok();
        let mut tries = 0;
        while let Err(error) = self.store_move(stored.clone()).await {
            tracing::warn!(%error, %shard, "the end of a move is written again");
            tries += 1;
            if tries > 50 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.change(|model| model.end_move(shard, target.filter(|_| committed)));
    }

    async fn prepare_and_hand_over(
        self: &Arc<Self>,
        shard: ShardId,
        stored: &mut Move,
    ) -> Result<ReleaseReply, Failed> {
        let target = self.member(&stored.target_session, "TargetLost")?;
        let source = self.member(&stored.source_session, "SourceLost")?;
        self.prepare(shard, stored, &target.1).await?;
        if self.known_move(shard).is_none_or(|known| super::has_ended(&known)) {
            let message = "aborted before the hand-off; the source serves on".to_owned();
            return Err(Failed("Aborted", message));
        }
        stored.phase = i32::from(MovePhase::HandingOff);
        let written = self.store_move(stored.clone()).await;
        written.map_err(|error| Failed("Unavailable", error.to_string()))?;
        match self.release(shard, stored, &source, &target).await {
            Ok(reply) if reply.claimed => Ok(reply),
            // Released and not claimed: whoever is assigned claims it, the target first.
            Ok(reply) => {
                self.change(|model| model.end_move(shard, Some(target.0)));
                self.change(|model| model.begin_move(shard));
                let found = self.find_outcome(shard, stored).await?;
                Ok(ReleaseReply { claimed_epoch: found.claimed_epoch, ..reply })
            }
            Err(failed) if failed.0 == "NoAnswer" => self.find_outcome(shard, stored).await,
            Err(failed) => Err(failed),
        }
    }

    /// A session and its address, if it lives.
    fn member(&self, id: &[u8], reason: &'static str) -> Result<(SessionId, String), Failed> {
        let found = SessionId::from_bytes(id).ok().and_then(|id| {
            let address =
                self.see(|model| model.members().get(&id).map(|m| m.about.address.clone()));
            Some((id, address?))
        });
        found.ok_or_else(|| Failed(reason, "its session ended; the shard stays".to_owned()))
    }

    async fn channel(&self, address: &str) -> Result<ShardMoveClient<Channel>, String> {
        let channel = rpc::connect(&self.deps.identity, Role::Owner, address).await;
        let channel = channel.map_err(|error| error.to_string())?;
        Ok(ShardMoveClient::new(channel).max_decoding_message_size(rpc::MESSAGE_BYTES_MAX))
    }

    async fn prepare(&self, shard: ShardId, stored: &Move, address: &str) -> Result<(), Failed> {
        let failed = |text: String| Failed("TargetNotReady", text);
        let mut client = self.channel(address).await.map_err(failed)?;
        let request = PrepareRequest {
            move_id: stored.move_id.clone(),
            shard: shard.into(),
            home_gen: self.deps.home_gen.0.into(),
            epoch: stored.epoch,
            source_session: stored.source_session.clone(),
            operator_term: stored.operator_term,
        };
        let prepared = tokio::time::timeout(PREPARE_PATIENCE, client.prepare(request)).await;
        let reply = prepared
            .map_err(|_| failed("the target did not answer in time".to_owned()))?
            .map_err(|status| failed(status.to_string()))?;
        match reply.into_inner().failure {
            None => Ok(()),
            Some(failure) => Err(failed(failure.text)),
        }
    }

    async fn release(
        &self,
        shard: ShardId,
        stored: &Move,
        (source, source_address): &(SessionId, String),
        (target, target_address): &(SessionId, String),
    ) -> Result<ReleaseReply, Failed> {
        let failed = |text: String| Failed("SourceNotReady", text);
        let mut client = self.channel(source_address).await.map_err(failed)?;
        let request = ReleaseRequest {
            move_id: stored.move_id.clone(),
            shard: shard.into(),
            home_gen: self.deps.home_gen.0.into(),
            epoch: stored.epoch,
            target_session: target.to_bytes().to_vec().into(),
            target_address: target_address.clone(),
            max_fence_ms: stored.max_fence_ms,
            operator_term: stored.operator_term,
        };
        let patience = RELEASE_PATIENCE + Duration::from_millis(stored.max_fence_ms.into());
        // From here on the source may have released: no answer says nothing.
        let unknown = |text: String| Failed("NoAnswer", text);
        let released = tokio::select! {
            released = tokio::time::timeout(patience, client.release(request)) => released,
            () = self.until_dead(*source) => return Err(unknown("the source died".to_owned())),
        };
        let reply = released
            .map_err(|_| unknown("the source did not answer in time".to_owned()))?
            .map_err(|status| unknown(status.to_string()))?
            .into_inner();
        match &reply.failure {
            None => Ok(reply),
            Some(failure) => Err(failed(failure.text.clone())),
        }
    }

    fn is_dead(&self, session: SessionId) -> bool {
        let now = self.deps.clock.now().mono;
        self.see(|model| model.is_dead(session, now))
    }

    async fn until_dead(&self, session: SessionId) {
        while !self.is_dead(session) {
            tokio::time::sleep(OUTCOME_POLL).await;
        }
    }

    /// What became of a hand-off, by the store: the target has it, or somebody else does, or the source
    /// still has it, or died with it. Looked for until it is known: a move that nobody knows the outcome of is
    /// neither a success nor a failure, and no other move of the shard begins.
    async fn find_outcome(&self, shard: ShardId, stored: &Move) -> Result<ReleaseReply, Failed> {
        let deadline = tokio::time::Instant::now() + OUTCOME_PATIENCE;
        let source_epoch = Epoch(stored.epoch);
        let mut let_go = false;
        loop {
            if let Ok(Some(row)) = self.deps.store.epoch_head(self.shard_ref(shard)).await {
                self.change(|model| model.found(shard, row));
                let by_target = row.session.to_bytes()[..] == stored.target_session[..];
                if row.epoch > source_epoch && by_target {
                    let reply = ReleaseReply { claimed: true, ..ReleaseReply::default() };
                    return Ok(ReleaseReply { claimed_epoch: row.epoch.0, ..reply });
                }
                if row.epoch > source_epoch {
                    let text = "another owner took the shard over".to_owned();
                    return Err(Failed("TakenOver", text));
                }
                if row.released_block.is_none() && self.is_dead(row.session) {
                    // Nobody takes a shard over while it moves: the move is what has to end.
                    let text = "its session ended before it released the shard".to_owned();
                    return Err(Failed("SourceLost", text));
                }
                let served = self.see(|model| model.serving(shard)).is_some();
                let late = tokio::time::Instant::now() + OUTCOME_PATIENCE / 2 > deadline;
                if row.released_block.is_none() && served && late {
                    let text = "the source did not release the shard and serves on".to_owned();
                    return Err(Failed("SourceNotReady", text));
                }
                if row.released_block.is_some() && !let_go {
                    // Nobody claimed it yet: it is assigned to the target.
                    let target = SessionId::from_bytes(&stored.target_session).ok();
                    self.change(|model| {
                        model.end_move(shard, target);
                        model.begin_move(shard);
                    });
                }
            }
            if !let_go && tokio::time::Instant::now() >= deadline {
                tracing::warn!(%shard, move_id = stored.move_id, "the outcome is not known yet");
                let_go = true;
                // Whoever should have the shard may take it, whatever became of the move.
                self.change(|model| model.end_move(shard, None));
            }
            tokio::time::sleep(if let_go { OUTCOME_POLL_LATE } else { OUTCOME_POLL }).await;
        }
    }
}

//! Planned moves: one at a time for each shard, in etcd from the first step on. The hand-off itself is
//! between the two owners; a leader that goes away in the middle cannot lengthen it.

mod leave;
mod run;

use std::sync::Arc;

use iris_coord::{CoordError, Write};
use iris_core::id::{SessionId, ShardId};
use iris_core::seq::Epoch;
use iris_proto::control::{MovePhase, MoveState};
use iris_proto::coordinated::Move;
use iris_proto::coordinated_keys as keys;
use prost::Message as _;

use super::Leader;

/// A move that somebody asks for.
#[derive(Debug, Clone)]
pub struct MoveOrder {
    /// Names it; asking twice under one name is asking once.
    pub id: String,
    /// Which shard.
    pub shard: ShardId,
    /// The ownership that it must be at.
    pub epoch: Epoch,
    /// The pod that must serve it; any where it is empty.
    pub source_pod: String,
    /// The pod that should.
    pub target_pod: String,
    /// How long the source may refuse sends.
    pub max_fence_ms: u32,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// The term of the operator that asks.
    pub operator_term: u64,
}

/// Why a move does not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefused {
    /// Another move of the shard is active.
    #[error("move {0} of this shard is active")]
    Active(String),
    /// The shard is not where the order says.
    #[error("{0}")]
    Precondition(String),
    /// etcd does not answer.
    #[error("{0}")]
    Unavailable(String),
}

impl From<CoordError> for MoveRefused {
    fn from(error: CoordError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// A move that was aborted before its order arrived.
fn never_begun(shard: ShardId, id: &str) -> Move {
    Move {
        move_id: id.to_owned(),
        shard: shard.into(),
        phase: MovePhase::Aborted.into(),
        reason: "Aborted".to_owned(),
        message: "aborted before it began; the source serves on".to_owned(),
        ..Move::default()
    }
}

impl Leader {
    /// Begins a move, or finds it where it began before.
    pub(crate) async fn begin_move(self: &Arc<Self>, order: MoveOrder) -> Result<(), MoveRefused> {
        if let Some(known) = self.known_move(order.shard) {
            if known.move_id == order.id {
                return Ok(());
            }
            if !has_ended(&known) {
                return Err(MoveRefused::Active(known.move_id));
            }
        }
        let (source, target) = self.ends_of(&order)?;
        if !self.change(|model| model.begin_move(order.shard)) {
            return Err(MoveRefused::Active("of a leaving owner".to_owned()));
        }
        let stored = Move {
            move_id: order.id.clone(),
            shard: order.shard.into(),
            epoch: order.epoch.0,
            source_session: source.to_bytes().to_vec().into(),
            target_session: target.to_bytes().to_vec().into(),
            source_pod: order.source_pod.clone(),
            target_pod: order.target_pod.clone(),
            phase: MovePhase::Preparing.into(),
            attempts: order.attempt,
            operator_term: order.operator_term,
            max_fence_ms: order.max_fence_ms,
            ..Move::default()
        };
        if let Err(error) = self.store_move(stored.clone()).await {
            self.change(|model| model.end_move(order.shard, None));
            return Err(error.into());
        }
        let leader = Arc::clone(self);
        self.tasks.spawn("move", async move { leader.run_move(stored).await });
        Ok(())
    }

    /// The sessions that a move is between, if the shard is where the order says.
    fn ends_of(&self, order: &MoveOrder) -> Result<(SessionId, SessionId), MoveRefused> {
        let precondition = |text: String| MoveRefused::Precondition(text);
        self.see(|model| {
            let shard = order.shard;
            let served = model.serving(shard);
            let (source, epoch) = served.ok_or_else(|| {
                precondition(format!("nobody serves shard {shard} at the moment"))
            })?;
            if epoch != order.epoch {
                let expected = order.epoch;
                let text = format!("shard {shard} is at epoch {epoch}, not {expected}");
                return Err(precondition(text));
            }
            let pod = &model.members()[&source].about.pod;
            if !order.source_pod.is_empty() && *pod != order.source_pod {
                let expected = &order.source_pod;
                let text = format!("shard {shard} is served by {pod}, not by {expected}");
                return Err(precondition(text));
            }
            let target = model
                .session_of(&order.target_pod)
                .ok_or_else(|| precondition(format!("{} has no live session", order.target_pod)))?;
            if target == source {
                return Err(precondition(format!("{pod} serves shard {shard} already")));
            }
            Ok((source, target))
        })
    }

    /// Ends a move that has not handed over yet.
    pub(crate) async fn abort_move(&self, shard: ShardId, id: &str) -> Result<(), CoordError> {
        let newest = self.known_move(shard);
        let Some(mut known) = newest.clone().filter(|known| known.move_id == id) else {
            if newest.is_none_or(|newest| has_ended(&newest)) {
                // An order under this name may still be on its way: it must find that it came too late.
                self.store_move(never_begun(shard, id)).await?;
            }
            return Ok(());
        };
        if known.phase == i32::from(MovePhase::Preparing) {
            known.phase = i32::from(MovePhase::Aborted);
            known.reason = "Aborted".to_owned();
            known.message = "aborted before the hand-off; the source serves on".to_owned();
            self.store_move(known).await?;
        }
        Ok(())
    }

    /// How long writes paused in the newest moves of all shards: nine of ten took no longer. 0 while there
    /// was none.
    pub(crate) fn expected_fence_ms(&self) -> u32 {
        let moves = self.moves.lock();
        let committed = |known: &&Move| known.phase == i32::from(MovePhase::Committed);
        nine_of_ten(moves.values().filter(committed).map(|known| known.fence_ms).collect())
    }

    /// The newest move of a shard.
    pub(crate) fn known_move(&self, shard: ShardId) -> Option<Move> {
        self.moves.lock().get(&shard).cloned()
    }

    /// How a move stands.
    pub(crate) fn move_state(&self, shard: ShardId, id: &str) -> MoveState {
        match self.known_move(shard).filter(|known| known.move_id == id) {
            Some(known) => state_of(&known),
            None => MoveState {
                move_id: id.to_owned(),
                phase: MovePhase::Unknown.into(),
                ..MoveState::default()
            },
        }
    }

    /// Writes a move where it survives this leader.
    async fn store_move(&self, stored: Move) -> Result<(), CoordError> {
        let shard = self.deps.count.shard(stored.shard);
        let Ok(shard) = shard else { return Ok(()) };
        let put = Write::Put {
            key: keys::active_move(shard),
            value: stored.encode_to_vec().into(),
            lease: None,
        };
        self.commit(vec![put]).await?;
        self.moves.lock().insert(shard, stored);
        Ok(())
    }

    /// Goes on with the moves that an earlier leader began.
    pub(super) fn resume_moves(self: &Arc<Self>) {
        let active: Vec<_> =
            self.moves.lock().values().filter(|known| !has_ended(known)).cloned().collect();
        for stored in active {
            if let Ok(shard) = self.deps.count.shard(stored.shard) {
                self.change(|model| model.begin_move(shard));
                let leader = Arc::clone(self);
                self.tasks.spawn("move", async move { leader.run_move(stored).await });
            }
        }
    }

    /// Moves the shards of sessions that want to end, a few at a time.
    pub(super) fn empty_leaving(self: &Arc<Self>) {
        let (term, now) = (*self.operator_term.lock(), self.deps.clock.now().wall);
        let orders = self.see(|model| leave::next(model, &self.moves.lock(), term, now));
        for order in orders {
            let leader = Arc::clone(self);
            self.tasks.spawn("leave", async move {
                if let Err(error) = leader.begin_move(order).await {
                    tracing::debug!(%error, "a shard of a leaving owner moves later");
                }
            });
        }
    }
}

/// What nine of ten are no greater than; 0 of none.
fn nine_of_ten(mut values: Vec<u32>) -> u32 {
    values.sort_unstable();
    let at = (values.len() * 9).div_ceil(10).saturating_sub(1);
    values.get(at).copied().unwrap_or_default()
}

/// Whether a move is over.
pub(crate) fn has_ended(known: &Move) -> bool {
    let ended = [MovePhase::Committed, MovePhase::Aborted, MovePhase::Failed];
    ended.into_iter().any(|phase| known.phase == i32::from(phase))
}

fn state_of(known: &Move) -> MoveState {
    MoveState {
        move_id: known.move_id.clone(),
        phase: known.phase,
        reason: known.reason.clone(),
        message: known.message.clone(),
        source_epoch: known.epoch,
        committed_epoch: known.committed_epoch,
        released_block: known.released_block,
        fence_ms: known.fence_ms,
        refused: known.refused,
        attempts: known.attempts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nine_of_ten_moves_took_is_expected_of_the_next() {
        assert_eq!(nine_of_ten(Vec::new()), 0);
        assert_eq!(nine_of_ten(vec![40]), 40);
        assert_eq!(nine_of_ten((1..=10).rev().collect()), 9);
        assert_eq!(nine_of_ten((1..=100).collect()), 90);
    }
}

//! The source of a planned move: empty a shard, release it, hand it over.

use iris_check::history::What;
use iris_core::engine::Drained;
use iris_core::id::ShardId;
use iris_core::seq::Epoch;
use iris_core::shard::Shard;
use iris_core::takeover::Reading;

use crate::control::Whereabouts;
use crate::network::Node;
use crate::store::{Answer, Failed, Swap};
use crate::world::World;

use super::{Again, Call, Holding, Hot, Next};

/// How long a shard may take to be emptied, and a target to claim.
const PATIENCE_US: u64 = 2_000_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct HandOver {
    epoch: Epoch,
    target: usize,
    stage: Stage,
    turn: u64,
}

#[derive(Debug)]
enum Stage {
    Emptying,
    /// The release was sent: nothing is appended any more, whatever becomes of it.
    Releasing {
        state: Box<Shard>,
        drained: Drained,
    },
    Claiming,
}

impl World {
    /// The control plane wants a shard moved.
    pub(super) fn release(&mut self, owner: usize, shard: ShardId, epoch: Epoch, target: usize) {
        let state = &mut self.owners[owner];
        if state.held.get(&shard) != Some(&Holding::Serving(epoch)) {
            return self.move_ended(shard);
        }
        state.held.insert(shard, Holding::Leaving(epoch));
        state.next_token += 1;
        let turn = state.next_token;
        let stage = Stage::Emptying;
        state.hand_overs.insert(shard, HandOver { epoch, target, stage, turn });
        let lane = state.lane_of(shard);
        let now = self.now_at(self.owners[owner].pod);
        let mut actions = Vec::new();
        let engine = &mut self.owners[owner].lanes[usize::from(lane)].engine;
        engine.drain(now, shard, &mut actions);
        self.perform(owner, lane, actions);
        self.kick(owner, lane);
        let again = Again::DrainPatience { shard, turn };
        self.agenda.after(PATIENCE_US, crate::world::Event::Again { owner, again });
    }

    pub(super) fn drain_takes_too_long(&mut self, owner: usize, shard: ShardId, turn: u64) {
        let state = &mut self.owners[owner];
        let Some(hand_over) = state.hand_overs.get(&shard).filter(|h| h.turn == turn) else {
            return;
        };
        if !matches!(hand_over.stage, Stage::Emptying) {
            return;
        }
        // No release was sent: the shard serves on as if nothing had been.
        let epoch = hand_over.epoch;
        state.hand_overs.remove(&shard);
        state.held.insert(shard, Holding::Serving(epoch));
        let lane = state.lane_of(shard);
        state.lanes[usize::from(lane)].engine.cancel_drain(shard);
        self.book.sometimes.cancelled_moves += 1;
        self.move_ended(shard);
    }

    /// The shard is empty: it is taken out of service, then its release is sent.
    pub(super) fn remove_drained(&mut self, owner: usize, drained: Drained) {
        let shard = drained.shard;
        let state = &mut self.owners[owner];
        let emptying = |h: &HandOver| matches!(h.stage, Stage::Emptying);
        if !state.hand_overs.get(&shard).is_some_and(emptying) {
            return;
        }
        let lane = state.lane_of(shard);
        let Some(removed) = state.lanes[usize::from(lane)].engine.remove(shard) else { return };
        if let Some(hand_over) = state.hand_overs.get_mut(&shard) {
            hand_over.stage = Stage::Releasing { state: Box::new(removed), drained };
        }
        self.send_release(owner, shard);
    }

    pub(super) fn send_release(&mut self, owner: usize, shard: ShardId) {
        let Some(HandOver { epoch, stage: Stage::Releasing { drained, .. }, .. }) =
            self.owners[owner].hand_overs.get(&shard)
        else {
            return;
        };
        let swap = Swap::Release(shard, *epoch, drained.end_block);
        self.swap(owner, swap, Next::Released { shard });
    }

    pub(super) fn release_answered(
        &mut self,
        owner: usize,
        shard: ShardId,
        answer: Result<Answer, Failed>,
    ) {
        match answer {
            Ok(Answer::Swapped(true)) => self.released(owner, shard),
            // Refused, or unknown: what is so is read.
            Ok(_) | Err(Failed) => self.look_after_release(owner, shard),
        }
    }

    pub(super) fn look_after_release(&mut self, owner: usize, shard: ShardId) {
        self.read_epochs(owner, (shard, Reading::Serial), Next::AfterRelease { shard });
    }

    pub(super) fn after_release(
        &mut self,
        owner: usize,
        shard: ShardId,
        answer: Result<Answer, Failed>,
    ) {
        let Some(hand_over) = self.owners[owner].hand_overs.get(&shard) else { return };
        let epoch = hand_over.epoch;
        let Ok(Answer::Epochs(rows)) = answer else {
            return self.later(owner, Again::AfterRelease { shard }, 100_000);
        };
        match rows.last() {
            Some(row) if row.epoch > epoch => {
                // Somebody claimed it before that was known.
                self.note_released(shard, epoch);
                self.owners[owner].hand_overs.remove(&shard);
                self.owners[owner].held.remove(&shard);
                let to = self.by_session.get(&row.session).copied();
                let to = to.map(|owner| Whereabouts { epoch: row.epoch, owner });
                self.left(owner, shard, to);
            }
            Some(row) if row.epoch == epoch && row.released_block.is_some() => {
                self.released(owner, shard);
            }
            _ => self.later(owner, Again::Release { shard }, 50_000),
        }
    }

    fn note_released(&mut self, shard: ShardId, epoch: Epoch) {
        self.note(What::Released { shard: shard.into(), epoch: epoch.0 });
    }

    /// The release is known to be applied: the target claims.
    fn released(&mut self, owner: usize, shard: ShardId) {
        let Some(hand_over) = self.owners[owner].hand_overs.get_mut(&shard) else { return };
        let stage = std::mem::replace(&mut hand_over.stage, Stage::Claiming);
        let Stage::Releasing { state, drained } = stage else { return };
        let (epoch, target, turn) = (hand_over.epoch, hand_over.target, hand_over.turn);
        self.note_released(shard, epoch);
        let hot = self.plan.hands_over.then(|| Box::new(Hot::of(&state, &drained)));
        self.book.sometimes.handed_tails += u64::from(!drained.tail.is_empty());
        let from = Node::Pod(self.owners[owner].pod);
        let call = Call::Claim { shard, released: epoch, hot, source: owner, turn };
        self.call_from(from, target, call);
        let again = Again::ClaimPatience { shard, turn };
        self.agenda.after(PATIENCE_US, crate::world::Event::Again { owner, again });
    }

    pub(super) fn claim_answered(
        &mut self,
        owner: usize,
        shard: ShardId,
        epoch: Option<Epoch>,
        turn: u64,
    ) {
        let state = &mut self.owners[owner];
        let claiming = |h: &&HandOver| h.turn == turn && matches!(h.stage, Stage::Claiming);
        let Some(hand_over) = state.hand_overs.get(&shard).filter(claiming) else { return };
        let target = hand_over.target;
        state.hand_overs.remove(&shard);
        state.held.remove(&shard);
        match epoch {
            Some(epoch) => {
                self.book.sometimes.moves += 1;
                self.left(owner, shard, Some(Whereabouts { epoch, owner: target }));
            }
            None => {
                // Released, and nobody took it: whoever should have it acquires it at once.
                self.book.sometimes.unclaimed += 1;
                self.left(owner, shard, None);
                self.acquire_missing(owner);
            }
        }
    }

    fn left(&mut self, owner: usize, shard: ShardId, to: Option<Whereabouts>) {
        let lane = self.owners[owner].lane_of(shard);
        self.owners[owner].lanes[usize::from(lane)].engine.released_shard(shard);
        if let Some(to) = to {
            self.owners[owner].moved.insert(shard, to);
        }
        self.tell_moved(owner, shard);
        self.say(owner);
        self.move_ended(shard);
    }

    fn move_ended(&mut self, shard: ShardId) {
        self.control.moving.remove(&shard);
        self.note(What::MoveEnded { shard: shard.into() });
    }
}

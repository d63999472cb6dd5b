//! The session's fence reads: one for all lanes, whenever something waits for release, else now and
//! then.

use iris_check::history::What;
use iris_core::clock::MonoUs;
use iris_core::limits;
use iris_core::seq::BlockSeq;

use crate::store::{Answer, Failed, Query, Value};
use crate::world::{Event, World};

use super::{Again, Next};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Fence {
    /// When the read under way began, and what each lane had durable then.
    under_way: Option<(MonoUs, u64, Vec<BlockSeq>)>,
    /// What the last read covered.
    covered: Vec<BlockSeq>,
    turn: u64,
}

impl World {
    pub(crate) fn read_fence(&mut self, owner: usize) {
        let now = self.now();
        let mono = self.now_at(self.owners[owner].pod).mono;
        let state = &mut self.owners[owner];
        if state.fence.under_way.is_some() {
            return;
        }
        let covers = state.lanes.iter().map(|lane| lane.engine.fence_cover()).collect();
        state.fence.under_way = Some((mono, now, covers));
        let id = state.id;
        self.read(owner, Query::Fence(id), Next::FenceRead);
    }

    pub(super) fn fence_read(&mut self, owner: usize, answer: Result<Answer, Failed>) {
        let Some((begun, at, covers)) = self.owners[owner].fence.under_way.take() else { return };
        let Ok(answer) = answer else {
            return self.later(owner, Again::Fence, 20_000);
        };
        let rows = Self::rows_of(answer);
        if rows.iter().any(|row| matches!(row.cell.value, Value::Fence(_))) {
            self.book.sometimes.fenced += 1;
            let us = self.random.between(100_000, 1_500_000);
            return self.end_owner(owner, us);
        }
        for lane in 0..self.owners[owner].count() {
            let cover = covers[usize::from(lane)];
            let now = self.now_at(self.owners[owner].pod);
            let mut actions = Vec::new();
            let engine = &mut self.owners[owner].lanes[usize::from(lane)].engine;
            engine.fence_read(now, begun, cover, &mut actions);
            self.note_release(owner, lane, at);
            self.perform(owner, lane, actions);
            self.kick(owner, lane);
        }
        if !self.owners[owner].alive {
            return;
        }
        let fence = &mut self.owners[owner].fence;
        fence.covered = covers;
        fence.turn += 1;
        let turn = fence.turn;
        self.agenda.after(limits::FENCE_READ_IDLE_MS * 500, Event::Fence { owner, turn });
        self.want_fence_read(owner);
    }

    /// Writes down what a lane released last.
    pub(super) fn note_release(&mut self, owner: usize, lane: u8, read_began: u64) {
        let id = self.owners[owner].lane_id(lane);
        let state = &mut self.owners[owner].lanes[usize::from(lane)];
        let released = state.engine.released();
        if released > state.let_go {
            state.let_go = released;
            let lane = self.book.lane(id);
            self.note(What::LetGo { lane, upto: released.0, read_began });
        }
    }

    /// Reads the fence at once if that would release something.
    pub(super) fn want_fence_read(&mut self, owner: usize) {
        let state = &self.owners[owner];
        let covered = |lane: usize| state.fence.covered.get(lane).copied().unwrap_or_default();
        let more = |(n, lane): (usize, &super::Lane)| lane.engine.fence_cover() > covered(n);
        if state.fence.under_way.is_none() && state.lanes.iter().enumerate().any(more) {
            self.read_fence(owner);
        }
    }

    pub(crate) fn idle_fence_read(&mut self, owner: usize, turn: u64) {
        if self.owners[owner].fence.turn == turn {
            self.read_fence(owner);
        }
    }
}

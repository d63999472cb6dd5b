//! Compare-and-swaps, and what becomes of those that nobody heard the end of.

use iris_core::id::{LaneId, ShardId};
use iris_core::mutation::{self, Mutation};
use iris_core::seq::{BlockSeq, Epoch};
use iris_core::takeover::{EpochRow, Reading};

use super::{Answer, Around, Failed, QUORUM, REPLICAS, Step, Store, Want};
use crate::network::Node;

/// A compare-and-swap.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Swap {
    /// Adds an ownership, if it is the one after the newest.
    Claim(ShardId, EpochRow),
    /// Ends an ownership, if it is the newest and was not ended.
    Release(ShardId, Epoch, BlockSeq),
    /// Decides where a lane ends, if that was not decided.
    Seal(LaneId, BlockSeq),
}

/// A partition that is only swapped.
#[derive(Debug, Default)]
pub(super) struct Register {
    epochs: Vec<EpochRow>,
    seal: Option<BlockSeq>,
    /// A swap that was accepted somewhere: whoever comes next finishes it, or overrules it.
    unfinished: Option<Swap>,
}

impl Register {
    pub(super) fn seal(&self) -> Option<BlockSeq> {
        self.seal
    }

    pub(super) fn head(&self) -> Option<EpochRow> {
        self.epochs.last().copied()
    }

    /// Performs a swap; whether its condition held.
    fn perform(&mut self, swap: Swap) -> bool {
        match swap {
            Swap::Claim(_, row) => {
                let newest = self.epochs.last().map_or(Epoch(0), |row| row.epoch);
                let holds = newest.next() == row.epoch;
                if holds {
                    self.epochs.push(row);
                }
                holds
            }
            Swap::Release(_, epoch, block) => match self.epochs.last_mut() {
                Some(row) if row.epoch == epoch && row.released_block.is_none() => {
                    row.released_block = Some(block);
                    true
                }
                Some(_) | None => false,
            },
            Swap::Seal(_, end) => {
                let holds = self.seal.is_none() || mutation::is_on(Mutation::M4);
                if holds {
                    self.seal = Some(end);
                }
                holds
            }
        }
    }
}

impl<T> Store<T> {
    fn register(&mut self, swap: Swap) -> &mut Register {
        match swap {
            Swap::Claim(shard, _) | Swap::Release(shard, ..) => {
                self.epochs.entry(shard).or_default()
            }
            Swap::Seal(lane, _) => self.seals.entry(lane).or_default(),
        }
    }

    /// Finishes what was left unfinished, or overrules it.
    fn settle<E, P>(
        register: &mut Register,
        counts: &mut super::Counts,
        around: &mut Around<'_, E, P>,
    ) {
        if let Some(swap) = register.unfinished.take() {
            if around.random.chance(500) && register.perform(swap) {
                counts.unknown_swaps_done += 1;
            } else {
                counts.unknown_swaps_undone += 1;
            }
        }
    }

    pub(super) fn perform_swap<E: From<Step>, P>(
        &mut self,
        op: u64,
        around: &mut Around<'_, E, P>,
    ) {
        let now = around.agenda.now();
        let Some(under_way) = self.ops.get(&op) else { return };
        let reaches = |replica: &usize| {
            !around.network.is_cut(Node::Pod(under_way.pod), Node::Replica(*replica), now)
                && !self.replicas[*replica].is_down(now)
        };
        let reached = (0..REPLICAS).filter(reaches).count();
        let answer = match under_way.want {
            Want::Swap(swap) => self.swap_now(swap, reached, now, around),
            Want::Epochs { shard, reading } if reached >= QUORUM => {
                let register = self.epochs.entry(shard).or_default();
                if reading == Reading::Serial {
                    Self::settle(register, &mut self.counts, around);
                }
                let mut epochs = register.epochs.clone();
                let is_old = reading == Reading::Plain && around.random.chance(200);
                if is_old && undo_last(&mut epochs) {
                    self.counts.old_reads += 1;
                }
                Some(Ok(Answer::Epochs(epochs)))
            }
            Want::Sealed(lane) if reached >= QUORUM => {
                let register = self.seals.entry(lane).or_default();
                Self::settle(register, &mut self.counts, around);
                Some(Ok(Answer::Sealed(register.seal)))
            }
            // Without a quorum there is no answer before the statement is given up.
            Want::Epochs { .. } | Want::Sealed(_) => None,
            Want::Write { .. } | Want::Read { .. } => None,
        };
        if let Some(answer) = answer {
            let us = around.network.delay(around.random);
            around.agenda.after(us, Step::Swapped { op, answer }.into());
        }
    }

    /// The answer of a swap; nothing when it gets none and is given up later.
    fn swap_now<E, P>(
        &mut self,
        swap: Swap,
        reached: usize,
        now: u64,
        around: &mut Around<'_, E, P>,
    ) -> Option<Result<Answer, Failed>> {
        let blurred = self.blurred_until > now && around.random.chance(600);
        if reached == 0 {
            return None;
        }
        if reached < QUORUM {
            let accepted = around.random.chance(500);
            let register = self.register(swap);
            if accepted && register.unfinished.is_none() {
                register.unfinished = Some(swap);
            }
            return None;
        }
        let unfinished = blurred && around.random.chance(400);
        let fate = around.random.chance(500);
        let mut counts = std::mem::take(&mut self.counts);
        let register = self.register(swap);
        Self::settle(register, &mut counts, around);
        let answer = if unfinished {
            register.unfinished = Some(swap);
            None
        } else if blurred {
            let done = fate && register.perform(swap);
            counts.unknown_swaps_done += u64::from(done);
            counts.unknown_swaps_undone += u64::from(!done);
            Some(Err(Failed))
        } else {
            let held = register.perform(swap);
            Some(Ok(match swap {
                Swap::Seal(..) => Answer::Sealed(register.seal),
                Swap::Claim(..) | Swap::Release(..) => Answer::Swapped(held),
            }))
        };
        self.counts = counts;
        answer
    }
}

/// The ownerships before the last swap; false when there was none.
fn undo_last(epochs: &mut Vec<EpochRow>) -> bool {
    match epochs.last_mut() {
        Some(newest) if newest.released_block.is_some() => newest.released_block = None,
        Some(_) => drop(epochs.pop()),
        None => return false,
    }
    true
}

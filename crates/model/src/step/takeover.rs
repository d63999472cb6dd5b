//! The takeover of a session that is taken for dead, rightly or not: fence, read, write back, seal.

use super::{Step, is_on};
use crate::ShardLog;
use crate::mutation::Mutation;
use crate::state::{BlockSeq, Row, SESSIONS, SessionNo, State, Takeover, number};

pub(super) fn offer(model: &ShardLog, state: &State, no: SessionNo, steps: &mut Vec<Step>) {
    let session = state.session(no);
    let tail_first = is_on(model, Mutation::M2);
    match session.takeover {
        // Sent: whether its sender lives does not matter.
        Takeover::Sealing { .. } => steps.push(Step::ApplySeal(no)),
        _ if session.is_dead => {}
        Takeover::Nothing => {
            for of in (0..number(SESSIONS)).filter(|of| *of != no && is_wanted(state, *of)) {
                if state.session(of).is_fenced || tail_first {
                    offer_tails(state, no, of, steps);
                } else {
                    steps.push(Step::Fence(no, of));
                }
            }
        }
        Takeover::Read { of, .. } if state.session(of).is_fenced => steps.push(Step::SendSeal(no)),
        Takeover::Read { of, .. } => steps.push(Step::Fence(no, of)),
    }
}

/// Whether a takeover of a session has a point: a shard of it is not released, and it is not sealed.
fn is_wanted(state: &State, of: SessionNo) -> bool {
    let owns = |row: &Row| row.session == of && row.released_block.is_none();
    state.session(of).seal.is_none() && state.shards.iter().any(|shard| owns(shard.head_row()))
}

/// Every prefix that a read of the tail may see: it ends at a block that it may miss, or at the last.
fn offer_tails(state: &State, no: SessionNo, of: SessionNo, steps: &mut Vec<Step>) {
    let dead = state.session(of);
    let missed =
        |end: &BlockSeq| dead.blocks.get(usize::from(*end)).is_none_or(|block| !block.is_durable);
    let ends = (0..=dead.next_block()).filter(missed);
    steps.extend(ends.map(|end| Step::ReadTail(no, of, end)));
}

/// Its write succeeded. Who wrote it does not matter: whoever reads the tail from here on reads it
/// after a fence that every later fence read sees.
pub(super) fn fence(state: &mut State, of: SessionNo) {
    state.session_mut(of).is_fenced = true;
}

pub(super) fn read_tail(state: &mut State, no: SessionNo, of: SessionNo, end: BlockSeq) {
    state.session_mut(no).takeover = Takeover::Read { of, end };
}

pub(super) fn send_seal(model: &ShardLog, state: &mut State, no: SessionNo) {
    let Takeover::Read { of, end } = state.session(no).takeover else { return };
    if !is_on(model, Mutation::M3) {
        let prefix = state.session_mut(of).blocks.iter_mut().take(usize::from(end));
        prefix.for_each(|block| block.is_durable = true);
    }
    state.session_mut(no).takeover = Takeover::Sealing { of, end };
}

/// The first seal stands, and whoever else takes the session over adopts it. What they would still
/// write back is below the seal, and durable, or past it, and never read.
pub(super) fn apply_seal(model: &ShardLog, state: &mut State, no: SessionNo) {
    let Takeover::Sealing { of, end } = state.session(no).takeover else { return };
    state.session_mut(of).seal = Some(end);
    if is_on(model, Mutation::M4) {
        state.session_mut(no).takeover = Takeover::Nothing;
        return;
    }
    for session in &mut state.sessions {
        match session.takeover {
            Takeover::Read { of: other, .. } | Takeover::Sealing { of: other, .. }
                if other == of =>
            {
                session.takeover = Takeover::Nothing;
            }
            Takeover::Nothing | Takeover::Read { .. } | Takeover::Sealing { .. } => {}
        }
    }
}

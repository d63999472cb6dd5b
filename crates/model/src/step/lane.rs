//! The commit rule of an owner: form, write, read the fence, release.

use super::{Step, is_on};
use crate::ShardLog;
use crate::mutation::Mutation;
use crate::state::{Block, BlockSeq, Epoch, Hold, SHARDS, Session, SessionNo, State, number};

pub(super) fn offer(model: &ShardLog, state: &State, no: SessionNo, steps: &mut Vec<Step>) {
    let session = state.session(no);
    if session.is_dead {
        return;
    }
    let formed: usize = state.sessions.iter().map(|session| session.blocks.len()).sum();
    let bounds = &model.bounds;
    // What is appended past a seal is never read, nor released, as the session is fenced.
    let is_open = session.seal.is_none() && session.next_block() < bounds.blocks_of_a_lane;
    if is_open && formed < usize::from(bounds.blocks) {
        let admitted: [bool; SHARDS] =
            std::array::from_fn(|shard| admits(model, session.holds[shard]));
        for shards in 1..1_u8 << SHARDS {
            if (0..SHARDS).all(|shard| shards & (1 << shard) == 0 || admitted[shard]) {
                steps.push(Step::Append(no, shards));
            }
        }
    }
    for (seq, block) in (0..).zip(session.blocks.iter()) {
        if !block.is_durable {
            steps.push(Step::Written(no, seq));
        }
    }
    if !session.is_fenced && cover(model, session) > session.covered {
        steps.push(Step::ReadFence(no));
    }
}

/// Whether a session appends to a shard that it holds so.
fn admits(model: &ShardLog, hold: Hold) -> bool {
    match hold {
        Hold::Nothing => false,
        Hold::Serving(_) => true,
        Hold::Drained { .. } => is_on(model, Mutation::N3),
        Hold::Releasing { .. } => is_on(model, Mutation::N4),
    }
}

fn epoch(hold: Hold) -> Option<Epoch> {
    match hold {
        Hold::Nothing => None,
        Hold::Serving(epoch) | Hold::Drained { epoch, .. } | Hold::Releasing { epoch, .. } => {
            Some(epoch)
        }
    }
}

pub(super) fn append(state: &mut State, no: SessionNo, shards: u8) {
    let session = state.session_mut(no);
    let entries = std::array::from_fn(|shard| {
        epoch(session.holds[shard]).filter(|_| shards & (1 << shard) != 0)
    });
    session.blocks.push(Block { entries, is_durable: false });
}

/// With M1 and M5 that alone releases it: with the one as an earlier read covered it, with the other
/// as nobody asks.
pub(super) fn written(model: &ShardLog, state: &mut State, no: SessionNo, block: BlockSeq) {
    let session = state.session_mut(no);
    session.blocks[usize::from(block)].is_durable = true;
    if is_on(model, Mutation::M5) {
        session.covered = session.durable();
    }
    release(model, session);
}

/// What a fence read that begins here covers.
fn cover(model: &ShardLog, session: &Session) -> BlockSeq {
    if is_on(model, Mutation::M1) {
        return session.next_block();
    }
    if is_on(model, Mutation::M6) {
        let last = session.blocks.iter().rposition(|block| block.is_durable);
        return last.map_or(0, |last| number(last + 1));
    }
    session.durable()
}

/// A read that began here saw no fence: none was written by now. It releases what it covers.
///
/// An owner may stand still between the two. That it does not here makes the properties harder to
/// keep: releasing later allows nothing more, and what is released must be recovered from then on.
pub(super) fn read_fence(model: &ShardLog, state: &mut State, no: SessionNo) {
    let session = state.session_mut(no);
    session.checked = session.durable();
    session.covered = cover(model, session);
    release(model, session);
}

/// Releases what is covered and durable, in order; with M6, in any.
fn release(model: &ShardLog, session: &mut Session) {
    let upto = if is_on(model, Mutation::M6) {
        session.covered
    } else {
        session.covered.min(session.durable())
    };
    for (seq, block) in (0..upto).zip(session.blocks.iter()) {
        session.released |= u8::from(block.is_durable) << seq;
    }
}

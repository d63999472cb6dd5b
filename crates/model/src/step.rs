//! The steps, each of which is one that the store or a session takes at once.
//!
//! A step is offered where the protocol allows it, and where a defect that is switched on does.

mod claims;
mod lane;
mod takeover;

use crate::mutation::Mutation;
use crate::state::{
    BlockSeq, Hold, SESSIONS, SHARDS, Session, SessionNo, ShardNo, State, Takeover, number,
};
use crate::{Bounds, ShardLog};

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A session forms a block with an entry of each of these shards (a bit each), and starts its
    /// write.
    Append(SessionNo, u8),
    /// The write of a block succeeded, and its session knows.
    Written(SessionNo, BlockSeq),
    /// A fence read saw none, and what it covers is released: clients are answered.
    ReadFence(SessionNo),
    /// The session is gone.
    Die(SessionNo),
    /// The source of a move admits no more of a shard of which everything is released.
    Drain(SessionNo, ShardNo),
    /// The source sends the release.
    SendRelease(SessionNo, ShardNo),
    /// The store performs the release.
    ApplyRelease(SessionNo, ShardNo),
    /// A session sends a claim of a shard's next epoch.
    SendClaim(SessionNo, ShardNo),
    /// The store performs the claim.
    ApplyClaim(SessionNo, ShardNo),
    /// The owner by the row replays the log and serves. What a read may miss, it misses when `unseen`
    /// has the bit of its place among such blocks.
    Recover {
        /// The owner.
        session: SessionNo,
        /// Which shard.
        shard: ShardNo,
        /// What it misses.
        unseen: u8,
    },
    /// A session writes the fence of another one.
    Fence(SessionNo, SessionNo),
    /// It reads the tail of the fenced session, up to this block.
    ReadTail(SessionNo, SessionNo, BlockSeq),
    /// It has written back what it read, and sends the seal.
    SendSeal(SessionNo),
    /// The store performs its seal.
    ApplySeal(SessionNo),
}

/// The steps that are possible.
pub(crate) fn offer(model: &ShardLog, state: &State, steps: &mut Vec<Step>) {
    for session in 0..number(SESSIONS) {
        lane::offer(model, state, session, steps);
        takeover::offer(model, state, session, steps);
        for shard in 0..number(SHARDS) {
            claims::offer(model, state, session, shard, steps);
        }
    }
    die_offer(model.bounds, state, steps);
}

/// The state after a step that was offered.
pub(crate) fn take(model: &ShardLog, state: &State, step: Step) -> State {
    let mut next = *state;
    match step {
        Step::Append(session, shards) => lane::append(&mut next, session, shards),
        Step::Written(session, block) => lane::written(model, &mut next, session, block),
        Step::ReadFence(session) => lane::read_fence(model, &mut next, session),
        Step::Die(session) => die(&mut next, session),
        Step::Drain(session, shard) => claims::drain(&mut next, session, shard),
        Step::SendRelease(session, shard) => claims::send_release(&mut next, session, shard),
        Step::ApplyRelease(session, shard) => {
            claims::apply_release(model, &mut next, session, shard);
        }
        Step::SendClaim(session, shard) => claims::send_claim(&mut next, session, shard),
        Step::ApplyClaim(session, shard) => claims::apply_claim(&mut next, session, shard),
        Step::Recover { session, shard, unseen } => {
            claims::recover(&mut next, session, shard, unseen);
        }
        Step::Fence(_, of) => takeover::fence(&mut next, of),
        Step::ReadTail(session, of, end) => takeover::read_tail(&mut next, session, of, end),
        Step::SendSeal(session) => takeover::send_seal(model, &mut next, session),
        Step::ApplySeal(session) => takeover::apply_seal(model, &mut next, session),
    }
    next
}

/// Any session, but one that did nothing yet.
fn die_offer(bounds: Bounds, state: &State, steps: &mut Vec<Step>) {
    let dead = state.sessions.iter().filter(|session| session.is_dead).count();
    if dead >= usize::from(bounds.deaths) {
        return;
    }
    for (no, session) in (0..).zip(&state.sessions) {
        let did_something = *session != Session::default();
        if !session.is_dead && did_something {
            steps.push(Step::Die(no));
        }
    }
}

/// What was only in memory is gone, and what was sent is on its way. A session that sees its fence
/// does the same, of its own accord.
fn die(state: &mut State, session: SessionNo) {
    let session = state.session_mut(session);
    session.is_dead = true;
    for hold in &mut session.holds {
        match hold {
            Hold::Releasing { .. } => {}
            Hold::Nothing | Hold::Serving(_) | Hold::Drained { .. } => *hold = Hold::Nothing,
        }
    }
    match session.takeover {
        Takeover::Sealing { .. } => {}
        Takeover::Nothing | Takeover::Read { .. } => {
            session.takeover = Takeover::Nothing;
        }
    }
}

/// Whether a defect is on.
fn is_on(model: &ShardLog, mutation: Mutation) -> bool {
    model.mutation == Some(mutation)
}

//! Who owns a shard: releases, claims, and what an owner recovers.

use super::{Step, is_on};
use crate::ShardLog;
use crate::mutation::Mutation;
use crate::replay;
use crate::state::{Claim, Hold, Row, Session, SessionNo, ShardNo, State};

pub(super) fn offer(
    model: &ShardLog,
    state: &State,
    no: SessionNo,
    shard: ShardNo,
    steps: &mut Vec<Step>,
) {
    let session = state.session(no);
    let (hold, claim) = (session.holds[usize::from(shard)], session.claims[usize::from(shard)]);
    if let Hold::Releasing { .. } = hold {
        steps.push(Step::ApplyRelease(no, shard));
    }
    if claim.is_some() {
        steps.push(Step::ApplyClaim(no, shard));
    }
    if session.is_dead {
        return;
    }
    match hold {
        Hold::Nothing => {
            let is_new = |row: &Row| row.session == no && row.recovered.is_none();
            if state.shard(shard).rows.iter().any(is_new) {
                let choices = 1_u8 << replay::unsure(state, no, shard);
                let recover = |unseen| Step::Recover { session: no, shard, unseen };
                steps.extend((0..choices).map(recover));
            } else if claim.is_none() && claimable(model, state, no, shard) {
                steps.push(Step::SendClaim(no, shard));
            }
        }
        Hold::Serving(_) => {
            let is_ready = is_settled(session, hold, shard) || is_on(model, Mutation::N1);
            if is_ready && moves(state) < usize::from(model.bounds.moves) {
                // Between the two nothing happens to the shard, unless it still admits.
                let drains = is_on(model, Mutation::N3);
                steps.push(if drains { Step::Drain } else { Step::SendRelease }(no, shard));
            }
        }
        Hold::Drained { .. } => steps.push(Step::SendRelease(no, shard)),
        Hold::Releasing { .. } => {}
    }
}

/// How many releases were sent.
fn moves(state: &State) -> usize {
    let sent = |hold: &&Hold| matches!(hold, Hold::Drained { .. } | Hold::Releasing { .. });
    let on_their_way = state.sessions.iter().flat_map(|session| &session.holds).filter(sent);
    let rows = state.shards.iter().flat_map(|shard| shard.rows.iter());
    on_their_way.count() + rows.filter(|row| row.released_block.is_some()).count()
}

/// Whether everything of a shard's ownership is released.
fn is_settled(session: &Session, hold: Hold, shard: ShardNo) -> bool {
    let Hold::Serving(epoch) = hold else { return false };
    session.blocks_of(shard, epoch).all(|block| session.has_released(block))
}

pub(super) fn drain(state: &mut State, no: SessionNo, shard: ShardNo) {
    let session = state.session_mut(no);
    let end = session.released_upto();
    let hold = &mut session.holds[usize::from(shard)];
    if let Hold::Serving(epoch) = *hold {
        *hold = Hold::Drained { epoch, end };
    }
}

pub(super) fn send_release(state: &mut State, no: SessionNo, shard: ShardNo) {
    drain(state, no, shard);
    let hold = &mut state.session_mut(no).holds[usize::from(shard)];
    if let Hold::Drained { epoch, end } = *hold {
        *hold = Hold::Releasing { epoch, end };
    }
}

/// A compare-and-swap: the epoch is still the newest, and not released.
pub(super) fn apply_release(model: &ShardLog, state: &mut State, no: SessionNo, shard: ShardNo) {
    let hold = &mut state.sessions[usize::from(no)].holds[usize::from(shard)];
    let Hold::Releasing { epoch, end } = *hold else { return };
    let shard = &mut state.shards[usize::from(shard)];
    if shard.head() == epoch {
        let row = shard.rows.last_mut().expect("a shard starts with an owner");
        row.released_block = row.released_block.or(Some(end));
    }
    // With N4 the owner does not care.
    if !is_on(model, Mutation::N4) {
        *hold = Hold::Nothing;
    }
}

/// The rule of claims: the newest epoch is released, or its session sealed. Both stay so, therefore
/// the claim may be performed any time after they were read.
fn claimable(model: &ShardLog, state: &State, no: SessionNo, shard: ShardNo) -> bool {
    let shard = state.shard(shard);
    let row = shard.head_row();
    let is_over = row.released_block.is_some() || state.session(row.session).seal.is_some();
    let is_stolen = is_on(model, Mutation::N2) && row.session != no;
    let claimed: usize = state.shards.iter().map(|shard| shard.rows.len() - 1).sum();
    let on_their_way = state.sessions.iter().flat_map(|session| session.claims).flatten().count();
    let bounds = &model.bounds;
    claimed < usize::from(bounds.claims)
        && on_their_way < usize::from(bounds.claims_at_once)
        && (is_over || is_stolen)
}

pub(super) fn send_claim(state: &mut State, no: SessionNo, shard: ShardNo) {
    let epoch = state.shard(shard).head() + 1;
    let session = state.session_mut(no);
    let claim = Claim { epoch, first_block: session.next_block() };
    session.claims[usize::from(shard)] = Some(claim);
}

/// A compare-and-swap: the epoch before is still the newest. Other claims of the same epoch can never
/// be performed any more.
pub(super) fn apply_claim(state: &mut State, no: SessionNo, shard: ShardNo) {
    let index = usize::from(shard);
    let Some(claim) = state.session(no).claims[index] else { return };
    if state.shard(shard).head() + 1 == claim.epoch {
        let Claim { first_block, .. } = claim;
        let row = Row { session: no, first_block, released_block: None, recovered: None };
        state.shards[index].rows.push(row);
    }
    for session in &mut state.sessions {
        session.claims[index] = session.claims[index].filter(|other| other.epoch > claim.epoch);
    }
}

/// The row says who the owner is, whatever became of the answer to the claim.
pub(super) fn recover(state: &mut State, no: SessionNo, shard: ShardNo, unseen: u8) {
    let Some((epoch, entries)) = replay::replay(state, no, shard, unseen) else { return };
    let row = &mut state.shards[usize::from(shard)].rows[usize::from(epoch) - 1];
    row.recovered = Some(entries);
    state.session_mut(no).holds[usize::from(shard)] = Hold::Serving(epoch);
}

//! What sessions that want to end give away next. Pure.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use iris_core::clock::WallMs;
use iris_core::id::ShardId;
use iris_core::seq::Epoch;
use iris_proto::coordinated::Move;

use super::{MoveOrder, has_ended};
use crate::model::Model;

/// Moves of sessions that want to end that run at once.
const AT_ONCE: usize = 4;
/// How long their sources may refuse sends.
const FENCE_MS_MAX: u32 = 2_000;
/// After a move that failed, its shard waits so long, doubling.
const PAUSE_MS: u64 = 200;
const PAUSE_MS_MAX: u64 = 2_000;

/// The moves to begin now. A shard whose move failed is tried again, and meanwhile keeps no other waiting:
/// its owner ends sooner or later, and what it still serves then is taken over.
pub(super) fn next(
    model: &Model,
    moves: &BTreeMap<ShardId, Move>,
    operator_term: u64,
    now: WallMs,
) -> Vec<MoveOrder> {
    let moving = model.count().shards().filter(|shard| model.is_moving(*shard)).count();
    let free = AT_ONCE.saturating_sub(moving);
    let leaving = model.members().iter().filter(|(_, member)| member.leaving);
    let homes = leaving.flat_map(|(id, _)| model.new_homes(*id));
    let orders = homes.filter(|(shard, _)| !model.is_moving(*shard)).filter_map(|(shard, to)| {
        let (source, epoch) = model.serving(shard)?;
        let attempt = attempt(moves.get(&shard), (shard, epoch), now)?;
        Some(MoveOrder {
            id: name(shard, epoch, attempt),
            shard,
            epoch,
            source_pod: model.members().get(&source)?.about.pod.clone(),
            target_pod: model.members().get(&to)?.about.pod.clone(),
            max_fence_ms: FENCE_MS_MAX,
            attempt,
            operator_term,
        })
    });
    orders.take(free).collect()
}

/// Which attempt comes now, if one does.
fn attempt(known: Option<&Move>, (shard, epoch): (ShardId, Epoch), now: WallMs) -> Option<u32> {
    let before = known.filter(|known| known.move_id == name(shard, epoch, known.attempts));
    let Some(before) = before else { return Some(1) };
    let pause = PAUSE_MS << before.attempts.saturating_sub(1).min(8);
    // Another leader may have ended it, by a clock that is ahead.
    let since = now.0.checked_sub(before.ended_at_ms);
    let waits = since.is_some_and(|since| since < pause.min(PAUSE_MS_MAX));
    (has_ended(before) && !waits).then(|| before.attempts.saturating_add(1))
}

/// Each attempt is a move of its own.
fn name(shard: ShardId, epoch: Epoch, attempt: u32) -> String {
    format!("leave-{shard}-e{epoch}-{attempt}")
}

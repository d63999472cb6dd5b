use iris_core::id::SessionId;
use iris_proto::control::MovePhase;

use super::*;
use crate::model::tests::{World, session};

const TERM: u64 = 7;
const NOW: WallMs = WallMs(1_000_000);

/// A region one of whose owners wants to end.
fn leaving() -> (World, SessionId) {
    let mut world = World::new();
    world.model.heard(session(0), world.now).unwrap().leaving = true;
    (world, session(0))
}

fn served(world: &World, by: SessionId) -> Vec<(ShardId, Epoch)> {
    let serving = |shard| world.model.serving(shard).filter(|(session, _)| *session == by);
    world.model.count().shards().filter_map(|s| serving(s).map(|(_, epoch)| (s, epoch))).collect()
}

/// An attempt that ended so.
fn ended(shard: ShardId, epoch: Epoch, attempt: u32, at: WallMs) -> Move {
    Move {
        move_id: name(shard, epoch, attempt),
        shard: shard.into(),
        epoch: epoch.0,
        phase: MovePhase::Aborted.into(),
        attempts: attempt,
        ended_at_ms: at.0,
        ..Move::default()
    }
}

#[test]
fn a_few_shards_leave_at_once_each_to_somebody_who_stays() {
    let (mut world, leaver) = leaving();
    let orders = next(&world.model, &BTreeMap::new(), TERM, NOW);
    assert_eq!(orders.len(), AT_ONCE);
    for order in &orders {
        assert_eq!((order.source_pod.as_str(), order.operator_term), ("owner-0", TERM));
        assert_ne!(order.target_pod, "owner-0");
        assert_eq!(order.attempt, 1);
    }
    assert!(served(&world, leaver).len() > AT_ONCE);
    assert!(world.model.begin_move(orders[0].shard));
    let orders = next(&world.model, &BTreeMap::new(), TERM, NOW);
    assert_eq!(orders.len(), AT_ONCE - 1, "one is under way");
}

#[test]
fn shards_whose_moves_failed_are_tried_again_and_keep_nobody_waiting() {
    let (world, leaver) = leaving();
    let shards = served(&world, leaver);
    let stuck = &shards[..AT_ONCE];
    let moves: BTreeMap<_, _> =
        stuck.iter().map(|(shard, epoch)| (*shard, ended(*shard, *epoch, 1, NOW))).collect();
    let at = |ms: u64| {
        let orders = next(&world.model, &moves, TERM, WallMs(NOW.0 + ms));
        orders.into_iter().map(|order| (order.shard, order.attempt)).collect::<Vec<_>>()
    };
    let others: Vec<_> = shards[AT_ONCE..2 * AT_ONCE].iter().map(|(s, _)| (*s, 1)).collect();
    assert_eq!(at(PAUSE_MS - 1), others);
    let again: Vec<_> = stuck.iter().map(|(shard, _)| (*shard, 2)).collect();
    assert_eq!(at(PAUSE_MS), again);
}

#[test]
fn pauses_double_up_to_a_bound_and_a_clock_that_is_ahead_stops_nothing() {
    let (shard, epoch) = (ShardId::new(3), Epoch(5));
    let at = |known: &Move, ms: u64| attempt(Some(known), (shard, epoch), WallMs(NOW.0 + ms));
    let third = ended(shard, epoch, 3, NOW);
    assert_eq!((at(&third, 4 * PAUSE_MS - 1), at(&third, 4 * PAUSE_MS)), (None, Some(4)));
    let many = ended(shard, epoch, 1_000_000, NOW);
    assert_eq!((at(&many, PAUSE_MS_MAX - 1), at(&many, PAUSE_MS_MAX)), (None, Some(1_000_001)));
    let ahead = ended(shard, epoch, 1, WallMs(NOW.0 + 60_000));
    assert_eq!(at(&ahead, 0), Some(2));
}

#[test]
fn only_attempts_to_leave_from_this_ownership_count() {
    let (shard, epoch) = (ShardId::new(3), Epoch(5));
    let now = |known: &Move| attempt(Some(known), (shard, epoch), NOW);
    assert_eq!(attempt(None, (shard, epoch), NOW), Some(1));
    assert_eq!(now(&ended(shard, Epoch(4), 9, NOW)), Some(1), "it left somebody before");
    let ordered = Move { move_id: "m-3-e5-1".to_owned(), ..ended(shard, epoch, 1, NOW) };
    assert_eq!(now(&ordered), Some(1), "somebody ordered that one");
    let phase = MovePhase::HandingOff.into();
    let under_way = Move { phase, ended_at_ms: 0, ..ended(shard, epoch, 1, NOW) };
    assert_eq!(now(&under_way), None);
}

//! A small world: one lane, a store that loses nothing it acknowledged, clients that resend, and
//! crashes at any step. The great simulator is in `crates/sim`; this one guards every change here.

mod world;

use proptest::prelude::*;

use world::{Step, World};

#[test]
fn two_people_chat() {
    let mut world = World::new(4, true);
    world.send(0, 1);
    world.send(1, 0);
    world.run_quietly();
    world.check();
    assert_eq!(world.received(1), [(0, 1)]);
    assert_eq!(world.received(0), [(1, 1)]);
}

#[test]
fn one_commit_serves_both_shards_of_a_lane() {
    let mut world = World::new(4, true);
    world.send(0, 1);
    world.run_quietly();
    let before = world.blocks_written();
    world.send(0, 1);
    world.commit();
    world.commit();
    assert_eq!(world.blocks_written() - before, 1, "sender's and recipient's entry in one block");
    assert_eq!(world.received(1).len(), 2);
    world.run_quietly();
    world.check();
}

#[test]
fn a_message_to_nobody_comes_back_as_a_notice() {
    let mut world = World::new(2, true);
    world.send_to_nobody(0);
    world.send(0, 1);
    world.run_quietly();
    assert_eq!(world.notices(0), 1);
    world.check();
}

#[test]
fn a_device_without_credit_reads_later_from_the_store() {
    let mut world = World::new(2, true);
    world.set_reading(1, false);
    for _ in 0..600 {
        world.send(0, 1);
        world.run_quietly();
    }
    assert!(world.delivered(1) <= 256, "no more than its credit");
    world.crash();
    world.set_reading(1, true);
    world.run_quietly();
    world.check();
    assert_eq!(world.received(1).len(), 600);
}

#[test]
fn a_page_that_the_store_did_not_read_is_read_again() {
    let mut world = World::new(2, true);
    world.set_reading(1, false);
    for _ in 0..600 {
        world.send(0, 1);
        world.run_quietly();
    }
    world.crash();
    world.set_reading(1, true);
    world.step(Step::Reconnect(1));
    world.step(Step::Network);
    for _ in 0..3 {
        world.step(Step::FailLoad);
        world.step(Step::Network);
        world.step(Step::Time(150));
    }
    world.run_quietly();
    world.check();
    assert_eq!(world.received(1).len(), 600);
}

#[test]
fn a_remnant_of_a_connection_does_not_replace_the_live_one() {
    let mut world = World::new(2, true);
    world.send(0, 1);
    world.run_quietly();
    assert!(world.survives_a_remnant(1));
    world.send(0, 1);
    world.run_quietly();
    world.check();
    assert_eq!(world.received(1).len(), 2);
}

#[test]
fn a_drained_shard_serves_on_elsewhere() {
    let mut world = World::new(6, true);
    for n in 0..200 {
        world.send(n % 6, (n + 1) % 6);
        if n % 20 == 0 {
            world.move_shards();
        }
    }
    world.run_quietly();
    world.check();
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        30 => (0usize..6, 0usize..6).prop_map(|(from, to)| Step::Send(from, to)),
        10 => Just(Step::WriteOne),
        4 => Just(Step::WriteLast),
        10 => Just(Step::ReadFence),
        4 => Just(Step::LoadOne),
        1 => Just(Step::FailLoad),
        6 => Just(Step::Network),
        4 => (0usize..6).prop_map(Step::Reconnect),
        4 => Just(Step::FlushOne(true)),
        1 => Just(Step::FlushOne(false)),
        8 => (1u64..1500).prop_map(Step::Time),
        1 => Just(Step::Crash),
        1 => Just(Step::Move),
    ];
    proptest::collection::vec(step, 1..160)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Whatever the order of writes, reads, crashes, moves and reconnects: every acknowledged message
    /// is delivered exactly once and in order, and none that was refused is.
    #[test]
    fn nothing_acknowledged_is_lost_duplicated_or_reordered(steps in steps(), history in any::<bool>()) {
        let mut world = World::new(6, history);
        for step in steps {
            world.step(step);
        }
        world.run_quietly();
        world.check();
    }
}

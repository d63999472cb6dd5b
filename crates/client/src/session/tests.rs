//! Rule by rule with a rig that plays the server, then everything at once in a world of faults.

mod logs;
mod owner;
mod rig;
mod rules;
mod sends;
mod world;

use proptest::prelude::*;

use world::{LogFault, Step, World};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = || 0usize..world::DEVICES;
    let fault = prop_oneof![Just(LogFault::Later), Just(LogFault::Empty), Just(LogFault::Overlap)];
    let step = prop_oneof![
        20 => (device(), 0usize..world::TARGETS, any::<u8>())
            .prop_map(|(from, to, body)| Step::Submit { from, to, body }),
        12 => device().prop_map(Step::Sync),
        12 => (device(), 1usize..5).prop_map(|(d, n)| Step::ToServer(d, n)),
        12 => (device(), 1usize..5).prop_map(|(d, n)| Step::ToClient(d, n)),
        8 => Just(Step::Commit),
        4 => device().prop_map(Step::Cut),
        2 => device().prop_map(Step::Crash),
        5 => (device(), 0u32..300).prop_map(|(d, ms)| Step::Nack(d, ms)),
        5 => device().prop_map(Step::Repeat),
        2 => (device(), 0u32..500).prop_map(|(d, ms)| Step::GoAway(d, ms)),
        1 => device().prop_map(Step::EndToken),
        6 => device().prop_map(Step::Consume),
        4 => (device(), fault).prop_map(|(d, fault)| Step::LogFault(d, fault)),
        8 => (1u64..2_000).prop_map(Step::Time),
        2 => (5_000u64..70_000).prop_map(Step::Time),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Whatever is cut, lost, repeated, put off or crashes: every message that was bound on a disk is
    /// decided once, delivered once to each device of both people and in order, and no place is
    /// applied twice or skipped, in an inbox or in a group.
    #[test]
    fn everything_exactly_once_and_in_order(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.heal();
        world.check();
    }
}

/// The property means nothing if the faults do not happen.
#[test]
fn the_world_has_faults() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = world::Seen::default();
    for _ in 0..200 {
        let mut world = World::new();
        for step in steps().new_tree(&mut runner).unwrap().current() {
            world.step(step);
        }
        world.heal();
        world.check();
        seen.add(&world);
    }
    assert!(seen.resent > 100, "{seen:?}");
    assert!(seen.nacks > 50, "{seen:?}");
    assert!(seen.redelivered > 20, "{seen:?}");
    assert!(seen.refused > 50, "{seen:?}");
    assert!(seen.answered_again > 3, "{seen:?}");
    assert!(seen.lost_unsynced > 20, "{seen:?}");
    assert!(seen.accepted > 500, "{seen:?}");
    assert!(seen.logged > 500, "{seen:?}");
    assert!(seen.log_faults > 50, "{seen:?}");
}

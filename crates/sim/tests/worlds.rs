//! What the simulator is for: many worlds, each of which keeps every promise; and that it would see it
//! if one did not.

use std::sync::atomic::{AtomicU64, Ordering};

use iris_core::mutation::Mutation;
use iris_sim::Sometimes;
use iris_sim::plan::Plan;
use iris_sim::run::{Outcome, run};
use parking_lot::Mutex;

const SEEDS: u64 = 1_000;
/// A defect that is not found by then says that the simulator is too weak.
const SEEDS_FOR_A_DEFECT: u64 = 2_000;

/// Runs seeds on every core.
fn over_seeds(seeds: u64, look: impl Fn(u64, Outcome) + Sync) {
    let next = AtomicU64::new(1);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds {
                        return;
                    }
                    look(seed, run(&Plan::draw(seed), None));
                }
            });
        }
    });
}

#[test]
fn a_thousand_worlds_keep_every_promise() {
    let sums = Mutex::new((Sometimes::default(), 0, Vec::new()));
    over_seeds(SEEDS, |seed, outcome| {
        let mut sums = sums.lock();
        sums.0.add(&outcome.sometimes);
        sums.1 += outcome.verdict.as_ref().map_or(0, |verdict| verdict.accepted);
        if !outcome.is_good() {
            sums.2.push((seed, outcome.wrong[0].to_string()));
        }
    });
    let (sometimes, accepted, failed) = sums.into_inner();
    assert!(failed.is_empty(), "cargo xtask sim --seed N says more of each: {failed:#?}");
    assert!(accepted > 100_000, "only {accepted} messages");
    let never: Vec<_> = sometimes.all().into_iter().filter(|(_, count)| *count == 0).collect();
    assert!(never.is_empty(), "never happened: {never:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 1..=40 {
        let plan = Plan::draw(seed);
        assert_eq!(plan, Plan::draw(seed));
        let (one, other) = (run(&plan, None), run(&plan, None));
        assert_eq!((one.events, one.trace), (other.events, other.trace), "seed {seed}");
        assert_eq!(one.history, other.history, "seed {seed}");
    }
}

#[test]
fn every_known_defect_is_found() {
    std::panic::set_hook(Box::new(|_| {}));
    let missed = Mutex::new(Vec::new());
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let index = usize::try_from(index).expect("few defects");
                    let Some(defect) = Mutation::ALL.get(index).copied() else { return };
                    let found = (1..=SEEDS_FOR_A_DEFECT)
                        .any(|seed| !run(&Plan::draw(seed), Some(defect)).is_good());
                    if !found {
                        missed.lock().push(defect);
                    }
                }
            });
        }
    });
    drop(std::panic::take_hook());
    let missed = missed.into_inner();
    assert!(missed.is_empty(), "not found within {SEEDS_FOR_A_DEFECT} seeds: {missed:?}");
}

use proptest::prelude::*;

use super::*;

fn owners(count: usize) -> Vec<Owner> {
    (0..count)
        .map(|n| Owner { zone: format!("z{}", n % 3), capacity: 1, cordoned: false })
        .collect()
}

fn problem(shards: u32, owner_count: usize, mode: Mode) -> Problem {
    Problem {
        shards: ShardCount::new(shards).unwrap(),
        weights: Vec::new(),
        owners: owners(owner_count),
        pins: Vec::new(),
        mode,
    }
}

fn counts(placement: &Placement, owner_count: usize) -> Vec<usize> {
    (0..owner_count).map(|n| placement.iter().filter(|p| **p == Some(OwnerNo(n))).count()).collect()
}

#[test]
fn a_fresh_region_is_even_and_complete() {
    let placement = solve(&problem(64, 3, Mode::Fill), &Vec::new());
    assert!(placement.iter().all(Option::is_some));
    let mut counts = counts(&placement, 3);
    counts.sort_unstable();
    assert_eq!(counts, [21, 21, 22]);
}

#[test]
fn failover_moves_only_the_shards_of_the_dead() {
    let before = solve(&problem(64, 3, Mode::Fill), &Vec::new());
    let orphaned: Placement = before.iter().map(|p| p.filter(|o| o.0 != 1)).collect();
    let mut survivors = problem(64, 3, Mode::Fill);
    survivors.owners[1].cordoned = true;
    let after = solve(&survivors, &orphaned);
    for n in 0..64 {
        if before[n] != Some(OwnerNo(1)) {
            assert_eq!(after[n], before[n]);
        }
    }
    assert_eq!(counts(&after, 3), [32, 0, 32]);
}

#[test]
fn a_new_owner_gets_its_share_with_the_fewest_moves() {
    let before = solve(&problem(1024, 4, Mode::Even), &Vec::new());
    let after = solve(&problem(1024, 5, Mode::Even), &before);
    let moved = moves(&before, &after);
    assert_eq!(moved.len(), 204, "1024 / 5, rounded down");
    assert!(moved.iter().all(|(_, _, to)| *to == Some(OwnerNo(4))));
}

#[test]
fn pins_hold_and_nobody_without_capacity_is_chosen() {
    let mut pinned = problem(16, 2, Mode::Even);
    pinned.pins = (0..12).map(|n| (ShardId::new(n), OwnerNo(0))).collect();
    let placement = solve(&pinned, &Vec::new());
    assert_eq!(counts(&placement, 2), [12, 4]);
    let mut closed = problem(16, 2, Mode::Fill);
    closed.owners.iter_mut().for_each(|owner| owner.cordoned = true);
    assert!(solve(&closed, &Vec::new()).iter().all(Option::is_none));
}

prop_compose! {
    fn any_problem()(
        log2 in 0u32..9,
        owner_count in 1usize..12,
        mode in prop_oneof![Just(Mode::Fill), Just(Mode::Even)],
    )(
        capacities in proptest::collection::vec((1u32..4, prop::bool::weighted(0.2)), owner_count),
        weights in proptest::collection::vec(1u32..20, 1 << log2),
        previous in proptest::collection::vec(proptest::option::of(0usize..14), 1 << log2),
        shards in Just(1u32 << log2),
        mode in Just(mode),
    ) -> (Problem, Placement) {
        let owners = capacities
            .iter()
            .enumerate()
            .map(|(n, (capacity, cordoned))| Owner {
                zone: format!("z{}", n % 3),
                capacity: *capacity,
                cordoned: *cordoned,
            })
            .collect();
        let problem = Problem {
            shards: ShardCount::new(shards).unwrap(),
            weights,
            owners,
            pins: Vec::new(),
            mode,
        };
        (problem, previous.into_iter().map(|p| p.map(OwnerNo)).collect())
    }
}

proptest! {
    #[test]
    fn placement_is_total_and_idempotent((problem, previous) in any_problem()) {
        let once = solve(&problem, &previous);
        prop_assert_eq!(&solve(&problem, &once), &once);
        let open = problem.owners.iter().any(|owner| !owner.cordoned);
        prop_assert!(once.iter().all(|owner| owner.is_some() || !open));
    }

    /// Evened out, no owner that takes shards could take one more from the most loaded owner and both
    /// be better off: they differ by less than the heaviest shard.
    #[test]
    fn even_means_within_one_shard((mut problem, previous) in any_problem()) {
        problem.mode = Mode::Even;
        problem.owners.iter_mut().for_each(|owner| { owner.capacity = 1; owner.cordoned = false });
        problem.weights.clear();
        let placement = solve(&problem, &previous);
        let counts = counts(&placement, problem.owners.len());
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{:?}", counts);
    }

    #[test]
    fn failover_never_moves_a_shard_that_has_an_owner((mut problem, previous) in any_problem()) {
        problem.mode = Mode::Fill;
        let placement = solve(&problem, &previous);
        for (n, before) in previous.iter().enumerate() {
            if let Some(owner) = before && owner.0 < problem.owners.len() {
                prop_assert_eq!(placement[n], Some(*owner));
            }
        }
    }
}

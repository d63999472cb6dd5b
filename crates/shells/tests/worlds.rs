//! The shells that ship keep their promise in worlds where everything breaks.

use std::collections::BTreeMap;

use iris_shells::{SEEDS_FOR_EVERYTHING, over_seeds};
use tracing::level_filters::LevelFilter;

/// What a commit has time for; `cargo xtask sim shells` runs as many as are wanted.
const SEEDS: u64 = SEEDS_FOR_EVERYTHING;

#[test]
fn the_shells_lose_nothing_in_any_world() {
    let (mut accepted, mut wrong) = (0, Vec::new());
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    over_seeds((1..SEEDS + 1, LevelFilter::OFF), || {}, &mut |seed, outcome| {
        let outcome = outcome?;
        wrong.extend(outcome.wrong().map(|wrong| (seed, wrong)));
        accepted += outcome.ledger.map_or(0, |report| report.accepted);
        for (fault, count) in outcome.faults {
            *faults.entry(fault).or_default() += count;
        }
        Ok(())
    })
    .unwrap();
    println!("{accepted} messages; {faults:?}");
    assert!(wrong.is_empty(), "`cargo xtask sim shells --seed N` runs one again: {wrong:#?}");
    assert!(accepted > 1_000 * SEEDS, "only {accepted} messages");
    assert!(faults.values().all(|count| *count > 0), "too quiet: {faults:?}");
}

/// A fence read that covers too much: the ledger must see it. Not every defect shows in these worlds
/// (ADR 0019).
#[cfg(feature = "mutations")]
#[test]
fn a_known_defect_is_found() {
    use iris_core::mutation::{Mutation, activate};

    let mut failed = 0;
    let begin = || activate(Some(Mutation::M1));
    over_seeds((1..41, LevelFilter::OFF), begin, &mut |_, outcome| {
        failed += u64::from(outcome?.wrong().is_some());
        Ok(())
    })
    .unwrap();
    assert!(failed > 0, "M1 is not found");
}

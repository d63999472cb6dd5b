//! The shells that ship keep their promise in worlds where everything breaks.

use std::collections::BTreeMap;

use iris_shells::{SEEDS_FOR_EVERYTHING, over_seeds};
use tracing::level_filters::LevelFilter;

/// What a commit has time for; `cargo xtask sim shells` runs as many as are wanted.
const SEEDS: u64 = 200;
const _: () = assert!(SEEDS >= SEEDS_FOR_EVERYTHING);

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

/// Defects that the first seeds find (docs/checks.md). Not every defect shows in these worlds.
#[cfg(feature = "mutations")]
#[test]
fn known_defects_are_found() {
    use iris_core::mutation::{Mutation, activate};

    for defect in [Mutation::M1, Mutation::M5, Mutation::N4, Mutation::N5, Mutation::N7] {
        let begin = || activate(Some(defect));
        // The first world that fails ends the search.
        let searched =
            over_seeds(
                (1..41, LevelFilter::OFF),
                begin,
                &mut |seed, outcome| match outcome?.wrong() {
                    Some(wrong) => Err(anyhow::anyhow!("seed {seed}: {wrong}")),
                    None => Ok(()),
                },
            );
        assert!(searched.is_err(), "{defect} is not found");
    }
}

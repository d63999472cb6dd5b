//! What the model is for: the protocol keeps what it promises in every order of its steps, and each
//! known defect has an order in which it does not.

use std::collections::{BTreeSet, HashMap};

use iris_model::mutation::Mutation;
use iris_model::properties::{AGREED, IN_ORDER, KEPT, ONE_RELEASE, PROMISES, RULE};
use iris_model::state::State;
use iris_model::step::Step;
use iris_model::{Bounds, ShardLog};
use stateright::{Checker as _, HasDiscoveries, Model as _};

/// What is searched, and how many states there are at least: a search that finds fewer was cut
/// short, or the model lost steps.
const SEARCHES: [(Bounds, usize); 3] =
    [(Bounds::LONG, 2_000_000), (Bounds::CHAIN, 3_000_000), (Bounds::MORTAL, 2_000_000)];

#[test]
fn the_protocol_keeps_its_promises_in_every_order_of_its_steps() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for (bounds, states_min) in SEARCHES {
        let model = ShardLog { bounds, mutation: None };
        let builder = model.checker().threads(threads).symmetry_fn(State::representative);
        // No limit of states, depth or time is set, and what always holds is never discovered: the
        // search ends when nothing is left.
        let checker = builder.spawn_dfs().join();
        let (states, depth) = (checker.unique_state_count(), checker.max_depth());
        println!("{states} states, the longest path {depth}: {bounds:?}");
        checker.assert_properties();
        assert!(states >= states_min, "only {states} states within {bounds:?}");
    }
}

/// The shortest way in which a defect breaks one of these properties: which one, and the steps.
fn shortest(mutation: Mutation, properties: &[&'static str]) -> Option<(&'static str, Vec<Step>)> {
    let mut found: Option<(&'static str, Vec<Step>)> = None;
    loop {
        let model = ShardLog { bounds: Bounds::DEFECT, mutation: Some(mutation) };
        let any = HasDiscoveries::AnyOf(properties.iter().copied().collect());
        let mut builder = model.checker().finish_when(any);
        if let Some((_, steps)) = &found {
            // The depth of a state counts the first state, and the last depth is not looked at.
            builder = builder.target_max_depth(steps.len() + 1);
        }
        // The search is by levels, but looks at some more states after it found one, and keeps the
        // last one.
        let checker = builder.spawn_bfs().join();
        let broken = properties.iter().filter_map(|property| {
            checker.discovery(property).map(|path| (*property, path.into_actions()))
        });
        match broken.min_by_key(|(_, steps)| steps.len()) {
            Some(shorter) => found = Some(shorter),
            None => return found,
        }
    }
}

#[test]
fn every_known_defect_breaks_a_promise() {
    let mut missed = Vec::new();
    for mutation in Mutation::ALL {
        match shortest(mutation, &PROMISES) {
            Some((promise, steps)) => {
                println!(
                    "{mutation}  {:2} steps  {}: not \"{promise}\"",
                    steps.len(),
                    mutation.what()
                );
                println!("    {steps:?}");
            }
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "no counterexample: {missed:?}");
}

/// A property that nothing breaks would say nothing.
#[test]
fn every_property_is_broken_by_a_defect() {
    let breaks = [
        (Mutation::M5, KEPT),
        (Mutation::M3, AGREED),
        (Mutation::N2, ONE_RELEASE),
        (Mutation::M1, RULE),
        (Mutation::M5, RULE),
        (Mutation::M6, IN_ORDER),
    ];
    for (mutation, property) in breaks {
        let found = shortest(mutation, &[property]);
        let (_, steps) = found.unwrap_or_else(|| panic!("{mutation} keeps \"{property}\""));
        println!("{mutation}  {:2} steps  not \"{property}\"", steps.len());
    }
}

#[test]
fn states_that_differ_in_names_alone_reach_the_same() {
    let bounds = Bounds { blocks: 1, ..Bounds::DEFECT };
    let model = ShardLog { bounds, mutation: None };
    let all = model.checker().spawn_dfs().join();
    let few = model.checker().symmetry_fn(State::representative).spawn_dfs().join();
    let reached = |discoveries: HashMap<&'static str, _>| {
        discoveries.into_keys().collect::<BTreeSet<&'static str>>()
    };
    assert_eq!(reached(few.discoveries()), reached(all.discoveries()));
    let (few, all) = (few.unique_state_count(), all.unique_state_count());
    println!("{few} states for {all}");
    assert!(few < all && all <= 4 * few, "{few} states for {all}");
}

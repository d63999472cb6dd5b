//! Makes a failing plan smaller: whatever can be left out while it still fails the same way is.

use iris_core::mutation::Mutation;

use crate::plan::Plan;
use crate::run::run;

/// Runs that may be spent on one plan.
const RUNS_MAX: usize = 400;

/// A plan that fails as `plan` does, with as little in it as was found.
pub fn shrink(plan: &Plan, kind: &str, mutation: Option<Mutation>) -> Plan {
    let mut smallest = plan.clone();
    let mut runs = 0;
    let mut fails = |candidate: &Plan| {
        runs += 1;
        runs <= RUNS_MAX && run(candidate, mutation).wrong.iter().any(|w| w.kind() == kind)
    };
    loop {
        let before = size(&smallest);
        cut(&mut smallest, |plan| &mut plan.faults, &mut fails);
        cut(&mut smallest, |plan| &mut plan.deeds, &mut fails);
        if size(&smallest) == before {
            return smallest;
        }
    }
}

fn size(plan: &Plan) -> usize {
    plan.faults.len() + plan.deeds.len()
}

/// Leaves out halves, then quarters, and so on down to single parts.
fn cut<T>(
    plan: &mut Plan,
    parts: impl Fn(&mut Plan) -> &mut Vec<T>,
    fails: &mut impl FnMut(&Plan) -> bool,
) {
    let mut chunk = parts(plan).len().div_ceil(2);
    while chunk > 0 {
        let mut from = 0;
        while from < parts(plan).len() {
            let mut candidate = plan.clone();
            let upto = (from + chunk).min(parts(&mut candidate).len());
            parts(&mut candidate).drain(from..upto);
            if fails(&candidate) {
                *plan = candidate;
            } else {
                from += chunk;
            }
        }
        chunk /= 2;
    }
}

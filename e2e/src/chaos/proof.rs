//! Proof that a fault happened: counters, each with the least that it must show. Pure.

use std::fmt;

use serde::Serialize;

/// Something that was counted or measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Counter {
    /// What.
    pub name: String,
    /// How much of it.
    pub value: f64,
    /// With less of it the fault did not happen.
    pub least: f64,
}

impl Counter {
    /// A count that must reach `least`.
    pub fn at_least(least: f64, name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), value, least }
    }

    /// Something that is or is not.
    pub fn that(name: impl Into<String>, holds: bool) -> Self {
        Self::at_least(1.0, name, if holds { 1.0 } else { 0.0 })
    }

    /// Whether it shows what it must.
    pub fn holds(&self) -> bool {
        self.value >= self.least
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, least } = self;
        let number = |value: f64| {
            if value.fract().abs() < 0.005 { format!("{value:.0}") } else { format!("{value:.2}") }
        };
        match (self.holds(), *least > 0.0) {
            (true, _) => write!(f, "{name} {}", number(*value)),
            (false, _) => write!(f, "{name} {} of at least {}", number(*value), number(*least)),
        }
    }
}

/// What is wrong with a proof, in words; nothing with one that holds.
pub fn doubts(proof: &[Counter]) -> Vec<String> {
    // A counter that may be nothing says something on the side, and proves nothing.
    if !proof.iter().any(|counter| counter.least > 0.0) {
        return vec!["nothing proves that the fault happened".to_owned()];
    }
    let missing = proof.iter().filter(|counter| !counter.holds());
    missing.map(|counter| format!("the fault did not happen: {counter}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_counter_nothing_is_proven() {
        assert_eq!(doubts(&[]).len(), 1);
        assert_eq!(doubts(&[Counter::at_least(0.0, "on the side", 9.0)]).len(), 1);
        assert!(doubts(&[Counter::that("process replaced", true)]).is_empty());
    }

    #[test]
    fn each_counter_must_reach_its_least() {
        let enough = Counter::at_least(10.0, "packets dropped", 10.0);
        let little = Counter::at_least(10.0, "packets dropped", 9.5);
        assert!(doubts(std::slice::from_ref(&enough)).is_empty());
        let doubts = doubts(&[enough, little]);
        assert_eq!(doubts, ["the fault did not happen: packets dropped 9.50 of at least 10"]);
    }
}

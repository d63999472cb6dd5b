//! I15: everything that is counted stays within its bound.

use crate::history::{Index, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    for event in index.events {
        let What::Gauge { name, value, max } = &event.what else { continue };
        if value > max || !value.is_finite() {
            findings.add(event.at, format!("{name} was {value}; at most {max} is allowed"));
        }
    }
}

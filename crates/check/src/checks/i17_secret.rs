//! I17: no plaintext is anywhere on the servers.

use crate::history::{Index, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    for event in index.events {
        match &event.what {
            What::CanaryFound { place } => {
                findings.add(event.at, format!("a plaintext was found in {place}"));
            }
            What::CanarySearched { place, bytes: 0 } => {
                findings.add(event.at, format!("{place} was searched, and there was nothing"));
            }
            _ => {}
        }
    }
}

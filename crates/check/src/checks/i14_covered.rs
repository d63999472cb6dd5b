//! I14: every shard has exactly one desired owner, and does not flap.

use std::collections::BTreeMap;

use crate::history::{Index, SessionNo, What};

use super::{Bounds, Findings};

/// Within this time, so many changes without a declared reason are flapping.
const WINDOW_US: u64 = 600_000_000;
const CHANGES_MAX: usize = 2;

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    let mut last: BTreeMap<u32, &[SessionNo]> = BTreeMap::new();
    let mut undeclared: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for event in index.events {
        let What::Desired { shard, owners, declared } = &event.what else { continue };
        if owners.len() > 1 {
            let text = format!("shard {shard} has {} desired owners", owners.len());
            findings.add(event.at, text);
        }
        last.insert(*shard, owners);
        if !declared {
            let changes = undeclared.entry(*shard).or_default();
            changes.push(event.at);
            changes.retain(|at| at + WINDOW_US > event.at);
            if changes.len() > CHANGES_MAX {
                findings.add(event.at, format!("shard {shard} flaps: {} changes", changes.len()));
            }
        }
    }
    for (shard, owners) in last {
        if owners.is_empty() {
            findings.add(index.ends_at, format!("shard {shard} has no desired owner at the end"));
        }
    }
}

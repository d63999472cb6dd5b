//! I8: where a lane ends is decided once, and what is below never changes.

use std::collections::BTreeMap;

use crate::history::{Index, Lane, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    let mut ends: BTreeMap<Lane, u64> = BTreeMap::new();
    let mut hashes: BTreeMap<Lane, &str> = BTreeMap::new();
    for event in index.events {
        match &event.what {
            What::Sealed { lane, end } => {
                let known = *ends.entry(*lane).or_insert(*end);
                if known != *end {
                    let text = format!(
                        "lane {} of session {} ends at {known} and at {end}",
                        lane.lane, lane.session.0
                    );
                    findings.add(event.at, text);
                }
            }
            What::SealedRead { lane, hash } => {
                let known = *hashes.entry(*lane).or_insert(hash);
                if known != hash {
                    let text = format!(
                        "what lane {} of session {} holds below its seal has changed",
                        lane.lane, lane.session.0
                    );
                    findings.add(event.at, text);
                }
            }
            _ => {}
        }
    }
}

//! I18: every send is answered soon, and a definite answer is true.
//!
//! That what was refused is never seen is I2. Here nothing hangs: as long as the connection lasts, a
//! transmission is followed by an outcome, or by the wish to send again.

use std::collections::BTreeMap;

use crate::history::{Device, Index, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, bounds: &Bounds, findings: &mut Findings) {
    // The oldest transmission without an answer, by device and number.
    let mut waiting: BTreeMap<(Device, u64), u64> = BTreeMap::new();
    for event in index.events {
        match &event.what {
            What::Send { by, number, .. } | What::SendAgain { by, number } => {
                waiting.entry((*by, *number)).or_insert(event.at);
            }
            What::Decided { by, number, .. } => {
                if let Some(since) = waiting.remove(&(*by, *number)) {
                    judge(event.at, since, (*by, *number), bounds, findings);
                }
            }
            What::PutOff { by, number, .. } => {
                for (key, since) in take_from(&mut waiting, *by, *number) {
                    judge(event.at, since, key, bounds, findings);
                }
            }
            What::Disconnected { by } => {
                for (key, since) in take_from(&mut waiting, *by, 0) {
                    judge(event.at, since, key, bounds, findings);
                }
            }
            _ => {}
        }
    }
    for (key, since) in waiting {
        judge(index.ends_at, since, key, bounds, findings);
    }
}

fn judge(
    at: u64,
    since: u64,
    (by, number): (Device, u64),
    bounds: &Bounds,
    findings: &mut Findings,
) {
    if at.saturating_sub(since) > bounds.answer_us {
        let text = format!(
            "number {number} of device {}/{} waited {} ms for any answer",
            by.account.0,
            by.device,
            (at - since) / 1000
        );
        findings.add(since, text);
    }
}

/// Removes a device's transmissions from a number on.
fn take_from(
    waiting: &mut BTreeMap<(Device, u64), u64>,
    by: Device,
    number: u64,
) -> Vec<((Device, u64), u64)> {
    let keys: Vec<_> = waiting.range((by, number)..=(by, u64::MAX)).map(|(k, _)| *k).collect();
    keys.into_iter().filter_map(|key| Some((key, waiting.remove(&key)?))).collect()
}

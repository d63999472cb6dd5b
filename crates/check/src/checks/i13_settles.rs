//! I13: once nothing is broken, everything settles.

use crate::history::{Index, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, bounds: &Bounds, findings: &mut Findings) {
    let Some(healed) = index.healed_at else { return };
    let late = |since: u64, bound: u64| index.ends_at > since.max(healed) + bound;
    for (message, sending) in &index.sends {
        let deadline = sending.at.max(healed) + bounds.settle_us;
        let decided = sending.told.first().map(|(at, _)| *at);
        let is_late = decided.map_or(late(sending.at, bounds.settle_us), |at| at > deadline);
        if is_late {
            let text = format!(
                "message {} (number {} of device {}/{}) had no outcome {} s after all was whole",
                message.0,
                sending.number,
                sending.by.account.0,
                sending.by.device,
                bounds.settle_us / 1_000_000
            );
            findings.add(deadline, text);
        }
    }
    for (device, log) in &index.devices {
        if log.drained.is_none() && log.revoked_at.is_none() && late(healed, bounds.drain_us) {
            let text = format!(
                "device {}/{} did not reach the head of its inbox",
                device.account.0, device.device
            );
            findings.add(index.ends_at, text);
        }
    }
    let ready = index.events.iter().find(|e| e.at >= healed && e.what == What::Ready);
    let looked = index.events.iter().any(|e| e.what == What::Ready);
    if looked && ready.map_or(late(healed, bounds.ready_us), |e| e.at > healed + bounds.ready_us) {
        findings.add(healed + bounds.ready_us, "not everything says that it is well".to_owned());
    }
}

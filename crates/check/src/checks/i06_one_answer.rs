//! I6: a repeated send always gets the same answer.

use crate::history::Index;

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    for (message, sending) in &index.sends {
        let Some((_, first)) = sending.told.first() else { continue };
        if let Some((at, other)) = sending.told.iter().find(|(_, outcome)| outcome != first) {
            let text = format!(
                "message {} (number {} of device {}/{}) was {first:?}, later {other:?}",
                message.0, sending.number, sending.by.account.0, sending.by.device
            );
            findings.add(*at, text);
        }
    }
    for pair in index.numbers.iter().collect::<Vec<_>>().windows(2) {
        let [((device, low), _), ((next_device, high), _)] = pair else { continue };
        if device == next_device && *high != low + 1 {
            let text = format!(
                "device {}/{} sent number {high} after {low}: its own history is not dense",
                device.account.0, device.device
            );
            findings.add(index.ends_at, text);
        }
    }
}

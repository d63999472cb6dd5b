//! I4: a device applies its stream once, in order, without a gap.

use crate::history::{Index, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    for event in index.events {
        if let What::Gap { by, expected, found } = &event.what {
            let text = format!(
                "device {}/{} was handed place {found} and has nothing of {expected}",
                by.account.0, by.device
            );
            findings.add(event.at, text);
        }
    }
    for (device, log) in &index.devices {
        let name = format!("device {}/{}", device.account.0, device.device);
        let Some((_, mut stream, mut at)) = log.linked else {
            if let Some((when, ..)) = log.applied.first() {
                findings.add(*when, format!("{name} applied places before it was linked"));
            }
            continue;
        };
        let mut skipped = log.skipped.iter().peekable();
        for (when, found_stream, place, _) in &log.applied {
            while let Some((_, next, floor)) = skipped.next_if(|(told, ..)| told <= when) {
                (stream, at) = (*next, *floor);
            }
            if *found_stream != stream || *place != at + 1 {
                let text = format!("{name} applied place {place} after {at}");
                findings.add(*when, text);
            }
            (stream, at) = (*found_stream, *place);
        }
        if let Some((_, head)) = log.drained
            && head != at
            && skipped.all(|(_, _, floor)| *floor < head)
        {
            let text = format!("{name} ended at place {at}; the inbox goes on to {head}");
            findings.add(index.ends_at, text);
        }
    }
}

//! I4: a device applies its stream once, in order, without a gap.

use std::collections::BTreeMap;

use crate::history::{AccountNo, DeviceLog, GroupNo, Index, Item, Target, What};

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
    logs_are_dense(index, findings);
    for (device, log) in &index.devices {
        groups_are_dense(index, (device.account, log), findings);
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

/// Between the place at which it came to a group and the one at which it left, a device has every place of
/// the group, in order. What was erased is a hole that does not say what it was.
fn groups_are_dense(
    index: &Index<'_>,
    (account, log): (AccountNo, &DeviceLog),
    findings: &mut Findings,
) {
    let mut last: BTreeMap<GroupNo, (u64, u64)> = BTreeMap::new();
    let mut holes = 0;
    for (when, _, _, item) in &log.applied {
        let message = match item {
            Item::Hole => {
                holes += 1;
                continue;
            }
            Item::Message(message) => message,
            Item::Own(_) | Item::Notice { .. } => continue,
        };
        let (Target::Group(group), Some(at)) = (message.to, message.conv_seq) else { continue };
        let Some((before, holes_before)) = last.insert(group, (at, holes)) else { continue };
        // Nothing is owed of the time between two memberships, nor of what is read from a log.
        let came_between = index.members.get(&group).into_iter().flatten().any(|change| {
            let (place, who, joined) = *change;
            joined && who == account && place > before && place <= at
        });
        let owed = !came_between && !index.is_pulled(group, at);
        let missing = at.saturating_sub(before + 1);
        if owed && (at <= before || missing > holes - holes_before) {
            let text = format!(
                "account {} has place {at} of group {} behind {before}, and nothing between",
                account.0, group.0
            );
            findings.add(*when, text);
        }
    }
}

/// A page of a group's log begins behind where it was asked for, and has no gap.
fn logs_are_dense(index: &Index<'_>, findings: &mut Findings) {
    for event in index.events {
        let What::LogPage { by, group, behind, messages, .. } = &event.what else { continue };
        let mut before = None;
        for message in messages {
            let Some(at) = message.conv_seq else { continue };
            // Whoever asks from the beginning gets what is behind the place at which it came.
            let came = index.comes_behind(*group, by.account, *behind);
            let pulled = index.pulls.get(group).is_some_and(|from| from > behind);
            let wrong = match before {
                None if came || pulled => at <= *behind,
                None => at != behind + 1,
                Some(before) => at != before + 1,
            };
            if wrong {
                let text = format!(
                    "device {}/{} read place {at} of group {} behind {}",
                    by.account.0,
                    by.device,
                    group.0,
                    before.unwrap_or(*behind)
                );
                findings.add(event.at, text);
            }
            before = Some(at);
        }
    }
}

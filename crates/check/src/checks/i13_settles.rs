//! I13: once nothing is broken, everything settles.

use std::collections::BTreeMap;

use crate::history::{AccountNo, Device, Index, Item, Target, What};

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
    if late(healed, bounds.drain_us) {
        logs_are_read(index, findings);
    }
    the_declined_are_out(index, healed, bounds, findings);
    presence_is_true(index, healed, bounds, findings);
    receipts_arrive(index, healed, bounds, findings);
    let ready = index.events.iter().find(|e| e.at >= healed && e.what == What::Ready);
    let looked = index.events.iter().any(|e| e.what == What::Ready);
    if looked && ready.map_or(late(healed, bounds.ready_us), |e| e.at > healed + bounds.ready_us) {
        findings.add(healed + bounds.ready_us, "not everything says that it is well".to_owned());
    }
}

/// Every device of every member of a large group has its log up to the head.
fn logs_are_read(index: &Index<'_>, findings: &mut Findings) {
    for group in index.pulls.keys() {
        let is_in = |device: &&Device| index.is_member(*group, device.account, u64::MAX);
        for device in index.devices.keys().filter(is_in) {
            if !index.logs_drained.contains_key(&(*device, *group)) {
                let text = format!(
                    "device {}/{} did not reach the head of the log of group {}",
                    device.account.0, device.device, group.0
                );
                findings.add(index.ends_at, text);
            }
        }
    }
}

/// Whoever does not exist is in no group any more, as far as those who are in it know.
fn the_declined_are_out(index: &Index<'_>, healed: u64, bounds: &Bounds, findings: &mut Findings) {
    let exists = |account: AccountNo| index.devices.keys().any(|d| d.account == account);
    for group in index.members.keys() {
        let added = index.events.iter().rev().find_map(|event| match &event.what {
            What::Member { group: known, account, joined: true, .. }
                if known == group && !exists(*account) =>
            {
                Some(event.at)
            }
            _ => None,
        });
        let Some(added) = added.filter(|at| index.ends_at > (*at).max(healed) + bounds.settle_us)
        else {
            continue;
        };
        let everybody = index.ever_in(*group);
        let mut real = everybody.iter().filter(|account| exists(**account));
        let known = real.any(|account| {
            index.is_member(*group, *account, u64::MAX) && index.has_all_of(*group, *account)
        });
        let nobodies = everybody.iter().filter(|account| !exists(**account));
        for account in nobodies.filter(|a| known && index.is_member(*group, **a, u64::MAX)) {
            let text =
                format!("account {} does not exist, and is still in group {}", account.0, group.0);
            findings.add(added, text);
        }
    }
}

/// Whoever watches somebody knows whether they are there, once nothing has changed for a while.
fn presence_is_true(index: &Index<'_>, healed: u64, bounds: &Bounds, findings: &mut Findings) {
    let mut here: BTreeMap<AccountNo, (u64, bool)> = BTreeMap::new();
    let mut told: BTreeMap<(Device, AccountNo), bool> = BTreeMap::new();
    let mut watches: BTreeMap<(Device, AccountNo), u64> = BTreeMap::new();
    for event in index.events {
        match &event.what {
            What::Here { account, here: is } => {
                here.insert(*account, (event.at, *is));
            }
            What::Watches { by, of, on: true } => {
                watches.insert((*by, *of), event.at);
            }
            What::Watches { by, of, on: false } => {
                watches.remove(&(*by, *of));
            }
            What::Presence { by, of, online } => {
                told.insert((*by, *of), *online);
            }
            _ => {}
        }
    }
    for ((by, of), since) in watches {
        let Some((changed, is)) = here.get(&of).copied() else { continue };
        let settled = changed.max(since).max(healed) + bounds.presence_us;
        let hidden = index.may_block(of, by.account, 0);
        if index.ends_at > settled && !hidden && told.get(&(by, of)) != Some(&is) {
            let text = format!(
                "device {}/{} was told {:?} of account {}, whose being there is {is}",
                by.account.0,
                by.device,
                told.get(&(by, of)),
                of.0
            );
            findings.add(settled, text);
        }
    }
}

/// Every device of a writer learns that what was written is on a device of its recipient.
fn receipts_arrive(index: &Index<'_>, healed: u64, bounds: &Bounds, findings: &mut Findings) {
    let mut has: BTreeMap<(AccountNo, AccountNo), u64> = BTreeMap::new();
    let mut told: BTreeMap<(Device, AccountNo), u64> = BTreeMap::new();
    let settled = |at: u64| index.ends_at > at.max(healed) + bounds.receipt_us;
    for event in index.events {
        match &event.what {
            What::Applied { by, item: Item::Message(message), .. }
                if message.to == Target::Account(by.account)
                    && message.from.account != by.account
                    && settled(event.at) =>
            {
                let clock = has.entry((message.from.account, by.account)).or_default();
                *clock = message.clock.max(*clock);
            }
            What::Receipt { by, of, delivered, .. } => {
                let clock = told.entry((*by, *of)).or_default();
                *clock = (*delivered).max(*clock);
            }
            _ => {}
        }
    }
    for ((writer, reader), clock) in has {
        if index.may_block(reader, writer, 0) || index.may_block(writer, reader, 0) {
            continue;
        }
        let devices = index.devices.iter().filter(|(device, log)| {
            device.account == writer && log.drained.is_some() && log.revoked_at.is_none()
        });
        for (device, _) in devices {
            let known = told.get(&(*device, reader)).copied().unwrap_or_default();
            if known < clock {
                let text = format!(
                    "device {}/{} knows that account {} has messages up to {known}; it has up to \
                     {clock}",
                    device.account.0, device.device, reader.0
                );
                findings.add(index.ends_at, text);
            }
        }
    }
}

//! I1: what was acknowledged reaches every device that it is for.
//!
//! Judged by devices that reached the head of their inbox. A send may be without a place when its
//! destination refused it (a notice says so), or when it was erased or expired before. And what an
//! account had stays in its history: pages have no gaps.

use crate::history::{AccountNo, Device, Index, Item, MessageNo, Sending, Target, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    pages_are_whole(index, findings);
    logs_are_whole(index, findings);
    groups_take_or_refuse(index, findings);
    for (message, sending) in &index.sends {
        let Some(accepted_at) = sending.accepted_at() else { continue };
        let places = index.places.get(message).map(Vec::as_slice).unwrap_or_default();
        let placed = |account: AccountNo, own: bool| {
            places.iter().find(|p| p.account == account && p.own == own)
        };
        let mut owed = vec![(sending.by.account, true)];
        if !is_excused(index, *message, sending) {
            let recipients = recipients(index, *message, sending).into_iter();
            let in_group = matches!(sending.to, Target::Group(_));
            let owes =
                |a: &AccountNo| in_group || !index.may_block(*a, sending.by.account, sending.at);
            owed.extend(recipients.filter(owes).map(|a| (a, false)));
        }
        for (account, own) in owed {
            match placed(account, own) {
                Some(place) => {
                    for device in missing(index, account, place.stream, place.place) {
                        let text = format!(
                            "message {} was accepted, and device {}/{} passed its place {} without it",
                            message.0, account.0, device.device, place.place
                        );
                        findings.add(accepted_at, text);
                    }
                }
                None if would_have(index, account, sending) => {
                    let what = if own { "its sender's own devices" } else { "its recipient" };
                    let text = format!(
                        "message {} ({}/{} number {}) was accepted and never reached {what} \
                         (account {})",
                        message.0,
                        sending.by.account.0,
                        sending.by.device,
                        sending.number,
                        account.0
                    );
                    findings.add(accepted_at, text);
                }
                None => {}
            }
        }
    }
}

/// Whether the recipient need not have it.
fn is_excused(index: &Index<'_>, message: MessageNo, sending: &Sending) -> bool {
    let expired = sending.expires_at != 0 && sending.expires_at <= index.ends_at;
    let erased = index.erased.keys().any(|(_, erased)| *erased == message);
    // Of a large group only readers of its log know of it.
    let in_group = |group| index.erased_at.contains_key(&(group, message));
    let erased = erased || matches!(sending.to, Target::Group(group) if in_group(group));
    expired || erased || index.notices.contains_key(&message)
}

/// Whose inboxes an accepted message is for: of a group, whoever was a member at its place. Of a large one
/// inboxes hold what concerns their own membership.
fn recipients(index: &Index<'_>, message: MessageNo, sending: &Sending) -> Vec<AccountNo> {
    match sending.to {
        Target::Account(account) => vec![account],
        Target::Group(group) => {
            let Some((_, at)) = index.positions.get(&message).copied() else { return Vec::new() };
            let concerns = |account: &AccountNo| {
                let mut changes = index.members.get(&group).into_iter().flatten();
                !index.is_pulled(group, at)
                    || changes.any(|(place, who, _)| *place == at && who == account)
            };
            let everybody = index.ever_in(group).into_iter();
            let in_it = everybody.filter(|account| {
                index.is_member(group, *account, at) && !index.is_declined(group, *account, at)
            });
            in_it.filter(concerns).collect()
        }
    }
}

/// What a group took has a place that its sender's devices know; what it refused has a notice.
fn groups_take_or_refuse(index: &Index<'_>, findings: &mut Findings) {
    for (message, sending) in &index.sends {
        let Target::Group(group) = sending.to else { continue };
        let (Some(accepted_at), who) = (sending.accepted_at(), sending.by.account) else {
            continue;
        };
        let told = index.positions.contains_key(message) || is_excused(index, *message, sending);
        // Who left a large group does not read on, and who comes back does not read what was before.
        let reads = !index.pulls.contains_key(&group) || !index.has_left(group, who);
        if !told && reads && index.has_all_of(group, who) {
            let text = format!(
                "message {} (number {} of device {}/{}) was accepted; group {} neither has it nor \
                 refused it",
                message.0, sending.number, who.0, sending.by.device, group.0
            );
            findings.add(accepted_at, text);
        }
    }
}

/// A page of a group's log goes as far as its device was told, or there is more behind it.
fn logs_are_whole(index: &Index<'_>, findings: &mut Findings) {
    for event in index.events {
        let What::LogPage { by, group, behind, told, more, messages } = &event.what else {
            continue;
        };
        let last = messages.iter().filter_map(|message| message.conv_seq).max();
        let last = last.unwrap_or(*behind);
        // Who comes, or comes again, reads what is behind that.
        let reads = index.is_member(*group, by.account, *told)
            && index.is_pulled(*group, *told)
            && !index.comes_behind(*group, by.account, told.saturating_sub(1));
        if !more && last < *told && reads {
            let text = format!(
                "device {}/{} was told of place {told} of group {}, and the log ended at {last}",
                by.account.0, by.device, group.0
            );
            findings.add(event.at, text);
        }
    }
    for ((device, group), head) in &index.logs_drained {
        let order = index.orders.get(group);
        let beyond = order.and_then(|order| order.last_key_value()).filter(|(at, _)| *at > head);
        if let Some((at, _)) = beyond {
            let text = format!(
                "device {}/{} has all of the log of group {} up to {head}; others have {at}",
                device.account.0, device.device, group.0
            );
            findings.add(index.ends_at, text);
        }
    }
}

/// Whether an account has a device that reached the head of the inbox and began before the message was
/// sent: it would have the message.
fn would_have(index: &Index<'_>, account: AccountNo, sending: &Sending) -> bool {
    index.devices.iter().any(|(device, log)| {
        device.account == account
            && log.drained.is_some()
            && log.linked.is_some_and(|(at, _, _)| at <= sending.at)
    })
}

/// Devices that were handed the place and have something else there, or nothing.
fn missing(index: &Index<'_>, account: AccountNo, stream: u32, place: u64) -> Vec<Device> {
    let of_account = index.devices.iter().filter(|(device, _)| device.account == account);
    let missing = of_account.filter(|(_, log)| {
        let began = log.linked.is_some_and(|(_, s, start)| s == stream && start < place);
        let passed = log.drained.is_some_and(|(s, head)| s == stream && head >= place);
        let skipped = log.skipped.iter().any(|(_, s, floor)| *s == stream && *floor >= place);
        let has = log.applied.iter().any(|(_, s, p, _)| *s == stream && *p == place);
        began && passed && !skipped && !has
    });
    missing.map(|(device, _)| *device).collect()
}

/// What a device had when it asked for a page is in it, if the page goes back so far.
fn pages_are_whole(index: &Index<'_>, findings: &mut Findings) {
    for event in index.events {
        let What::Fetched { by, asked_at, conversation, whole_from: Some(from), messages } =
            &event.what
        else {
            continue;
        };
        let applied = index.devices.get(by).map(|log| log.applied.as_slice()).unwrap_or_default();
        for (_, _, _, item) in applied.iter().take_while(|(at, ..)| at < asked_at) {
            let (Item::Message(message) | Item::Own(message)) = item else { continue };
            if matches!((item, message.to), (Item::Own(_), Target::Group(_))) {
                // It is in the history at the place that the group gave it.
                continue;
            }
            let other = if message.from.account == by.account {
                message.to
            } else {
                Target::Account(message.from.account)
            };
            let with = if message.conv_seq.is_some() { message.to } else { other };
            let expires_at = index.sends.get(&message.message).map_or(0, |s| s.expires_at);
            // What is erased in a group may be gone for who had left it, too: its body is kept once.
            let in_group = index.positions.get(&message.message);
            let in_group = in_group
                .is_some_and(|(group, _)| index.erased_at.contains_key(&(*group, message.message)));
            let gone = in_group
                || index.erased.contains_key(&(by.account, message.message))
                || (expires_at != 0 && expires_at <= event.at);
            let wanted = with == *conversation && message.clock >= *from && !gone;
            if wanted && !messages.contains(&message.message) {
                let text = format!(
                    "device {}/{} had message {}, and a page of history from clock {from} on does \
                     not",
                    by.account.0, by.device, message.message.0
                );
                findings.add(event.at, text);
            }
        }
    }
}

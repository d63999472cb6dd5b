//! I1: what was acknowledged reaches every device that it is for.
//!
//! Judged by devices that reached the head of their inbox. A send may be without a place when its
//! destination refused it (a notice says so), or when it was erased or expired before. And what an
//! account had stays in its history: pages have no gaps.

use crate::history::{AccountNo, Device, Index, Item, MessageNo, Sending, Target, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    pages_are_whole(index, findings);
    for (message, sending) in &index.sends {
        let Some(accepted_at) = sending.accepted_at() else { continue };
        let places = index.places.get(message).map(Vec::as_slice).unwrap_or_default();
        let placed = |account: AccountNo, own: bool| {
            places.iter().find(|p| p.account == account && p.own == own)
        };
        let mut owed = vec![(sending.by.account, true)];
        if !is_excused(index, *message, sending) {
            let recipients = recipients(index, *message, sending).into_iter();
            let owes = |a: &AccountNo| !index.may_block(*a, sending.by.account, sending.at);
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
    expired || erased || index.notices.contains_key(&message)
}

/// Whom an accepted message is for: of a group, whoever was a member at its position, if any member
/// has it; where none has, everybody who ever was one.
fn recipients(index: &Index<'_>, message: MessageNo, sending: &Sending) -> Vec<AccountNo> {
    match sending.to {
        Target::Account(account) => vec![account],
        Target::Group(group) => {
            let places = index.places.get(&message).into_iter().flatten();
            let position = places.filter(|p| !p.own).find_map(|p| p.message.conv_seq);
            let mut everybody: Vec<_> =
                index.members.get(&group).into_iter().flatten().map(|(_, a, _)| *a).collect();
            everybody.sort_unstable();
            everybody.dedup();
            match position {
                Some(at) => everybody.retain(|account| index.is_member(group, *account, at)),
                None => everybody.truncate(1),
            }
            everybody
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
            let other = if message.from.account == by.account {
                message.to
            } else {
                Target::Account(message.from.account)
            };
            let with = if message.conv_seq.is_some() { message.to } else { other };
            let expires_at = index.sends.get(&message.message).map_or(0, |s| s.expires_at);
            let gone = index.erased.contains_key(&(by.account, message.message))
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

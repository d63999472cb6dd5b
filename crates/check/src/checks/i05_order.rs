//! I5: messages of a device arrive in its order, replies above what they reply to.

use std::collections::BTreeMap;

use crate::history::{AccountNo, Device, Index, Item, Message, Target, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    in_order_of_numbers(index, findings);
    groups_agree(index, findings);
    groups_have_one_order(index, findings);
    above_what_was_seen(index, findings);
}

/// In every inbox, the messages of one device to one conversation are in the order of their numbers.
/// A message that its destination refused and that was sent anew has a number of its own.
fn in_order_of_numbers(index: &Index<'_>, findings: &mut Findings) {
    for ((account, _), inbox) in &index.inboxes {
        let mut last: BTreeMap<(Device, Target, bool), (u64, u64)> = BTreeMap::new();
        for (place, item) in inbox {
            let (Item::Message(message) | Item::Own(message)) = item else { continue };
            let Some(sending) = index.sends.get(&message.message) else { continue };
            let own = matches!(item, Item::Own(_));
            let key = (message.from, message.to, own);
            let (number, clock) = (sending.number, message.clock);
            if let Some((before, clock_before)) = last.insert(key, (number, clock)) {
                if before >= number {
                    let text = format!(
                        "account {} has number {number} of device {}/{} at place {place}, behind \
                         number {before}",
                        account.0, message.from.account.0, message.from.device
                    );
                    findings.add(sending.at, text);
                }
                if clock_before >= clock {
                    let text = format!(
                        "account {}: the clock of message {} is not above that of the one before",
                        account.0, message.message.0
                    );
                    findings.add(sending.at, text);
                }
            }
        }
    }
}

/// In every inbox, a group's messages are in the order of the group's numbers, which is also that of
/// each sending device.
fn groups_agree(index: &Index<'_>, findings: &mut Findings) {
    for ((account, _), inbox) in &index.inboxes {
        let mut last: BTreeMap<Target, u64> = BTreeMap::new();
        for item in inbox.values() {
            let Item::Message(message) = item else { continue };
            let Some(conv_seq) = message.conv_seq else { continue };
            if last.insert(message.to, conv_seq).is_some_and(|before| before >= conv_seq) {
                let text = format!(
                    "account {} has position {conv_seq} of {:?} behind a later one",
                    account.0, message.to
                );
                findings.add(index.ends_at, text);
            }
        }
    }
}

/// In a group's one order, the messages of a device are in the order of their numbers, and clocks grow.
fn groups_have_one_order(index: &Index<'_>, findings: &mut Findings) {
    for (group, order) in &index.orders {
        let mut numbers: BTreeMap<Device, u64> = BTreeMap::new();
        let mut clock_before = 0;
        for (place, message) in order {
            if message.clock <= clock_before {
                let text = format!(
                    "the clock of place {place} of group {} is not above that of the one before",
                    group.0
                );
                findings.add(index.ends_at, text);
            }
            clock_before = message.clock;
            let Some(sending) = index.sends.get(&message.message) else { continue };
            let before = numbers.insert(message.from, sending.number);
            if before.is_some_and(|before| before >= sending.number) {
                let text = format!(
                    "group {} has number {} of device {}/{} at place {place}, behind a higher one",
                    group.0, sending.number, message.from.account.0, message.from.device
                );
                findings.add(sending.at, text);
            }
        }
    }
}

/// What a device sends after it saw a message of the conversation has a clock above that message's.
fn above_what_was_seen(index: &Index<'_>, findings: &mut Findings) {
    let clocks = clocks(index);
    let mut seen: BTreeMap<(Device, Target), u64> = BTreeMap::new();
    for event in index.events {
        match &event.what {
            What::Applied { by, item: Item::Message(message) | Item::Own(message), .. }
                if counts(message) =>
            {
                let conversation = conversation_of(by.account, message);
                let highest = seen.entry((*by, conversation)).or_default();
                *highest = message.clock.max(*highest);
            }
            What::LogPage { by, group, messages, .. } => {
                let highest = seen.entry((*by, Target::Group(*group))).or_default();
                let clocks = messages.iter().map(|message| message.clock);
                *highest = clocks.max().unwrap_or_default().max(*highest);
            }
            What::Send { by, message, to, .. } => {
                let before = seen.get(&(*by, *to)).copied().unwrap_or_default();
                if clocks.get(message).is_some_and(|clock| *clock <= before) {
                    let text = format!(
                        "message {} has a clock that is not above what its device had seen",
                        message.0
                    );
                    findings.add(event.at, text);
                }
            }
            _ => {}
        }
    }
}

fn clocks(index: &Index<'_>) -> BTreeMap<crate::history::MessageNo, u64> {
    let clock = |(message, places): (&_, &Vec<crate::history::Placed>)| {
        let clocks = places.iter().filter(|place| counts(&place.message));
        clocks.map(|place| place.message.clock).min().map(|clock| (*message, clock))
    };
    let in_groups = index.orders.values().flat_map(BTreeMap::values);
    let in_groups = in_groups.map(|message| (message.message, message.clock));
    index.places.iter().filter_map(clock).chain(in_groups).collect()
}

/// Whether its clock is the one that orders its conversation: a group gives its own.
fn counts(message: &Message) -> bool {
    matches!(message.to, Target::Account(_)) || message.conv_seq.is_some()
}

/// The conversation as the account sees it: with the other one, or the group.
fn conversation_of(me: AccountNo, message: &Message) -> Target {
    match message.to {
        Target::Group(_) => message.to,
        Target::Account(_) if message.from.account == me => message.to,
        Target::Account(_) => Target::Account(message.from.account),
    }
}

//! I11: members get what was said while they were members, and nothing else; whom somebody blocks
//! reaches them with nothing that was sent later.
//!
//! That they get all of it is I1; here nobody gets more.

use crate::history::{Block, Index, Item, Target, What};

use super::{Bounds, Findings};

/// "Not a member of this group".
const NOT_MEMBER: u32 = 4101;
/// The device of what nobody's device sent.
const THE_GROUP: u32 = 0;

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    blocks_hold(index, findings);
    for ((account, _), inbox) in &index.inboxes {
        for (place, item) in inbox {
            let Item::Message(message) = item else { continue };
            let (Target::Group(group), Some(conv_seq)) = (message.to, message.conv_seq) else {
                if let Target::Account(to) = message.to
                    && to != *account
                {
                    let text = format!(
                        "account {} has a message to account {} at place {place}",
                        account.0, to.0
                    );
                    findings.add(index.ends_at, text);
                }
                continue;
            };
            if !index.is_member(group, *account, conv_seq) {
                let text = format!(
                    "account {} has place {conv_seq} of group {} at place {place}, where it is no \
                     member",
                    account.0, group.0
                );
                findings.add(index.ends_at, text);
            }
        }
    }
    logs_are_for_members(index, findings);
    only_members_write(index, findings);
    the_declined_have_nothing(index, findings);
}

fn logs_are_for_members(index: &Index<'_>, findings: &mut Findings) {
    for event in index.events {
        let What::LogPage { by, group, messages, .. } = &event.what else { continue };
        for place in messages.iter().filter_map(|message| message.conv_seq) {
            if !index.is_member(*group, by.account, place) {
                let text = format!(
                    "device {}/{} read place {place} of group {}, where it is no member",
                    by.account.0, by.device, group.0
                );
                findings.add(event.at, text);
            }
        }
    }
}

/// Whoever wrote something was a member there; and who always was one is not told that it is none.
fn only_members_write(index: &Index<'_>, findings: &mut Findings) {
    for (group, order) in &index.orders {
        for (place, message) in order {
            // The group itself puts out who cannot be members, in the name of somebody of whom it may not know
            // yet that they are none either.
            if message.from.device == THE_GROUP {
                continue;
            }
            if !index.is_member(*group, message.from.account, *place) {
                let text = format!(
                    "place {place} of group {} is by account {}, which is no member there",
                    group.0, message.from.account.0
                );
                findings.add(index.ends_at, text);
            }
        }
    }
    for (message, code) in &index.notices {
        let Some(sending) = index.sends.get(message) else { continue };
        let (Target::Group(group), NOT_MEMBER) = (sending.to, *code) else { continue };
        let who = sending.by.account;
        let came = index.came.get(&(group, who)).is_some_and(|at| *at < sending.at);
        let changes = index.members.get(&group).into_iter().flatten();
        if came && changes.clone().all(|(_, account, joined)| *account != who || *joined) {
            let text = format!(
                "message {} of account {} was refused by group {}, of which it always was a member",
                message.0, who.0, group.0
            );
            findings.add(sending.at, text);
        }
    }
}

/// Whom a group itself put out, as they could be no members, got nothing of it meanwhile.
fn the_declined_have_nothing(index: &Index<'_>, findings: &mut Findings) {
    for ((account, _), inbox) in &index.inboxes {
        for item in inbox.values() {
            let Item::Message(message) = item else { continue };
            let (Target::Group(group), Some(at)) = (message.to, message.conv_seq) else {
                continue;
            };
            if index.is_declined(group, *account, at) {
                let text = format!(
                    "account {} has place {at} of group {}, which it could not be a member of",
                    account.0, group.0
                );
                findings.add(index.ends_at, text);
            }
        }
    }
}

/// What was sent after a block was answered that is never lifted does not arrive. (One that is lifted
/// lets in what was sent before, and is still on its way.)
fn blocks_hold(index: &Index<'_>, findings: &mut Findings) {
    for event in index.events {
        let What::Blocks { account, whom, on: true, asked_at } = &event.what else { continue };
        let mut blocks = index.blocked.get(&(*account, *whom)).into_iter().flatten();
        let holds = |block: &Block| block.asked_at == *asked_at && block.sure;
        if !blocks.any(|block| holds(block) && block.until == u64::MAX) {
            continue;
        }
        for placed in index.places.values().flatten() {
            let sending = index.sends.get(&placed.message.message);
            // Whoever is blocked is heard in groups of both.
            let to_it = placed.message.to == Target::Account(*account);
            let reached = !placed.own && placed.account == *account && to_it;
            let later = sending.is_some_and(|s| s.by.account == *whom && s.at > event.at);
            if reached && later {
                let text = format!(
                    "account {} has message {} of account {}, which it had blocked before",
                    account.0, placed.message.message.0, whom.0
                );
                findings.add(event.at, text);
            }
        }
    }
}

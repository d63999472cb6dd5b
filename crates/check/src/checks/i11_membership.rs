//! I11: members get what was said while they were members, and nothing else; whom somebody blocks
//! reaches them with nothing that was sent later.
//!
//! That they get all of it is I1; here nobody gets more.

use crate::history::{Block, Index, Item, Target, What};

use super::{Bounds, Findings};

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
                    "account {} has position {conv_seq} of group {} at place {place}, where it is \
                     no member",
                    account.0, group.0
                );
                findings.add(index.ends_at, text);
            }
            if !index.is_member(group, message.from.account, conv_seq) {
                let text = format!(
                    "position {conv_seq} of group {} is by account {}, which is no member there",
                    group.0, message.from.account.0
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
            let reached = !placed.own && placed.account == *account;
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

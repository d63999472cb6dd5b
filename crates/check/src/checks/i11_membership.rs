//! I11: members get what was said while they were members, and nothing else.
//!
//! That they get all of it is I1; here nobody gets more.

use crate::history::{Index, Item, Target};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
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

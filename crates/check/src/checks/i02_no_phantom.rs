//! I2: nothing arrives that nobody sent, or that was refused.

use crate::history::{Index, Item, Message, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    for event in index.events {
        if let What::LogPage { by, group, messages, .. } = &event.what {
            for message in messages {
                if let Some(wrong) = judge(index, message, false) {
                    let text = format!(
                        "device {}/{} read message {} in the log of group {}: {wrong}",
                        by.account.0, by.device, message.message.0, group.0
                    );
                    findings.add(event.at, text);
                }
            }
        }
        let (What::Applied { by, place, item, .. } | What::Repeated { by, place, item, .. }) =
            &event.what
        else {
            continue;
        };
        let (Item::Message(message) | Item::Own(message)) = item else { continue };
        let own = matches!(item, Item::Own(_));
        if let Some(wrong) = judge(index, message, own) {
            let text = format!(
                "device {}/{} was given message {} at place {place}: {wrong}",
                by.account.0, by.device, message.message.0
            );
            findings.add(event.at, text);
        }
    }
}

fn judge(index: &Index<'_>, message: &Message, own: bool) -> Option<&'static str> {
    // A group itself says of some that they are out, whom nobody could be made a member.
    if message.from.device == 0 && message.conv_seq.is_some() {
        return None;
    }
    let Some(sending) = index.sends.get(&message.message) else {
        return Some("nobody sent it");
    };
    if sending.is_refused() {
        return Some("it was refused");
    }
    if !own && index.notices.contains_key(&message.message) {
        return Some("it was refused by its destination");
    }
    if sending.by != message.from || sending.to != message.to {
        return Some("it was sent by somebody else, or to somebody else");
    }
    (message.body != 0 && message.body != sending.body).then_some("its body is another one")
}

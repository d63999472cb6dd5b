//! I10: what was erased never comes back.

use crate::history::{Index, Item, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    for event in index.events {
        match &event.what {
            What::Applied { by, item: Item::Message(message) | Item::Own(message), .. }
            | What::Repeated { by, item: Item::Message(message) | Item::Own(message), .. } => {
                let erased = index.erased.get(&message.message);
                if message.body != 0 && erased.is_some_and(|erased| *erased < event.at) {
                    let text = format!(
                        "device {}/{} was given message {} after it was erased",
                        by.account.0, by.device, message.message.0
                    );
                    findings.add(event.at, text);
                }
            }
            What::Fetched { by, asked_at, messages } => {
                let back = messages.iter().find(|message| {
                    index.erased.get(message).is_some_and(|erased| erased < asked_at)
                });
                if let Some(message) = back {
                    let text = format!(
                        "device {}/{} fetched message {} after it was erased",
                        by.account.0, by.device, message.0
                    );
                    findings.add(event.at, text);
                }
            }
            _ => {}
        }
    }
}

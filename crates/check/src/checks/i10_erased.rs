//! I10: what was erased never comes back.
//!
//! Once a device of an account knows that a message is erased, no page of history that one of the
//! account's devices asks for later has it, and no device that is linked later is given it. Of a large
//! group: once a device was told of the place that erases a message, no page of the log has its body.

use crate::history::{Index, Item, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    for event in index.events {
        match &event.what {
            What::Applied { by, item: Item::Message(message) | Item::Own(message), .. } => {
                let erased = index.erased.get(&(by.account, message.message));
                let linked = index.devices.get(by).and_then(|log| log.linked);
                let later = erased.zip(linked).is_some_and(|(erased, (at, ..))| at > *erased);
                if message.body != 0 && later {
                    let text = format!(
                        "device {}/{} was given message {} after it was erased",
                        by.account.0, by.device, message.message.0
                    );
                    findings.add(event.at, text);
                }
            }
            What::Fetched { by, asked_at, messages, .. } => {
                let back = messages.iter().find(|message| {
                    let erased = index.erased.get(&(by.account, **message));
                    erased.is_some_and(|erased| erased < asked_at)
                });
                if let Some(message) = back {
                    let text = format!(
                        "device {}/{} fetched message {} after it was erased",
                        by.account.0, by.device, message.0
                    );
                    findings.add(event.at, text);
                }
            }
            What::BodyKept { group, message } => {
                let text = format!(
                    "the log of group {} has the body of message {}, which was erased",
                    group.0, message.0
                );
                findings.add(event.at, text);
            }
            What::LogPage { by, group, told, messages, .. } => {
                let back = messages.iter().find(|message| {
                    let erased = index.erased_at.get(&(*group, message.message));
                    message.body != 0 && erased.is_some_and(|at| at <= told)
                });
                if let Some(message) = back {
                    let text = format!(
                        "device {}/{} read message {} in the log of group {} after it was erased",
                        by.account.0, by.device, message.message.0, group.0
                    );
                    findings.add(event.at, text);
                }
            }
            _ => {}
        }
    }
}

//! I3: a message has one position, a position one message.

use crate::history::{Index, Item, Message, Target, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    for event in index.events {
        let (What::Applied { by, stream, place, item }
        | What::Repeated { by, stream, place, item }) = &event.what
        else {
            continue;
        };
        let known = index.inboxes.get(&(by.account, *stream)).and_then(|inbox| inbox.get(place));
        if known.is_some_and(|known| !is_same(known, item)) {
            let text = format!(
                "place {place} of account {} is one thing to one device and another to device {}",
                by.account.0, by.device
            );
            findings.add(event.at, text);
        }
    }
    one_message_at_a_place(index, findings);
    for (message, places) in &index.places {
        for (n, place) in places.iter().enumerate() {
            let twice =
                places[..n].iter().find(|p| p.account == place.account && p.own == place.own);
            if let Some(twice) = twice {
                let text = format!(
                    "message {} is at places {} and {} of account {}",
                    message.0, twice.place, place.place, place.account.0
                );
                findings.add(index.ends_at, text);
            }
        }
    }
}

/// Whoever has something of a group, in an inbox or from its log, has the same message at the same place.
fn one_message_at_a_place(index: &Index<'_>, findings: &mut Findings) {
    for event in index.events {
        let messages = match &event.what {
            What::Applied { item: Item::Message(message) | Item::Own(message), .. }
            | What::Repeated { item: Item::Message(message) | Item::Own(message), .. } => {
                std::slice::from_ref(message)
            }
            What::LogPage { messages, .. } => messages.as_slice(),
            _ => continue,
        };
        for message in messages {
            let (Target::Group(group), Some(place)) = (message.to, message.conv_seq) else {
                continue;
            };
            let known = index.orders.get(&group).and_then(|order| order.get(&place));
            if known.is_some_and(|known| !is_same_message(known, message)) {
                let text = format!("place {place} of group {} is not one message", group.0);
                findings.add(event.at, text);
            }
            if index.positions.get(&message.message) != Some(&(group, place)) {
                let text = format!(
                    "message {} has place {place} in group {}, and another one",
                    message.message.0, group.0
                );
                findings.add(event.at, text);
            }
        }
    }
}

/// Whether two devices were told the same; a hole says nothing, nor does a body that is left out.
fn is_same(one: &Item, other: &Item) -> bool {
    match (one, other) {
        (Item::Hole, _) | (_, Item::Hole) => true,
        (Item::Message(a), Item::Message(b)) | (Item::Own(a), Item::Own(b)) => {
            is_same_message(a, b)
        }
        (Item::Message(_) | Item::Own(_) | Item::Notice { .. }, _) => one == other,
    }
}

fn is_same_message(one: &Message, other: &Message) -> bool {
    let bare = |message: &Message| Message { body: 0, ..*message };
    bare(one) == bare(other) && (one.body == other.body || one.body == 0 || other.body == 0)
}

//! I3: a message has one position, a position one message.

use std::collections::BTreeMap;

use crate::history::{Index, Item, Message, What};

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
    let mut positions: BTreeMap<_, _> = BTreeMap::new();
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
            let Some(conv_seq) = place.message.conv_seq else { continue };
            let at = positions.entry((place.message.to, conv_seq)).or_insert(*message);
            if at != message {
                let text = format!(
                    "position {conv_seq} of {:?} is message {} to some and {} to others",
                    place.message.to, at.0, message.0
                );
                findings.add(index.ends_at, text);
            }
        }
        let mut numbers = places.iter().filter_map(|place| place.message.conv_seq);
        let first = numbers.next();
        if numbers.any(|number| Some(number) != first) {
            let text = format!("message {} has several numbers in its group", message.0);
            findings.add(index.ends_at, text);
        }
    }
}

/// Whether two devices were told the same; a hole says nothing, nor does a body that is left out.
fn is_same(one: &Item, other: &Item) -> bool {
    let bare = |message: &Message| Message { body: 0, ..*message };
    match (one, other) {
        (Item::Hole, _) | (_, Item::Hole) => true,
        (Item::Message(a), Item::Message(b)) | (Item::Own(a), Item::Own(b)) => {
            bare(a) == bare(b) && (a.body == b.body || a.body == 0 || b.body == 0)
        }
        (Item::Message(_) | Item::Own(_) | Item::Notice { .. } | Item::Member { .. }, _) => {
            one == other
        }
    }
}

//! Histories with planted violations: each checker must find its own.
//!
//! All of them are a good history with something changed, so that what is found is what was planted.

mod good;
mod groups;

use crate::checks::Invariant;
use crate::history::{
    AccountNo, Device, Event, GroupNo, Item, MessageNo, Outcome, SessionNo, Target, What,
};

pub use good::good;

use good::{ANN, ANN_PHONE, BEN, BEN_LAPTOP, BEN_PHONE, CAT_PHONE, FRIENDS, LANE, first_message};

/// A violation that was planted.
#[derive(Debug, Clone)]
pub struct Planted {
    /// What was done.
    pub what: &'static str,
    /// The invariant that it breaks.
    pub breaks: Invariant,
    /// The history.
    pub events: Vec<Event>,
}

/// A change of a good history.
type Change = fn(&mut Vec<Event>);

/// Every planted violation.
pub fn all() -> Vec<Planted> {
    let plant = |(breaks, what, change): &(Invariant, &'static str, Change)| {
        let mut events = good();
        change(&mut events);
        events.sort_by_key(|event| event.at);
        Planted { what, breaks: *breaks, events }
    };
    CHANGES.iter().chain(groups::CHANGES).map(plant).collect()
}

const CHANGES: &[(Invariant, &str, Change)] = &[
    (Invariant::I1, "an accepted message reaches nobody", |events| {
        send(events, 90_000, ANN_PHONE, 4, MessageNo(900), Target::Account(BEN));
        decide(events, 91_000, ANN_PHONE, 4, Outcome::Accepted);
    }),
    (Invariant::I1, "one of two devices passes over a message", |events| {
        events.retain(|event| !is_applied(event, BEN_LAPTOP, 1));
    }),
    (Invariant::I1, "a group's message misses one member", |events| {
        for event in events.iter_mut() {
            if let What::Applied { by: CAT_PHONE, item, .. } = &mut event.what
                && matches!(item, Item::Message(message) if message.conv_seq == Some(4))
            {
                *item = Item::Hole;
            }
        }
    }),
    (Invariant::I2, "a message that nobody sent", |events| {
        let mut message = first_message();
        message.message = MessageNo(901);
        extend_inbox(events, BEN_PHONE, Item::Message(message));
    }),
    (Invariant::I2, "a refused send arrives", |events| {
        send(events, 90_000, ANN_PHONE, 4, MessageNo(902), Target::Account(BEN));
        decide(events, 91_000, ANN_PHONE, 4, Outcome::Refused(4105));
        let mut message = first_message();
        message.message = MessageNo(902);
        extend_inbox(events, BEN_PHONE, Item::Message(message));
    }),
    (Invariant::I2, "a body that its sender did not write", |events| {
        for event in events.iter_mut() {
            if let What::Applied { by: BEN_PHONE, place: 1, item: Item::Message(message), .. } =
                &mut event.what
            {
                message.body += 1_000;
            }
        }
    }),
    (Invariant::I3, "a message has two places", |events| {
        extend_inbox(events, BEN_PHONE, Item::Message(first_message()));
    }),
    (Invariant::I3, "a place is two messages", |events| {
        for event in events.iter_mut() {
            if is_applied(event, BEN_LAPTOP, 1)
                && let What::Applied { item: Item::Message(message), .. } = &mut event.what
            {
                message.message = MessageNo(2);
            }
        }
    }),
    (Invariant::I3, "a group's position is two messages", |events| {
        for event in events.iter_mut() {
            if let What::Applied { by: CAT_PHONE, item: Item::Message(message), .. } =
                &mut event.what
                && message.conv_seq == Some(5)
            {
                message.conv_seq = Some(4);
            }
        }
    }),
    (Invariant::I4, "a device applies a place twice", |events| {
        let again = events.iter().find(|event| is_applied(event, BEN_PHONE, 1)).cloned();
        events.extend(again.map(|event| Event { at: 95_000, ..event }));
    }),
    (Invariant::I4, "a device is handed a place behind a gap", |events| {
        events.push(at(95_000, What::Gap { by: BEN_PHONE, expected: 9, found: 11 }));
    }),
    (Invariant::I4, "a device misses the end of its inbox", |events| {
        for event in events.iter_mut() {
            if let What::Drained { by: BEN_PHONE, head, .. } = &mut event.what {
                *head += 1;
            }
        }
    }),
    (Invariant::I5, "two messages of a device change places", |events| swap(events, BEN, 1, 2)),
    (Invariant::I5, "a reply has a clock below what it replies to", |events| {
        for event in events.iter_mut() {
            if let What::Applied { item: Item::Message(message) | Item::Own(message), .. } =
                &mut event.what
                && message.message == MessageNo(3)
            {
                message.clock = 1;
            }
        }
    }),
    (Invariant::I5, "a group's messages change places in one inbox", |events| {
        swap_messages(events, CAT_PHONE.account, MessageNo(5), MessageNo(6));
    }),
    (Invariant::I6, "a send is accepted, and later refused", |events| {
        decide(events, 95_000, ANN_PHONE, 1, Outcome::Refused(4101));
    }),
    (Invariant::I6, "a send is refused, and later accepted", |events| {
        send(events, 90_000, ANN_PHONE, 4, MessageNo(903), Target::Account(BEN));
        decide(events, 91_000, ANN_PHONE, 4, Outcome::Refused(4105));
        decide(events, 92_000, ANN_PHONE, 4, Outcome::Accepted);
    }),
    (Invariant::I7, "an epoch has two sessions", |events| {
        let session = SessionNo(7);
        events.push(at(3_000, What::Claimed { shard: 1, epoch: 1, session }));
    }),
    (Invariant::I7, "an epoch is claimed that was not free", |events| {
        let session = SessionNo(7);
        events.push(at(60_000, What::Claimed { shard: 1, epoch: 3, session }));
    }),
    (Invariant::I7, "blocks are released by a fence read after the fence", |events| {
        events.push(at(50_000, What::LetGo { lane: LANE, upto: 5, read_began: 46_000 }));
    }),
    (Invariant::I7, "a lane is sealed below what it released", |events| {
        events.push(at(43_000, What::LetGo { lane: LANE, upto: 9, read_began: 42_000 }));
    }),
    (Invariant::I8, "a lane ends at two places", |events| {
        events.push(at(50_000, What::Sealed { lane: LANE, end: 6 }));
    }),
    (Invariant::I8, "what lies below a seal changes", |events| {
        let hash = "another".to_owned();
        events.push(at(80_000, What::SealedRead { lane: LANE, hash }));
    }),
    (Invariant::I9, "a send waits three seconds while its shard moves", |events| {
        send(events, 70_000, ANN_PHONE, 4, MessageNo(904), Target::Account(BEN));
        events.push(at(70_000, What::MoveBegan { shard: 2 }));
        events.push(at(3_170_000, What::MoveEnded { shard: 2 }));
        decide(events, 3_160_000, ANN_PHONE, 4, Outcome::Accepted);
    }),
    (Invariant::I9, "most moves pause their shard for a second", |events| {
        for n in 0..5 {
            let began = 1_000_000 + n * 2_000_000;
            send(events, began, ANN_PHONE, 4 + n, MessageNo(910 + n), Target::Account(BEN));
            events.push(at(began, What::MoveBegan { shard: 2 }));
            decide(events, began + 1_000_000, ANN_PHONE, 4 + n, Outcome::Accepted);
            events.push(at(began + 1_000_000, What::MoveEnded { shard: 2 }));
        }
    }),
    (Invariant::I9, "a send is refused for good because of a move", |events| {
        send(events, 31_000, ANN_PHONE, 4, MessageNo(905), Target::Account(BEN));
        decide(events, 32_000, ANN_PHONE, 4, Outcome::Refused(5001));
    }),
    (Invariant::I1, "a page of history has a gap", |events| {
        let (by, asked_at, conversation) = (BEN_PHONE, 98_000, Target::Account(ANN));
        let (messages, whole_from) = (vec![MessageNo(3), MessageNo(1)], Some(1_000));
        events.push(at(99_000, What::Fetched { by, asked_at, conversation, whole_from, messages }));
    }),
    (Invariant::I10, "a new device is given an erased message", |events| {
        let (account, message) = (CAT_PHONE.account, MessageNo(6));
        events.push(at(5_000, What::Erased { account, message }));
        for event in events.iter_mut() {
            if matches!(event.what, What::Linked { device: CAT_PHONE, .. }) {
                event.at = 6_000;
            }
        }
    }),
    (Invariant::I10, "an erased message is in the history", |events| {
        events.push(at(90_000, What::Erased { account: BEN, message: MessageNo(1) }));
        let (by, asked_at, conversation) = (BEN_PHONE, 98_000, Target::Account(ANN));
        let (messages, whole_from) = (vec![MessageNo(2), MessageNo(1)], None);
        events.push(at(99_000, What::Fetched { by, asked_at, conversation, whole_from, messages }));
    }),
    (Invariant::I11, "somebody who left a group gets what is said later", |events| {
        let (by, group, conv_seq, account) = (ANN_PHONE, FRIENDS, 4, CAT_PHONE.account);
        events.push(at(30_000, What::Member { by, group, conv_seq, account, joined: false }));
    }),
    (Invariant::I11, "a message lies in somebody else's inbox", |events| {
        extend_inbox(events, CAT_PHONE, Item::Message(first_message()));
    }),
    (Invariant::I11, "somebody who is blocked is heard", |events| {
        let (account, whom, asked_at) = (BEN, ANN, 2_000);
        events.push(at(2_500, What::Blocks { account, whom, on: true, asked_at }));
    }),
    (Invariant::I12, "a receipt for what is on no device", |events| {
        events.push(at(2_000, What::Receipt { by: ANN_PHONE, of: BEN, delivered: 2_000, read: 0 }));
    }),
    (Invariant::I12, "a receipt for what nobody said to have read", |events| {
        let (delivered, read) = (2_000, 2_000);
        events.push(at(12_000, What::Receipt { by: ANN_PHONE, of: BEN, delivered, read }));
    }),
    (Invariant::I12, "a receipt goes back", |events| {
        let (delivered, read) = (1_000, 0);
        events.push(at(95_000, What::Receipt { by: ANN_PHONE, of: BEN, delivered, read }));
    }),
    (Invariant::I12, "what was read in private is told", |events| {
        let by = BEN_PHONE;
        let conversation = Target::Account(ANN);
        events.push(at(13_000, What::Read { by, conversation, clock: 3_000, private: true }));
        let (delivered, read) = (2_000, 3_000);
        events.push(at(25_000, What::Receipt { by: ANN_PHONE, of: BEN, delivered, read }));
    }),
    (Invariant::I13, "a send has no outcome long after all is whole", |events| {
        send(events, 85_000, ANN_PHONE, 4, MessageNo(906), Target::Account(BEN));
        events.push(at(200_000_000, What::End));
    }),
    (Invariant::I13, "a device does not reach the head", |events| {
        events.retain(|event| !matches!(event.what, What::Drained { by: CAT_PHONE, .. }));
        events.push(at(200_000_000, What::End));
    }),
    (Invariant::I13, "somebody is never ready again", |events| {
        for event in events.iter_mut() {
            if event.what == What::Ready {
                event.at = 10_000;
            }
        }
        events.push(at(200_000_000, What::End));
    }),
    (Invariant::I13, "a receipt never arrives", |events| {
        events.retain(|event| {
            !matches!(event.what, What::Receipt { by: ANN_PHONE, delivered: 2_000, .. })
        });
        events.push(at(200_000_000, What::End));
    }),
    (Invariant::I13, "a watcher is told that somebody is gone who is there", |events| {
        let (by, of) = (ANN_PHONE, BEN);
        events.push(at(90_000, What::Presence { by, of, online: false }));
        events.push(at(9_000_000, What::End));
    }),
    (Invariant::I14, "a shard has two desired owners", |events| {
        let owners = vec![SessionNo(1), SessionNo(2)];
        events.push(at(50_000, What::Desired { shard: 1, owners, declared: true }));
    }),
    (Invariant::I14, "a shard ends without an owner", |events| {
        events.push(at(99_000, What::Desired { shard: 1, owners: Vec::new(), declared: true }));
    }),
    (Invariant::I14, "a shard flaps", |events| {
        for n in 0..4 {
            let owners = vec![SessionNo(n % 2)];
            let what = What::Desired { shard: 1, owners, declared: false };
            events.push(at(50_000 + u64::from(n) * 1_000, what));
        }
    }),
    (Invariant::I15, "memory is above its bound", |events| {
        events.push(gauge(50_000, "memory of an owner, MB", 513.0, 512.0));
    }),
    (Invariant::I15, "a queue is above its bound", |events| {
        events.push(gauge(60_000, "entries of a lane", 9_000.0, 8_192.0));
    }),
    (Invariant::I16, "an act is not in the audit log", |events| {
        events.push(at(50_000, What::Audited { act: "erase account 9".to_owned() }));
    }),
    (Invariant::I16, "an entry of the audit log is gone", |events| {
        events.retain(|event| !matches!(event.what, What::AuditEntry { seq: 2, .. }));
    }),
    (Invariant::I16, "two entries of the audit log changed places", |events| {
        for event in events.iter_mut() {
            if let What::AuditEntry { seq, .. } = &mut event.what {
                *seq = match *seq {
                    2 => 3,
                    3 => 2,
                    other => other,
                };
            }
        }
    }),
    (Invariant::I16, "a byte of the audit log changed", |events| {
        for event in events.iter_mut() {
            if let What::AuditEntry { seq: 2, hash, .. } = &mut event.what {
                hash.replace_range(0..1, "z");
            }
        }
    }),
    (Invariant::I17, "a plaintext is in a log", |events| {
        events.push(at(99_000, What::CanaryFound { place: "an owner's log".to_owned() }));
    }),
    (Invariant::I17, "nothing was searched", |events| {
        let place = "the tables".to_owned();
        events.push(at(99_000, What::CanarySearched { place, bytes: 0 }));
    }),
    (Invariant::I18, "a send hangs", |events| {
        send(events, 90_000, ANN_PHONE, 4, MessageNo(907), Target::Account(BEN));
        decide(events, 2_190_000, ANN_PHONE, 4, Outcome::Accepted);
    }),
    (Invariant::I18, "a send that came again hangs", |events| {
        send(events, 90_000, ANN_PHONE, 4, MessageNo(908), Target::Account(BEN));
        let (by, number) = (ANN_PHONE, 4);
        events.push(at(95_000, What::PutOff { by, number, code: 5002 }));
        events.push(at(300_000, What::SendAgain { by, number }));
        events.push(at(4_000_000, What::End));
    }),
];

fn at(at: u64, what: What) -> Event {
    Event { at, what }
}

fn gauge(when: u64, name: &str, value: f64, max: f64) -> Event {
    at(when, What::Gauge { name: name.to_owned(), value, max })
}

fn send(
    events: &mut Vec<Event>,
    when: u64,
    by: Device,
    number: u64,
    message: MessageNo,
    to: Target,
) {
    let body = message.0;
    events.push(at(when, What::Send { by, number, message, to, body, expires_at: 0 }));
}

fn decide(events: &mut Vec<Event>, when: u64, by: Device, number: u64, outcome: Outcome) {
    events.push(at(when, What::Decided { by, number, outcome }));
}

fn is_applied(event: &Event, device: Device, wanted: u64) -> bool {
    matches!(&event.what, What::Applied { by, place, .. } if *by == device && *place == wanted)
}

/// Puts one more place at the end of a device's inbox.
fn extend_inbox(events: &mut Vec<Event>, device: Device, item: Item) {
    let mut head = 0;
    for event in events.iter_mut() {
        match &mut event.what {
            What::Applied { by, place, .. } if *by == device => head = head.max(*place),
            What::Drained { by, head, .. } if *by == device => *head += 1,
            _ => {}
        }
    }
    let what = What::Applied { by: device, stream: 1, place: head + 1, item };
    events.push(at(96_000, what));
}

/// Exchanges what is at two places of an account's inbox, for all of its devices.
fn swap(events: &mut [Event], account: AccountNo, one: u64, other: u64) {
    for event in events {
        if let What::Applied { by, place, .. } = &mut event.what
            && by.account == account
            && (*place == one || *place == other)
        {
            *place = one + other - *place;
        }
    }
    // Devices still write the lower place first.
}

/// Exchanges two messages in an account's inbox.
fn swap_messages(events: &mut [Event], account: AccountNo, one: MessageNo, other: MessageNo) {
    let mut items = Vec::new();
    for event in events.iter() {
        if let What::Applied { by, item: Item::Message(message), .. } = &event.what
            && by.account == account
            && (message.message == one || message.message == other)
        {
            items.push(Item::Message(*message));
        }
    }
    for event in events {
        if let What::Applied { by, item, .. } = &mut event.what
            && by.account == account
            && items.contains(item)
        {
            *item = items.iter().find(|i| *i != item).copied().unwrap_or(*item);
        }
    }
}

/// The group that an item is about, for tests that read histories.
pub fn group_of(item: &Item) -> Option<GroupNo> {
    match item {
        Item::Message(message) | Item::Own(message) => match message.to {
            Target::Group(group) => Some(group),
            Target::Account(_) => None,
        },
        Item::Notice { .. } | Item::Hole => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::checks::{Bounds, check};
    use crate::history::{Lane, read, write};

    #[test]
    fn a_good_history_is_good() {
        let verdict = check(&good(), &Bounds::default());
        assert!(verdict.is_good(), "{:#?}", verdict.violations);
    }

    #[test]
    fn every_planted_violation_is_found() {
        let mut missed = Vec::new();
        for planted in all() {
            let verdict = check(&planted.events, &Bounds::default());
            if !verdict.broken().contains(&planted.breaks) {
                missed.push((planted.breaks, planted.what, verdict.violations));
            }
        }
        assert!(missed.is_empty(), "{missed:#?}");
    }

    #[test]
    fn every_invariant_has_two() {
        let mut counts: BTreeMap<Invariant, usize> = BTreeMap::new();
        for planted in all() {
            *counts.entry(planted.breaks).or_default() += 1;
        }
        for invariant in Invariant::ALL {
            assert!(counts.get(&invariant).is_some_and(|count| *count >= 2), "{invariant}");
        }
    }

    #[test]
    fn a_history_survives_its_file() {
        let mut bytes = Vec::new();
        write(&mut bytes, &good()).unwrap();
        assert_eq!(read(&bytes[..]).unwrap(), good());
        let error = read(&b"{\"at\":1,\"event\":\"healed\"}\nnonsense\n"[..]).unwrap_err();
        assert!(error.to_string().starts_with("line 2"), "{error}");
    }

    #[test]
    fn a_run_without_traffic_is_not_good() {
        let verdict = check(&[at(0, What::Healed), at(1, What::End)], &Bounds::default());
        assert!(verdict.violations.is_empty());
        assert!(!verdict.is_good());
    }

    #[test]
    fn lanes_and_groups_have_numbers() {
        assert_eq!(LANE, Lane { session: SessionNo(1), lane: 0 });
        assert!(good().iter().any(|event| {
            matches!(&event.what, What::Applied { item, .. } if group_of(item) == Some(FRIENDS))
        }));
    }
}

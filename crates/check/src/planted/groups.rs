//! Violations of what is promised of groups.

use crate::checks::Invariant;
use crate::history::{AccountNo, Device, Event, Item, Message, MessageNo, Outcome, Target, What};

use super::good::{ANN, ANN_PHONE, BEN_PHONE, CAT, CAT_PHONE, CLUB, FRIENDS};
use super::{Change, at, decide, extend_inbox, send};

pub(super) const CHANGES: &[(Invariant, &str, Change)] = &[
    (Invariant::I1, "a group neither has a message nor refused it", |events| {
        send(events, 90_000, ANN_PHONE, 4, MessageNo(920), Target::Group(FRIENDS));
        decide(events, 91_000, ANN_PHONE, 4, Outcome::Accepted);
    }),
    (Invariant::I1, "what a large group took is in no log", |events| {
        for messages in pages(events, None) {
            messages.retain(|message| message.conv_seq != Some(3));
        }
    }),
    (Invariant::I1, "a log ends below what its reader was told", |events| {
        for messages in pages(events, Some(CAT_PHONE)) {
            messages.truncate(2);
        }
    }),
    (Invariant::I1, "who is put out of a group is not told", |events| {
        let (by, group, conv_seq, account) = (ANN_PHONE, FRIENDS, 6, CAT);
        events.push(at(30_000, What::Member { by, group, conv_seq, account, joined: false }));
        change_place(events, CAT, 6, |item| *item = Item::Hole);
    }),
    (Invariant::I2, "a log has what nobody sent", |events| {
        for messages in pages(events, Some(CAT_PHONE)) {
            messages[1].message = MessageNo(921);
        }
    }),
    (Invariant::I3, "two readers of a log have two messages at a place", |events| {
        for messages in pages(events, Some(CAT_PHONE)) {
            messages[1].message = messages[0].message;
        }
    }),
    (Invariant::I4, "a place of a group is missing in an inbox", |events| {
        let notice = Item::Notice { message: MessageNo(922), code: 4107 };
        change_place(events, CAT, 5, |item| *item = notice);
    }),
    (Invariant::I4, "a page of a log has a gap", |events| {
        for messages in pages(events, Some(CAT_PHONE)) {
            messages.remove(1);
        }
    }),
    (Invariant::I4, "a page of a log begins too late", |events| {
        for event in events.iter_mut() {
            if let What::LogPage { by: ANN_PHONE, behind, .. } = &mut event.what
                && *behind == 3
            {
                *behind = 2;
            }
        }
    }),
    (Invariant::I5, "the clocks of a group go back", |events| {
        for messages in pages(events, None) {
            for message in messages.iter_mut().filter(|message| message.conv_seq == Some(3)) {
                message.clock = 5;
            }
        }
    }),
    (Invariant::I5, "two messages of a device change places in a log", |events| {
        for event in events.iter_mut() {
            if let What::Send { message, to: Target::Group(CLUB), .. } = &mut event.what {
                message.0 = match message.0 {
                    32 => 33,
                    33 => 32,
                    other => other,
                };
            }
        }
    }),
    (Invariant::I10, "what was erased in a large group is in its log", |events| {
        for messages in pages(events, Some(CAT_PHONE)) {
            messages[0].body = messages[0].message.0;
        }
    }),
    (Invariant::I10, "what was erased in a group is still in a row", |events| {
        events.push(at(99_000, What::BodyKept { group: CLUB, message: MessageNo(32) }));
    }),
    (Invariant::I11, "somebody reads the log of a group that it left", |events| {
        let (by, group, conv_seq, account) = (ANN_PHONE, CLUB, 2, CAT);
        events.push(at(30_000, What::Member { by, group, conv_seq, account, joined: false }));
    }),
    (Invariant::I11, "somebody writes to a group who is no member", |events| {
        let (by, group, conv_seq, account) = (CAT_PHONE, FRIENDS, 3, ANN);
        events.push(at(30_000, What::Member { by, group, conv_seq, account, joined: false }));
    }),
    (Invariant::I11, "a member is refused as none", |events| {
        send(events, 90_000, ANN_PHONE, 4, MessageNo(923), Target::Group(FRIENDS));
        decide(events, 91_000, ANN_PHONE, 4, Outcome::Accepted);
        extend_inbox(events, ANN_PHONE, Item::Notice { message: MessageNo(923), code: 4101 });
    }),
    (Invariant::I11, "who is declined has something of the group", |events| {
        let group_itself = Device { account: ANN, device: 0 };
        let out = Message {
            message: MessageNo(1 << 62),
            from: group_itself,
            to: Target::Group(FRIENDS),
            clock: 30_000,
            conv_seq: Some(7),
            body: 0,
        };
        extend_inbox(events, ANN_PHONE, Item::Message(out));
        let (by, group, conv_seq, account) = (ANN_PHONE, FRIENDS, 7, CAT);
        events.push(at(96_000, What::Member { by, group, conv_seq, account, joined: false }));
    }),
    (Invariant::I13, "a device does not read a log to its head", |events| {
        events.retain(|event| !matches!(event.what, What::LogDrained { by: CAT_PHONE, .. }));
        events.push(at(200_000_000, What::End));
    }),
    (Invariant::I13, "who does not exist stays in a group", |events| {
        let (by, group, conv_seq, account) = (BEN_PHONE, FRIENDS, 3, AccountNo(9));
        events.push(at(16_000, What::Member { by, group, conv_seq, account, joined: true }));
        events.push(at(200_000_000, What::End));
    }),
];

/// What is on the pages of the large group's log that a device read, or any.
fn pages(events: &mut [Event], of: Option<Device>) -> impl Iterator<Item = &mut Vec<Message>> {
    events.iter_mut().filter_map(move |event| match &mut event.what {
        What::LogPage { by, messages, .. } if of.is_none_or(|of| of == *by) => Some(messages),
        _ => None,
    })
}

/// Changes what an account has at a place of the small group.
fn change_place(events: &mut [Event], of: AccountNo, wanted: u64, change: impl Fn(&mut Item)) {
    for event in events {
        if let What::Applied { by, item, .. } = &mut event.what
            && by.account == of
            && matches!(item, Item::Message(message)
                if message.to == Target::Group(FRIENDS) && message.conv_seq == Some(wanted))
        {
            change(item);
        }
    }
}

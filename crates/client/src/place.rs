//! What stands at one place of an inbox, parsed once.

use bytes::Bytes;
use iris_core::clock::Hlc;
use iris_core::id::{AccountId, DeviceId, DeviceNo, MsgId};
use iris_core::message::{About, Address};
use iris_core::seq::{ClientSeq, InboxSeq};
use iris_proto::FormatError;
use iris_proto::client::{self as wire, inbox_entry::Kind};
use iris_proto::client_frames::{
    ToldPlace, about_from_wire, about_to_wire, address_from_wire, address_to_wire,
    change_from_wire, change_to_wire, in_group_from_wire,
};

/// One place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub seq: InboxSeq,
    /// The server's clock when it took the message, wall-clock milliseconds.
    pub clock_ms: u64,
    /// What is there.
    pub content: Content,
}

/// What is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A message of somebody else, or to oneself; or any message with its place in a group, the
    /// account's own too.
    Incoming(Incoming),
    /// A message that this account sent, from whichever of its devices.
    Sent(Sent),
    /// A message of this account was refused by its destination, after it had been accepted.
    Notice(Notice),
    /// Erased, expired, or of no concern to this device.
    Hole,
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Who sent it.
    pub sender: DeviceId,
    /// The sender's name for it.
    pub msg_id: MsgId,
    /// The ciphertext.
    pub body: Bytes,
    /// Wall-clock milliseconds after which nobody needs it; 0 for never.
    pub expires_at_ms: u64,
    /// Orders the conversation.
    pub clock: Hlc,
    /// What it does to an earlier message, if it is not one of its own.
    pub about: Option<About>,
    /// Where it is in its group; nothing in a conversation of two.
    pub in_group: Option<Box<ToldPlace>>,
}

/// A message that was sent. To a group it has no body, and comes again as [`Incoming`] once the group
/// took it, or as a [`Notice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// By which device.
    pub device: DeviceNo,
    /// Under which number of that device.
    pub client_seq: ClientSeq,
    /// Its name.
    pub msg_id: MsgId,
    /// To whom.
    pub to: Address,
    /// The ciphertext; empty on the device that sent it, until the local store fills it in.
    pub body: Bytes,
    /// Wall-clock milliseconds after which nobody needs it; 0 for never.
    pub expires_at_ms: u64,
    /// Orders the conversation.
    pub clock: Hlc,
    /// What it does to an earlier message, if it is not one of its own.
    pub about: Option<About>,
}

/// A late refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// Of which message.
    pub msg_id: MsgId,
    /// Which device had sent it.
    pub device: DeviceNo,
    /// Under which number.
    pub client_seq: ClientSeq,
    /// Why.
    pub code: u32,
}

impl Place {
    /// From an entry of DELIVER. A kind that this version does not know is a hole: it keeps its number.
    ///
    /// # Errors
    /// When an identifier in it is none.
    pub fn from_wire(seq: InboxSeq, entry: wire::InboxEntry) -> Result<Self, FormatError> {
        let content = match entry.kind {
            Some(Kind::Incoming(incoming)) => Content::Incoming(incoming_from_wire(incoming)?),
            Some(Kind::Sent(sent)) => Content::Sent(sent_from_wire(sent)?),
            Some(Kind::Notice(notice)) => Content::Notice(Notice {
                msg_id: MsgId::from_bytes(&notice.msg_id)?,
                device: DeviceNo(notice.device),
                client_seq: ClientSeq(notice.client_seq),
                code: notice.code,
            }),
            Some(Kind::Hole(_)) | None => Content::Hole,
        };
        Ok(Self { seq, clock_ms: entry.clock_ms, content })
    }

    /// As an entry, for the local store.
    pub fn to_wire(&self) -> wire::InboxEntry {
        let kind = match &self.content {
            Content::Incoming(incoming) => Kind::Incoming(wire::Incoming {
                sender: bytes_of(incoming.sender.account.to_bytes()),
                sender_device: incoming.sender.device.0,
                msg_id: bytes_of(incoming.msg_id.0),
                body: incoming.body.clone(),
                expires_at_ms: incoming.expires_at_ms,
                clock: incoming.clock.0,
                about: incoming.about.as_ref().map(about_to_wire),
                in_group: incoming.in_group.as_deref().map(in_group_to_wire),
            }),
            Content::Sent(sent) => Kind::Sent(wire::Sent {
                device: sent.device.0,
                client_seq: sent.client_seq.0,
                msg_id: bytes_of(sent.msg_id.0),
                to: Some(address_to_wire(sent.to)),
                body: sent.body.clone(),
                clock: sent.clock.0,
                about: sent.about.as_ref().map(about_to_wire),
                expires_at_ms: sent.expires_at_ms,
            }),
            Content::Notice(notice) => Kind::Notice(wire::Notice {
                msg_id: bytes_of(notice.msg_id.0),
                device: notice.device.0,
                client_seq: notice.client_seq.0,
                code: notice.code,
            }),
            Content::Hole => Kind::Hole(wire::Hole {}),
        };
        wire::InboxEntry { clock_ms: self.clock_ms, kind: Some(kind) }
    }

    /// Roughly what it weighs in memory.
    pub fn weight(&self) -> usize {
        96 + match &self.content {
            Content::Incoming(incoming) => incoming.body.len(),
            Content::Sent(sent) => sent.body.len(),
            Content::Notice(_) | Content::Hole => 0,
        }
    }

    /// The other side of the conversation that it belongs to, or the group.
    pub fn peer(&self) -> Option<Address> {
        match &self.content {
            Content::Incoming(incoming) => Some(match &incoming.in_group {
                Some(at) => Address::Group(at.group),
                None => Address::Account(incoming.sender.account),
            }),
            Content::Sent(sent) => Some(sent.to),
            Content::Notice(_) | Content::Hole => None,
        }
    }

    /// Where it is in its group.
    pub fn in_group(&self) -> Option<&ToldPlace> {
        match &self.content {
            Content::Incoming(incoming) => incoming.in_group.as_deref(),
            Content::Sent(_) | Content::Notice(_) | Content::Hole => None,
        }
    }

    /// Whether it is a message of this account on its way to a group: it has no place there yet and
    /// comes again with one.
    pub fn is_on_its_way(&self) -> bool {
        match &self.content {
            Content::Sent(sent) => matches!(sent.to, Address::Group(_)),
            Content::Incoming(_) | Content::Notice(_) | Content::Hole => false,
        }
    }

    /// A message of a large group's log, which has no place in an inbox.
    ///
    /// # Errors
    /// When an identifier in it is none, or it has no place in a group.
    pub fn of_log(message: wire::Incoming) -> Result<Self, FormatError> {
        let incoming = incoming_from_wire(message)?;
        if incoming.in_group.is_none() {
            return Err(FormatError::Missing("in_group"));
        }
        let clock_ms = incoming.clock.wall().0;
        Ok(Self { seq: InboxSeq(0), clock_ms, content: Content::Incoming(incoming) })
    }

    /// The name of the message and who wrote it, `own` being this account.
    pub(crate) fn message(&self, own: AccountId) -> Option<(AccountId, MsgId)> {
        match &self.content {
            Content::Incoming(incoming) => Some((incoming.sender.account, incoming.msg_id)),
            Content::Sent(sent) => Some((own, sent.msg_id)),
            Content::Notice(_) | Content::Hole => None,
        }
    }

    /// What it does to an earlier message.
    pub fn about(&self) -> Option<&About> {
        match &self.content {
            Content::Incoming(incoming) => incoming.about.as_ref(),
            Content::Sent(sent) => sent.about.as_ref(),
            Content::Notice(_) | Content::Hole => None,
        }
    }

    /// Whether nobody needs it any more.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        let at = match &self.content {
            Content::Incoming(incoming) => incoming.expires_at_ms,
            Content::Sent(sent) => sent.expires_at_ms,
            Content::Notice(_) | Content::Hole => 0,
        };
        at > 0 && at <= now_ms
    }
}

fn incoming_from_wire(incoming: wire::Incoming) -> Result<Incoming, FormatError> {
    Ok(Incoming {
        sender: DeviceId {
            account: AccountId::from_bytes(&incoming.sender)?,
            device: DeviceNo(incoming.sender_device),
        },
        msg_id: MsgId::from_bytes(&incoming.msg_id)?,
        body: incoming.body,
        expires_at_ms: incoming.expires_at_ms,
        clock: Hlc(incoming.clock),
        about: known_act(incoming.about),
        in_group: incoming.in_group.map(told_place).transpose()?.map(Box::new),
    })
}

/// A change that this version does not know leaves a message at its place.
fn told_place(mut wire: wire::InGroup) -> Result<ToldPlace, FormatError> {
    let change = wire.change.take().and_then(|change| change_from_wire(change).ok());
    Ok(ToldPlace { change, ..in_group_from_wire(wire)? })
}

fn in_group_to_wire(at: &ToldPlace) -> wire::InGroup {
    wire::InGroup {
        group: bytes_of(at.group.to_bytes()),
        place: at.place.0,
        change: at.change.as_ref().map(change_to_wire),
        pull: at.pulls,
    }
}

fn sent_from_wire(sent: wire::Sent) -> Result<Sent, FormatError> {
    Ok(Sent {
        device: DeviceNo(sent.device),
        client_seq: ClientSeq(sent.client_seq),
        msg_id: MsgId::from_bytes(&sent.msg_id)?,
        to: address_from_wire(sent.to.ok_or(FormatError::Missing("to"))?)?,
        body: sent.body,
        expires_at_ms: sent.expires_at_ms,
        clock: Hlc(sent.clock),
        about: known_act(sent.about),
    })
}

/// An act that this version does not know leaves a message of its own: its body is not lost.
fn known_act(about: Option<wire::About>) -> Option<About> {
    about.and_then(|about| about_from_wire(about).ok())
}

pub(crate) fn bytes_of<const N: usize>(bytes: [u8; N]) -> Bytes {
    Bytes::copy_from_slice(&bytes)
}

#[cfg(test)]
mod tests {
    use iris_core::group::Change;
    use iris_core::id::GroupId;
    use iris_core::message::Act;
    use iris_core::seq::ConvSeq;

    use super::*;

    fn account(n: u8) -> AccountId {
        AccountId::from_bytes(&[n; 16]).unwrap()
    }

    #[test]
    fn places_come_back_from_the_wire() {
        let incoming = Content::Incoming(Incoming {
            sender: DeviceId { account: account(1), device: DeviceNo(2) },
            msg_id: MsgId([3; 16]),
            body: Bytes::from_static(b"body"),
            expires_at_ms: 4,
            clock: Hlc(5),
            about: Some(About {
                act: Act::React,
                author: account(9),
                msg_id: MsgId([4; 16]),
                clock: Hlc(3),
                place: ConvSeq(0),
            }),
            in_group: None,
        });
        let Content::Incoming(plain) = incoming.clone() else { panic!() };
        let in_group = Content::Incoming(Incoming {
            in_group: Some(Box::new(ToldPlace {
                group: GroupId::from_bytes(&[8; 16]).unwrap(),
                place: ConvSeq(12),
                change: Some(Change::Add(vec![account(3)])),
                pulls: true,
            })),
            ..plain
        });
        let sent = Content::Sent(Sent {
            device: DeviceNo(6),
            client_seq: ClientSeq(7),
            msg_id: MsgId([8; 16]),
            to: Address::Account(account(9)),
            body: Bytes::new(),
            expires_at_ms: 13,
            clock: Hlc(10),
            about: None,
        });
        let notice = Content::Notice(Notice {
            msg_id: MsgId([1; 16]),
            device: DeviceNo(1),
            client_seq: ClientSeq(2),
            code: 4106,
        });
        for content in [incoming, in_group, sent, notice, Content::Hole] {
            let place = Place { seq: InboxSeq(11), clock_ms: 12, content };
            assert_eq!(Place::from_wire(InboxSeq(11), place.to_wire()), Ok(place));
        }
        let unknown = wire::InboxEntry { clock_ms: 1, kind: None };
        assert_eq!(Place::from_wire(InboxSeq(1), unknown).unwrap().content, Content::Hole);
    }

    #[test]
    fn a_change_of_a_later_version_leaves_a_message_at_its_place() {
        let unknown = wire::InGroup {
            group: vec![8; 16].into(),
            place: 3,
            change: Some(wire::GroupChange { kind: None }),
            pull: false,
        };
        let told = told_place(unknown.clone()).unwrap();
        assert_eq!((told.place, told.change), (ConvSeq(3), None));
        assert!(told_place(wire::InGroup { place: 0, ..unknown }).is_err());
    }
}

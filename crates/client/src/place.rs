//! What stands at one place of an inbox, parsed once.

use bytes::Bytes;
use iris_core::clock::Hlc;
use iris_core::id::{AccountId, DeviceId, DeviceNo, MsgId};
use iris_core::message::{About, Address};
use iris_core::seq::{ClientSeq, InboxSeq};
use iris_proto::FormatError;
use iris_proto::client::{self as wire, inbox_entry::Kind};
use iris_proto::client_frames::{
    about_from_wire, about_to_wire, address_from_wire, address_to_wire,
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
    /// A message of somebody else, or to oneself.
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
}

/// A message that was sent.
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

    /// The other side of the conversation that it belongs to.
    pub fn peer(&self) -> Option<Address> {
        match &self.content {
            Content::Incoming(incoming) => Some(Address::Account(incoming.sender.account)),
            Content::Sent(sent) => Some(sent.to),
            Content::Notice(_) | Content::Hole => None,
        }
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
    })
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
    use iris_core::message::Act;

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
            }),
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
        for content in [incoming, sent, notice, Content::Hole] {
            let place = Place { seq: InboxSeq(11), clock_ms: 12, content };
            assert_eq!(Place::from_wire(InboxSeq(11), place.to_wire()), Ok(place));
        }
        let unknown = wire::InboxEntry { clock_ms: 1, kind: None };
        assert_eq!(Place::from_wire(InboxSeq(1), unknown).unwrap().content, Content::Hole);
    }
}

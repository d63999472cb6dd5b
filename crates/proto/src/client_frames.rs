//! Payloads of the client protocol, to and from the core's types, with every bound checked.

use bytes::Bytes;
use iris_core::account::{InboxContent, InboxItem};
use iris_core::clock::Hlc;
use iris_core::code::Verdict;
use iris_core::id::{AccountId, DeviceNo, GroupId, MsgId};
use iris_core::limits;
use iris_core::message::{About, Act, Address, Bodies, Message};
use iris_core::seq::{ClientSeq, ConvSeq, InboxSeq};
use iris_core::shard::{Fetch, HistoryPoint, LogFetch, Send};

use crate::{FormatError, client};

pub use groups::{
    ToldPlace, change_from_wire, change_to_wire, head_from_wire, head_to_wire, in_group_from_wire,
    list_members_from_wire, log_page_to_wire, memberships_from_wire, memberships_to_wire,
    roster_from_wire, roster_to_wire, settings_from_wire, settings_to_wire,
};
pub use signals::{
    FromClient, marks_from_wire, presence_to_wire, receipt_from_wire, receipt_to_wire,
    signal_from_wire, subscribe_from_wire, typing_to_wire,
};
pub use wishes::{wish_from_wire, wish_to_wire, wishes_from_wire, wishes_to_wire};

mod groups;
mod signals;
#[cfg(test)]
mod tests;
mod wishes;

/// A SEND as the shard takes it. Sizes of bodies are the shard's to judge: its refusal is a decision.
pub fn send_from_wire(wire: client::Send) -> Result<Send, FormatError> {
    if wire.client_seq == 0 {
        return Err(FormatError::OutOfBounds("client_seq"));
    }
    if wire.device_bodies.len() > limits::DEVICES_MAX {
        return Err(FormatError::OutOfBounds("device_bodies"));
    }
    let bodies = if wire.device_bodies.is_empty() {
        Bodies::Shared(wire.body)
    } else if wire.body.is_empty() {
        let bodies = wire.device_bodies.into_iter();
        Bodies::PerDevice(bodies.map(|b| (DeviceNo(b.device), b.body)).collect())
    } else {
        return Err(FormatError::OutOfBounds("body beside device_bodies"));
    };
    let to = address_from_wire(wire.to.ok_or(FormatError::Missing("to"))?)?;
    let change = wire.change.map(change_from_wire).transpose()?;
    if change.is_some() && matches!(to, Address::Account(_)) {
        return Err(FormatError::OutOfBounds("change"));
    }
    Ok(Send {
        client_seq: ClientSeq(wire.client_seq),
        msg_id: MsgId::from_bytes(&wire.msg_id)?,
        to,
        bodies,
        expires_at_ms: wire.expires_at_ms,
        about: wire.about.map(about_from_wire).transpose()?,
        change,
        roster: ConvSeq(wire.roster_version),
    })
}

/// What a message does to an earlier one.
pub fn about_from_wire(wire: client::About) -> Result<About, FormatError> {
    let act = match wire.act() {
        client::about::Act::Edit => Act::Edit,
        client::about::Act::Delete => Act::Delete,
        client::about::Act::React => Act::React,
        client::about::Act::Unspecified => return Err(FormatError::OutOfBounds("act")),
    };
    Ok(About {
        act,
        author: AccountId::from_bytes(&wire.author)?,
        msg_id: MsgId::from_bytes(&wire.msg_id)?,
        clock: clock_from_wire(wire.clock)?,
        place: groups::place_from_wire(wire.place)?,
    })
}

/// A clock that a client names: one that the store's signed numbers can hold, as all of ours are.
fn clock_from_wire(clock: u64) -> Result<Hlc, FormatError> {
    i64::try_from(clock).map(|_| Hlc(clock)).map_err(|_| FormatError::OutOfBounds("clock"))
}

/// What a message does to an earlier one.
pub fn about_to_wire(about: &About) -> client::About {
    let act = match about.act {
        Act::Edit => client::about::Act::Edit,
        Act::Delete => client::about::Act::Delete,
        Act::React => client::about::Act::React,
    };
    client::About {
        act: act.into(),
        author: bytes_of(about.author.to_bytes()),
        msg_id: bytes_of(about.msg_id.0),
        clock: about.clock.0,
        place: about.place.0,
    }
}

/// A place in the order of a conversation.
pub fn point_from_wire(wire: client::HistoryPoint) -> Result<HistoryPoint, FormatError> {
    let place = i64::try_from(wire.inbox_seq).map(|_| InboxSeq(wire.inbox_seq));
    let place = place.map_err(|_| FormatError::OutOfBounds("inbox_seq"))?;
    Ok(HistoryPoint { clock: clock_from_wire(wire.clock)?, place })
}

/// A place in the order of a conversation.
pub fn point_to_wire(point: HistoryPoint) -> client::HistoryPoint {
    client::HistoryPoint { clock: point.clock.0, inbox_seq: point.place.0 }
}

/// Which page a FETCH wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOf {
    /// Of the history that an inbox holds.
    History(Fetch),
    /// Of a large group's log.
    Log(LogFetch),
}

/// Which page a FETCH wants. How long it may be is the shard's to bound.
pub fn fetch_from_wire(wire: client::Fetch) -> Result<PageOf, FormatError> {
    let conversation = wire.conversation.ok_or(FormatError::Missing("conversation"))?;
    let conversation = address_from_wire(conversation)?;
    let before = wire.before.map(point_from_wire).transpose()?;
    let limit = wire.limit;
    match (wire.behind, conversation) {
        (None, _) => Ok(PageOf::History(Fetch { conversation, before, limit })),
        (Some(behind), Address::Group(group)) if before.is_none() => {
            let after = groups::place_from_wire(behind)?;
            Ok(PageOf::Log(LogFetch { group, after, upto: None, limit }))
        }
        (Some(_), Address::Account(_) | Address::Group(_)) => {
            Err(FormatError::OutOfBounds("behind"))
        }
    }
}

/// An address.
pub fn address_from_wire(wire: client::Address) -> Result<Address, FormatError> {
    match wire.kind.ok_or(FormatError::Missing("address"))? {
        client::address::Kind::Account(bytes) => {
            Ok(Address::Account(AccountId::from_bytes(&bytes)?))
        }
        client::address::Kind::Group(bytes) => Ok(Address::Group(GroupId::from_bytes(&bytes)?)),
    }
}

/// An address.
pub fn address_to_wire(address: Address) -> client::Address {
    let kind = match address {
        Address::Account(account) => client::address::Kind::Account(bytes_of(account.to_bytes())),
        Address::Group(group) => client::address::Kind::Group(bytes_of(group.to_bytes())),
    };
    client::Address { kind: Some(kind) }
}

/// Contiguous places of an inbox as `device` of `account` gets them: its own bodies only.
pub fn deliver_to_wire(
    account: AccountId,
    device: DeviceNo,
    items: &[InboxItem],
) -> client::Deliver {
    client::Deliver {
        first_inbox_seq: items.first().map_or(0, |item| item.seq.0),
        entries: items.iter().map(|item| entry_to_wire(account, device, item)).collect(),
    }
}

/// A page of history as `device` of `account` gets it.
pub fn page_to_wire(
    account: AccountId,
    device: DeviceNo,
    items: &[InboxItem],
    next: Option<HistoryPoint>,
) -> client::Page {
    let entry = |item: &InboxItem| client::PageEntry {
        inbox_seq: item.seq.0,
        entry: Some(entry_to_wire(account, device, item)),
    };
    client::Page { entries: items.iter().map(entry).collect(), next: next.map(point_to_wire) }
}

fn entry_to_wire(account: AccountId, device: DeviceNo, item: &InboxItem) -> client::InboxEntry {
    use client::inbox_entry::Kind;
    let kind = match &item.content {
        // Its place is everybody's, also where it has no body for this device.
        InboxContent::Message(message) if message.place().is_some() => {
            let body = message.bodies.of_device(device).cloned().unwrap_or_default();
            Kind::Incoming(incoming_to_wire((account, device), message, body))
        }
        InboxContent::Message(message) if message.sender == account && is_own(item, account) => {
            let sent_here = message.sender_device == device;
            // Bodies for single devices are for those of the other side, and what goes to a group comes
            // back from it.
            let body = match (&message.bodies, message.to) {
                (Bodies::Shared(body), Address::Account(_)) if !sent_here => Some(body.clone()),
                (Bodies::Shared(_) | Bodies::PerDevice(_), _) => None,
            };
            Kind::Sent(client::Sent {
                device: message.sender_device.0,
                client_seq: message.client_seq.0,
                msg_id: bytes_of(message.msg_id.0),
                to: Some(address_to_wire(message.to)),
                body: body.unwrap_or_default(),
                clock: message.clock.0,
                about: message.about.as_ref().map(about_to_wire),
                expires_at_ms: message.expires_at_ms,
            })
        }
        InboxContent::Message(message) => match message.bodies.of_device(device) {
            Some(body) => {
                Kind::Incoming(incoming_to_wire((account, device), message, body.clone()))
            }
            None => Kind::Hole(client::Hole {}),
        },
        InboxContent::Notice(notice) => Kind::Notice(client::Notice {
            msg_id: bytes_of(notice.msg_id.0),
            device: notice.device.0,
            client_seq: notice.client_seq.0,
            code: notice.code.number().into(),
        }),
        InboxContent::Hole => Kind::Hole(client::Hole {}),
    };
    client::InboxEntry { clock_ms: item.clock.wall().0, kind: Some(kind) }
}

/// A message as `device` of `account` gets it. The device that sent it to a group has the body.
fn incoming_to_wire(
    (account, device): (AccountId, DeviceNo),
    message: &Message,
    body: Bytes,
) -> client::Incoming {
    let sent_here = message.sender == account && message.sender_device == device;
    let has_body = sent_here && message.place().is_some();
    client::Incoming {
        sender: bytes_of(message.sender.to_bytes()),
        sender_device: message.sender_device.0,
        msg_id: bytes_of(message.msg_id.0),
        body: if has_body { Bytes::new() } else { body },
        expires_at_ms: message.expires_at_ms,
        clock: message.clock.0,
        about: message.about.as_ref().map(about_to_wire),
        in_group: groups::in_group_to_wire(message),
    }
}

/// The sender's copy, rather than what a message to oneself brings.
fn is_own(item: &InboxItem, account: AccountId) -> bool {
    match &item.content {
        // The copy is taken at the message's own clock, a received one after it.
        InboxContent::Message(message) => {
            message.to != Address::Account(account) || item.clock == message.clock
        }
        InboxContent::Notice(_) | InboxContent::Hole => false,
    }
}

/// A verdict.
pub fn verdict_to_wire(verdict: Verdict) -> client::Verdict {
    match verdict {
        Verdict::Reconnect => client::Verdict::Reconnect,
        Verdict::ReconnectElsewhere => client::Verdict::ReconnectElsewhere,
        Verdict::RefreshToken => client::Verdict::RefreshToken,
        Verdict::Upgrade => client::Verdict::Upgrade,
        Verdict::Snapshot => client::Verdict::Snapshot,
        Verdict::StayAway => client::Verdict::StayAway,
        Verdict::Fatal => client::Verdict::Fatal,
    }
}

/// A verdict; one that this program does not know counts as the mildest.
pub fn verdict_from_wire(verdict: client::Verdict) -> Verdict {
    match verdict {
        client::Verdict::Unspecified | client::Verdict::Reconnect => Verdict::Reconnect,
        client::Verdict::ReconnectElsewhere => Verdict::ReconnectElsewhere,
        client::Verdict::RefreshToken => Verdict::RefreshToken,
        client::Verdict::Upgrade => Verdict::Upgrade,
        client::Verdict::Snapshot => Verdict::Snapshot,
        client::Verdict::StayAway => Verdict::StayAway,
        client::Verdict::Fatal => Verdict::Fatal,
    }
}

fn bytes_of<const N: usize>(bytes: [u8; N]) -> Bytes {
    Bytes::copy_from_slice(&bytes)
}

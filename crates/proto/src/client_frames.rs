//! Payloads of the client protocol, to and from the core's types, with every bound checked.

use bytes::Bytes;
use iris_core::account::{InboxContent, InboxItem};
use iris_core::code::Verdict;
use iris_core::id::{AccountId, DeviceNo, GroupId, MsgId};
use iris_core::limits;
use iris_core::message::{Address, Bodies};
use iris_core::seq::ClientSeq;
use iris_core::shard::Send;

use crate::{FormatError, client};

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
    Ok(Send {
        client_seq: ClientSeq(wire.client_seq),
        msg_id: MsgId::from_bytes(&wire.msg_id)?,
        to: address_from_wire(wire.to.ok_or(FormatError::Missing("to"))?)?,
        bodies,
        expires_at_ms: wire.expires_at_ms,
    })
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

fn entry_to_wire(account: AccountId, device: DeviceNo, item: &InboxItem) -> client::InboxEntry {
    use client::inbox_entry::Kind;
    let kind = match &item.content {
        InboxContent::Message(message) if message.sender == account && is_own(item, account) => {
            let sent_here = message.sender_device == device;
            let body = if sent_here { None } else { message.bodies.of_device(device).cloned() };
            Kind::Sent(client::Sent {
                device: message.sender_device.0,
                client_seq: message.client_seq.0,
                msg_id: bytes_of(message.msg_id.0),
                to: Some(address_to_wire(message.to)),
                body: body.unwrap_or_default(),
                clock: message.clock.0,
            })
        }
        InboxContent::Message(message) => match message.bodies.of_device(device) {
            Some(body) => Kind::Incoming(client::Incoming {
                sender: bytes_of(message.sender.to_bytes()),
                sender_device: message.sender_device.0,
                msg_id: bytes_of(message.msg_id.0),
                body: body.clone(),
                expires_at_ms: message.expires_at_ms,
                clock: message.clock.0,
            }),
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

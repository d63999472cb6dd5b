//! What is not a message: signals, receipts, subscriptions.

use iris_core::clock::{Hlc, WallMs};
use iris_core::id::AccountId;
use iris_core::limits;
use iris_core::mark::Mark;
use iris_core::message::Address;
use iris_core::signal::{Presence, Typing};

use super::{address_from_wire, address_to_wire, bytes_of};
use crate::{FormatError, client};

/// A SIGNAL of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromClient {
    /// Its person writes something to somebody, or stops.
    Types(Address, u32),
    /// Its person looks away, or at it.
    Away(bool),
}

/// A SIGNAL of a client; nothing for one that this program does not know: it is worth nothing later.
pub fn signal_from_wire(wire: client::Signal) -> Result<Option<FromClient>, FormatError> {
    use client::signal::Kind;
    Ok(match wire.kind {
        Some(Kind::Typing(typing)) => {
            let to = address_from_wire(typing.to.ok_or(FormatError::Missing("to"))?)?;
            Some(FromClient::Types(to, typing.kind))
        }
        Some(Kind::Away(away)) => Some(FromClient::Away(away.away)),
        Some(Kind::Presence(_) | Kind::OwnerChanged(_) | Kind::Head(_)) | None => None,
    })
}

/// Somebody writes something, as a client of theirs is told.
pub fn typing_to_wire(typing: Typing) -> client::Signal {
    let typing = client::Typing {
        to: Some(address_to_wire(typing.to)),
        from: bytes_of(typing.from.to_bytes()),
        device: typing.device.0,
        kind: typing.kind,
    };
    client::Signal { kind: Some(client::signal::Kind::Typing(typing)) }
}

/// Whether somebody is there, as a client is told.
pub fn presence_to_wire(of: AccountId, presence: Presence) -> client::Signal {
    let (state, last_seen) = match presence {
        Presence::Online => (client::presence::State::Online, WallMs(0)),
        Presence::Offline(at) => (client::presence::State::Offline, at),
        Presence::Hidden => (client::presence::State::Hidden, WallMs(0)),
    };
    let presence = client::Presence {
        account: bytes_of(of.to_bytes()),
        state: state.into(),
        last_seen_ms: last_seen.0,
    };
    client::Signal { kind: Some(client::signal::Kind::Presence(presence)) }
}

/// A RECEIPT of a client: conversations, up to where they were read, and whether in private.
pub fn receipt_from_wire(wire: client::Receipt) -> Result<Vec<(Address, Hlc, bool)>, FormatError> {
    if wire.marks.len() > limits::MARKS_MAX {
        return Err(FormatError::OutOfBounds("marks"));
    }
    let read = |mark: client::Mark| {
        let conversation = mark.conversation.ok_or(FormatError::Missing("conversation"))?;
        Ok((address_from_wire(conversation)?, Hlc(mark.own_read), mark.private))
    };
    wire.marks.into_iter().map(read).collect()
}

/// Marks, as a client is told.
pub fn receipt_to_wire(marks: &[(AccountId, Mark)], version: Option<u64>) -> client::Receipt {
    let mark = |(with, mark): &(AccountId, Mark)| client::Mark {
        conversation: Some(address_to_wire(Address::Account(*with))),
        own_read: mark.own_read.0,
        delivered: mark.delivered.0,
        read: mark.read.0,
        private: false,
    };
    client::Receipt {
        marks: marks.iter().map(mark).collect(),
        version: version.unwrap_or_default(),
    }
}

/// Marks, as a client is told; those of groups are of another kind.
pub fn marks_from_wire(wire: client::Receipt) -> Result<Vec<(AccountId, Mark)>, FormatError> {
    let version = wire.version;
    let mut marks = Vec::with_capacity(wire.marks.len());
    for mark in wire.marks {
        let with = mark.conversation.ok_or(FormatError::Missing("conversation"))?;
        let Address::Account(with) = address_from_wire(with)? else { continue };
        let (own_read, delivered) = (Hlc(mark.own_read), Hlc(mark.delivered));
        marks.push((with, Mark { own_read, delivered, read: Hlc(mark.read), version }));
    }
    Ok(marks)
}

/// The accounts of a SUBSCRIBE or UNSUBSCRIBE.
pub fn subscribe_from_wire(wire: client::Subscribe) -> Result<Vec<AccountId>, FormatError> {
    if wire.accounts.len() > limits::WATCHED_MAX {
        return Err(FormatError::OutOfBounds("accounts"));
    }
    let accounts = wire.accounts.iter().map(|bytes| Ok(AccountId::from_bytes(bytes)?));
    accounts.collect()
}

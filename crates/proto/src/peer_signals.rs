//! Signals between shards, as pods send them to each other.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use iris_core::clock::WallMs;
use iris_core::id::{AccountId, DeviceNo, GroupId, ShardId};
use iris_core::limits;
use iris_core::message::Address;
use iris_core::seq::{ConvSeq, OutboxSeq};
use iris_core::signal::{Presence, Signal, Typing};

use crate::stored_groups::group_bytes;
use crate::{FormatError, peer, stored};

/// A signal to a shard.
pub fn signal_to_peer(to: ShardId, signal: &Signal) -> peer::SignalItem {
    use peer::signal_item::Kind;
    let kind = match signal {
        Signal::Typing(typing) => Kind::Typing(typing_to_peer(*typing)),
        Signal::Watch { by, of, on } => {
            Kind::Watch(peer::Watch { by: bytes_of(*by), of: bytes_of(*of), on: *on })
        }
        Signal::Presence { of, to, presence } => {
            let (state, last_seen) = match presence {
                Presence::Online => (peer::presence::State::Online, WallMs(0)),
                Presence::Offline(at) => (peer::presence::State::Offline, *at),
                Presence::Hidden => (peer::presence::State::Hidden, WallMs(0)),
            };
            Kind::Presence(peer::Presence {
                of: bytes_of(*of),
                to: to.iter().copied().map(bytes_of).collect(),
                state: state.into(),
                last_seen_ms: last_seen.0,
            })
        }
        Signal::TypingInGroup { typing, to } => Kind::TypingInGroup(peer::TypingInGroup {
            typing: Some(typing_to_peer(*typing)),
            to: to.iter().copied().map(bytes_of).collect(),
        }),
        Signal::WatchGroup { by, group, on } => Kind::WatchGroup(peer::WatchGroup {
            by_shard: (*by).into(),
            group: group_bytes(*group),
            on: *on,
        }),
        // The shard that is told is the one that the item goes to.
        Signal::Head { group, to: _, head, items } => Kind::GroupHead(peer::GroupHead {
            group: group_bytes(*group),
            head: head.0,
            items_below: items.0,
        }),
    };
    peer::SignalItem { to_shard: to.into(), kind: Some(kind) }
}

/// A signal to a shard; nothing for one that this program does not know.
pub fn signal_from_peer(item: peer::SignalItem) -> Result<Option<(ShardId, Signal)>, FormatError> {
    use peer::signal_item::Kind;
    let shard_to = shard(item.to_shard)?;
    let signal = match item.kind {
        Some(Kind::Typing(typing)) => Signal::Typing(typing_from_peer(typing)?),
        Some(Kind::Watch(watch)) => Signal::Watch {
            by: AccountId::from_bytes(&watch.by)?,
            of: AccountId::from_bytes(&watch.of)?,
            on: watch.on,
        },
        Some(Kind::Presence(presence)) => {
            let state = match presence.state() {
                peer::presence::State::Online => Presence::Online,
                peer::presence::State::Offline => Presence::Offline(WallMs(presence.last_seen_ms)),
                peer::presence::State::Hidden | peer::presence::State::Unspecified => {
                    Presence::Hidden
                }
            };
            if presence.to.len() > limits::WATCHERS_MAX {
                return Err(FormatError::OutOfBounds("watchers"));
            }
            let to = presence.to.iter().map(|bytes| AccountId::from_bytes(bytes));
            Signal::Presence {
                of: AccountId::from_bytes(&presence.of)?,
                to: to.collect::<Result<_, _>>()?,
                presence: state,
            }
        }
        Some(Kind::TypingInGroup(told)) => {
            if told.to.len() > limits::TYPING_MEMBERS_MAX {
                return Err(FormatError::OutOfBounds("members"));
            }
            let to = told.to.iter().map(|bytes| AccountId::from_bytes(bytes));
            Signal::TypingInGroup {
                typing: typing_from_peer(told.typing.ok_or(FormatError::Missing("typing"))?)?,
                to: to.collect::<Result<_, _>>()?,
            }
        }
        Some(Kind::WatchGroup(watch)) => Signal::WatchGroup {
            by: shard(watch.by_shard)?,
            group: GroupId::from_bytes(&watch.group)?,
            on: watch.on,
        },
        Some(Kind::GroupHead(told)) => Signal::Head {
            group: GroupId::from_bytes(&told.group)?,
            to: shard_to,
            head: ConvSeq(told.head),
            items: OutboxSeq(told.items_below),
        },
        None => return Ok(None),
    };
    Ok(Some((shard_to, signal)))
}

fn typing_to_peer(typing: Typing) -> peer::Typing {
    peer::Typing {
        from: bytes_of(typing.from),
        device: typing.device.0,
        to: Some(address_to_peer(typing.to)),
        kind: typing.kind,
    }
}

fn typing_from_peer(typing: peer::Typing) -> Result<Typing, FormatError> {
    Ok(Typing {
        from: AccountId::from_bytes(&typing.from)?,
        device: DeviceNo(typing.device),
        to: address_from_peer(typing.to)?,
        kind: typing.kind,
    })
}

fn shard(number: u32) -> Result<ShardId, FormatError> {
    u16::try_from(number).map(ShardId::new).map_err(|_| FormatError::OutOfBounds("shard"))
}

fn address_to_peer(address: Address) -> stored::Address {
    let kind = match address {
        Address::Account(account) => stored::address::Kind::Account(bytes_of(account)),
        Address::Group(group) => stored::address::Kind::Group(group_bytes(group)),
    };
    stored::Address { kind: Some(kind) }
}

fn address_from_peer(address: Option<stored::Address>) -> Result<Address, FormatError> {
    match address.and_then(|address| address.kind).ok_or(FormatError::Missing("to"))? {
        stored::address::Kind::Account(bytes) => {
            Ok(Address::Account(AccountId::from_bytes(&bytes)?))
        }
        stored::address::Kind::Group(bytes) => Ok(Address::Group(GroupId::from_bytes(&bytes)?)),
    }
}

fn bytes_of(account: AccountId) -> Bytes {
    Bytes::copy_from_slice(&account.to_bytes())
}

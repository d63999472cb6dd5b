//! Signals between shards, as pods send them to each other.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use iris_core::clock::WallMs;
use iris_core::id::{AccountId, DeviceNo, GroupId, ShardId};
use iris_core::limits;
use iris_core::message::Address;
use iris_core::signal::{Presence, Signal, Typing};

use crate::{FormatError, peer, stored};

/// A signal to a shard.
pub fn signal_to_peer(to: ShardId, signal: &Signal) -> peer::SignalItem {
    use peer::signal_item::Kind;
    let kind = match signal {
        Signal::Typing(typing) => Kind::Typing(peer::Typing {
            from: bytes_of(typing.from),
            device: typing.device.0,
            to: Some(address_to_peer(typing.to)),
            kind: typing.kind,
        }),
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
    };
    peer::SignalItem { to_shard: to.into(), kind: Some(kind) }
}

/// A signal to a shard; nothing for one that this program does not know.
pub fn signal_from_peer(item: peer::SignalItem) -> Result<Option<(ShardId, Signal)>, FormatError> {
    use peer::signal_item::Kind;
    let to = u16::try_from(item.to_shard).map_err(|_| FormatError::OutOfBounds("shard"))?;
    let signal = match item.kind {
        Some(Kind::Typing(typing)) => Signal::Typing(Typing {
            from: AccountId::from_bytes(&typing.from)?,
            device: DeviceNo(typing.device),
            to: address_from_peer(typing.to)?,
            kind: typing.kind,
        }),
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
        None => return Ok(None),
    };
    Ok(Some((ShardId::new(to), signal)))
}

fn address_to_peer(address: Address) -> stored::Address {
    let kind = match address {
        Address::Account(account) => stored::address::Kind::Account(bytes_of(account)),
        Address::Group(group) => {
            stored::address::Kind::Group(Bytes::copy_from_slice(&group.to_bytes()))
        }
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

//! The values of derived rows, as stored.

use std::collections::BTreeMap;

use bytes::Bytes;
use iris_core::account::{Account, Device, InboxContent, InboxItem};
use iris_core::clock::{Hlc, WallMs};
use iris_core::id::{DeviceNo, PublicKey};
use iris_core::relation::Relations;
use iris_core::seq::{ClientSeq, InboxSeq, OutboxSeq, ShardSeq};
use iris_core::shard::OutboxItem;
use prost::Message as _;

use crate::stored_entries::{
    code, message_from_stored, message_to_stored, notice_from_stored, notice_to_stored,
    parcel_from_stored, parcel_to_stored,
};
use crate::{FormatError, stored};

/// An account's row, without its wishes and memberships: they have columns of their own.
pub fn encode_account(account: &Account) -> Bytes {
    account_to_stored(account).encode_to_vec().into()
}

/// An account's row.
pub fn decode_account(bytes: Bytes) -> Result<Account, FormatError> {
    account_from_stored(stored::AccountState::decode(bytes)?)
}

/// An account without its wishes and memberships, as another pod gets it.
pub fn account_to_stored(account: &Account) -> stored::AccountState {
    stored::AccountState {
        pos: account.pos.0,
        stream_gen: account.stream_gen,
        inbox_head: account.head.0,
        inbox_floor: account.floor.0,
        devices: account.devices.iter().map(|(no, device)| device_to_stored(*no, device)).collect(),
        marks: account.marks,
        last_seen_ms: account.last_seen.0,
    }
}

/// An account without its wishes and memberships, as another pod sent it.
pub fn account_from_stored(account: stored::AccountState) -> Result<Account, FormatError> {
    Ok(Account {
        pos: ShardSeq(account.pos),
        stream_gen: account.stream_gen,
        head: InboxSeq(account.inbox_head),
        floor: InboxSeq(account.inbox_floor),
        devices: account.devices.into_iter().map(device_from_stored).collect::<Result<_, _>>()?,
        marks: account.marks,
        last_seen: WallMs(account.last_seen_ms),
        relations: Relations::default(),
        groups: BTreeMap::new(),
    })
}

fn device_to_stored(no: DeviceNo, device: &Device) -> stored::DeviceState {
    let refusals = device
        .refusals
        .iter()
        .map(|(seq, code)| stored::SendRefusal { client_seq: seq.0, code: code.number().into() });
    stored::DeviceState {
        device: no.0,
        public_key: Bytes::copy_from_slice(&device.key.0),
        name: device.name.clone(),
        added_at_ms: device.added_at.0,
        revoked: device.revoked,
        cursor: device.cursor.0,
        next_client_seq: device.next_client_seq.0,
        refusals: refusals.collect(),
        refresh_current: device.refresh_current,
        refresh_previous: device.refresh_previous,
    }
}

fn device_from_stored(device: stored::DeviceState) -> Result<(DeviceNo, Device), FormatError> {
    let refusal = |r: stored::SendRefusal| Ok((ClientSeq(r.client_seq), code(r.code)?));
    let state = Device {
        key: PublicKey::from_bytes(&device.public_key)?,
        name: device.name,
        added_at: WallMs(device.added_at_ms),
        revoked: device.revoked,
        cursor: InboxSeq(device.cursor),
        next_client_seq: ClientSeq(device.next_client_seq),
        refusals: device.refusals.into_iter().map(refusal).collect::<Result<_, FormatError>>()?,
        refresh_current: device.refresh_current,
        refresh_previous: device.refresh_previous,
    };
    Ok((DeviceNo(device.device), state))
}

/// A run of an inbox.
pub fn encode_inbox_run(items: &[InboxItem]) -> Bytes {
    let item = |item: &InboxItem| stored::InboxItem {
        inbox_seq: item.seq.0,
        clock: item.clock.0,
        kind: match &item.content {
            InboxContent::Message(message) => {
                Some(stored::inbox_item::Kind::Message(message_to_stored(message)))
            }
            InboxContent::Notice(notice) => {
                Some(stored::inbox_item::Kind::Notice(notice_to_stored(notice)))
            }
            InboxContent::Hole => None,
        },
    };
    stored::InboxRun { items: items.iter().map(item).collect() }.encode_to_vec().into()
}

/// A run of an inbox. An item that cannot be decoded keeps its place as a hole.
pub fn decode_inbox_run(bytes: Bytes) -> Result<Vec<InboxItem>, FormatError> {
    let run = stored::InboxRun::decode(bytes)?;
    Ok(run.items.into_iter().map(inbox_item_from_stored).collect())
}

/// Whether all of a run is understood: written again, an item that is not would be a hole for good, and
/// what a later version said besides would be gone.
pub fn check_inbox_run(bytes: Bytes) -> Result<(), FormatError> {
    let length = bytes.len();
    let run = stored::InboxRun::decode(bytes)?;
    if run.encoded_len() != length {
        // What is passed over in a read is not in what would be written.
        return Err(FormatError::Later);
    }
    run.items.into_iter().try_for_each(|item| inbox_content(item.kind).map(drop))
}

fn inbox_item_from_stored(item: stored::InboxItem) -> InboxItem {
    let content = inbox_content(item.kind).unwrap_or(InboxContent::Hole);
    InboxItem { seq: InboxSeq(item.inbox_seq), clock: Hlc(item.clock), content }
}

fn inbox_content(kind: Option<stored::inbox_item::Kind>) -> Result<InboxContent, FormatError> {
    use stored::inbox_item::Kind;
    Ok(match kind {
        Some(Kind::Message(message)) => InboxContent::Message(message_from_stored(Some(message))?),
        Some(Kind::Notice(notice)) => InboxContent::Notice(notice_from_stored(Some(notice))?),
        None => InboxContent::Hole,
    })
}

/// An outbox item, for its row and for the peer stream.
pub fn outbox_item_to_stored(item: &OutboxItem) -> stored::OutboxItem {
    stored::OutboxItem {
        kind: Some(parcel_to_stored(&item.parcel)),
        pos: item.pos.0,
        queued_at_ms: item.queued_at.0,
    }
}

/// An outbox item of the given number.
pub fn outbox_item_from_stored(
    seq: OutboxSeq,
    item: stored::OutboxItem,
) -> Result<OutboxItem, FormatError> {
    Ok(OutboxItem {
        seq,
        pos: ShardSeq(item.pos),
        queued_at: WallMs(item.queued_at_ms),
        parcel: parcel_from_stored(item.kind)?,
    })
}

/// An outbox item's row.
pub fn encode_outbox_item(item: &OutboxItem) -> Bytes {
    outbox_item_to_stored(item).encode_to_vec().into()
}

/// An outbox item's row.
pub fn decode_outbox_item(seq: OutboxSeq, bytes: Bytes) -> Result<OutboxItem, FormatError> {
    outbox_item_from_stored(seq, stored::OutboxItem::decode(bytes)?)
}

/// The numbers of a pair of shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerNumbers {
    /// The number of the next item to the peer.
    pub out_next: OutboxSeq,
    /// Items up to here are committed there.
    pub out_confirmed: OutboxSeq,
    /// The number of the next item from it.
    pub in_next: OutboxSeq,
    /// The position that these reflect.
    pub pos: ShardSeq,
}

/// A peer's row.
pub fn encode_peer(peer: PeerNumbers) -> Bytes {
    let peer = stored::PeerState {
        out_next: peer.out_next.0,
        out_confirmed: peer.out_confirmed.0,
        in_next: peer.in_next.0,
        pos: peer.pos.0,
    };
    peer.encode_to_vec().into()
}

/// A peer's row.
pub fn decode_peer(bytes: Bytes) -> Result<PeerNumbers, FormatError> {
    let peer = stored::PeerState::decode(bytes)?;
    Ok(PeerNumbers {
        out_next: OutboxSeq(peer.out_next),
        out_confirmed: OutboxSeq(peer.out_confirmed),
        in_next: OutboxSeq(peer.in_next),
        pos: ShardSeq(peer.pos),
    })
}

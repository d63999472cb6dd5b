//! Log entries, as stored.

use std::sync::Arc;

use bytes::Bytes;
use iris_core::clock::{Hlc, WallMs};
use iris_core::code::Code;
use iris_core::entry::{Entry, Op, Progress, Received, Slot};
use iris_core::id::{AccountId, DeviceNo, GroupId, MsgId, PublicKey, ShardId};
use iris_core::mark::Receipt;
use iris_core::message::{About, Act, Address, Bodies, Message, Notice, Parcel};
use iris_core::seq::{ClientSeq, ConvSeq, Epoch, InboxSeq, OutboxSeq, ShardSeq};

use crate::FormatError;
use crate::stored;
use crate::stored_groups::{
    declined_from_stored, declined_to_stored, for_members_from_stored, for_members_to_stored,
    group_bytes, in_group_from_stored, in_group_to_stored, ordered_from_stored, ordered_to_stored,
    shared_from_stored, shared_to_stored,
};
use crate::stored_relations::{wish_from_stored, wish_to_stored};

pub(crate) fn entry_to_stored(entry: &Entry) -> stored::Entry {
    stored::Entry {
        shard: entry.shard.into(),
        epoch: entry.epoch.0,
        seq: entry.seq.0,
        clock: entry.clock.0,
        op: Some(op_to_stored(&entry.op)),
    }
}

pub(crate) fn entry_from_stored(entry: stored::Entry) -> Result<Entry, FormatError> {
    Ok(Entry {
        shard: shard(entry.shard)?,
        epoch: Epoch(entry.epoch),
        seq: ShardSeq(entry.seq),
        clock: Hlc(entry.clock),
        op: op_from_stored(entry.op.ok_or(FormatError::Missing("op"))?)?,
    })
}

fn op_to_stored(op: &Op) -> stored::entry::Op {
    use stored::entry::Op as To;
    match op {
        Op::AccountCreated { account } => {
            To::AccountCreated(stored::AccountCreated { account: account_bytes(*account) })
        }
        Op::DeviceAdded { account, device, key, name, start } => {
            To::DeviceAdded(stored::DeviceAdded {
                account: account_bytes(*account),
                device: device.0,
                public_key: Bytes::copy_from_slice(&key.0),
                name: name.clone(),
                start: start.map(|start| start.0),
            })
        }
        Op::DeviceRevoked { account, device } => To::DeviceRevoked(stored::DeviceRevoked {
            account: account_bytes(*account),
            device: device.0,
        }),
        Op::RefreshRotated { account, device, current, previous } => {
            To::RefreshRotated(stored::RefreshRotated {
                account: account_bytes(*account),
                device: device.0,
                current: *current,
                previous: *previous,
            })
        }
        Op::Sent { message, inbox_seq, slot } => To::Sent(stored::Sent {
            message: Some(message_to_stored(message)),
            inbox_seq: inbox_seq.0,
            to_shard: slot.to.into(),
            outbox_seq: slot.seq.0,
        }),
        Op::SendRefused { account, device, client_seq, code } => {
            To::SendRefused(stored::SendRefused {
                account: account_bytes(*account),
                device: device.0,
                client_seq: client_seq.0,
                code: code.number().into(),
            })
        }
        Op::Received { from, outbox_seq, outcome } => To::Received(stored::Received {
            from_shard: (*from).into(),
            outbox_seq: outbox_seq.0,
            outcome: Some(outcome_to_stored(outcome)),
        }),
        Op::Wished { account, wish } => To::Wished(stored::Wished {
            account: account_bytes(*account),
            kind: Some(wish_to_stored(*wish)),
        }),
        Op::Marked { account, with, own_read, receipt } => {
            let (own_read, own_version) = own_read.unwrap_or_default();
            let slot = receipt.map(|(_, slot)| slot);
            To::Marked(stored::Marked {
                account: account_bytes(*account),
                with: account_bytes(*with),
                own_read: own_read.0,
                own_version,
                receipt: receipt.map(|(receipt, _)| receipt_to_stored(receipt)),
                to_shard: slot.map_or(0, |slot| slot.to.into()),
                outbox_seq: slot.map_or(0, |slot| slot.seq.0),
            })
        }
        Op::Progress(progress) => To::Progress(progress_to_stored(progress)),
    }
}

fn op_from_stored(op: stored::entry::Op) -> Result<Op, FormatError> {
    use stored::entry::Op as From;
    Ok(match op {
        From::AccountCreated(op) => Op::AccountCreated { account: account(&op.account)? },
        From::DeviceAdded(op) => Op::DeviceAdded {
            account: account(&op.account)?,
            device: DeviceNo(op.device),
            key: PublicKey::from_bytes(&op.public_key)?,
            name: op.name,
            start: op.start.map(InboxSeq),
        },
        From::DeviceRevoked(op) => {
            Op::DeviceRevoked { account: account(&op.account)?, device: DeviceNo(op.device) }
        }
        From::RefreshRotated(op) => Op::RefreshRotated {
            account: account(&op.account)?,
            device: DeviceNo(op.device),
            current: op.current,
            previous: op.previous,
        },
        From::Sent(op) => Op::Sent {
            message: message_from_stored(op.message)?,
            inbox_seq: InboxSeq(op.inbox_seq),
            slot: slot(op.to_shard, op.outbox_seq)?,
        },
        From::SendRefused(op) => Op::SendRefused {
            account: account(&op.account)?,
            device: DeviceNo(op.device),
            client_seq: ClientSeq(op.client_seq),
            code: code(op.code)?,
        },
        From::Received(op) => Op::Received {
            from: shard(op.from_shard)?,
            outbox_seq: OutboxSeq(op.outbox_seq),
            outcome: outcome_from_stored(op.outcome.ok_or(FormatError::Missing("outcome"))?)?,
        },
        From::Wished(op) => Op::Wished {
            account: account(&op.account)?,
            wish: wish_from_stored(op.kind.ok_or(FormatError::Missing("wish"))?)?,
        },
        From::Marked(op) => Op::Marked {
            account: account(&op.account)?,
            with: account(&op.with)?,
            own_read: (op.own_version != 0).then_some((Hlc(op.own_read), op.own_version)),
            receipt: match op.receipt {
                Some(receipt) => {
                    Some((receipt_from_stored(Some(receipt))?, slot(op.to_shard, op.outbox_seq)?))
                }
                None => None,
            },
        },
        From::Progress(op) => Op::Progress(progress_from_stored(op)?),
    })
}

fn outcome_to_stored(outcome: &Received) -> stored::received::Outcome {
    use stored::received::Outcome as To;
    match outcome {
        Received::Delivered { account, inbox_seq, message } => To::Delivered(stored::Delivered {
            account: account_bytes(*account),
            inbox_seq: inbox_seq.0,
            message: Some(message_to_stored(message)),
        }),
        Received::Refused { notice, slot } => To::Refused(stored::Refused {
            notice: Some(notice_to_stored(notice)),
            to_shard: slot.to.into(),
            outbox_seq: slot.seq.0,
        }),
        Received::Noticed { inbox_seq, notice } => To::Noticed(stored::Noticed {
            inbox_seq: inbox_seq.0,
            notice: Some(notice_to_stored(notice)),
        }),
        Received::Marked { receipt, version } => To::Receipt(stored::ReceiptTaken {
            receipt: Some(receipt_to_stored(*receipt)),
            version: *version,
        }),
        Received::Dropped => To::Dropped(stored::Dropped {}),
        Received::Ordered { message, targets, heir } => {
            To::Ordered(ordered_to_stored(message, targets, *heir))
        }
        Received::Shared { message, places, declined } => {
            To::Shared(shared_to_stored(message, places, declined.as_ref()))
        }
    }
}

fn outcome_from_stored(outcome: stored::received::Outcome) -> Result<Received, FormatError> {
    use stored::received::Outcome as From;
    Ok(match outcome {
        From::Delivered(op) => Received::Delivered {
            account: account(&op.account)?,
            inbox_seq: InboxSeq(op.inbox_seq),
            message: message_from_stored(op.message)?,
        },
        From::Refused(op) => Received::Refused {
            notice: notice_from_stored(op.notice)?,
            slot: slot(op.to_shard, op.outbox_seq)?,
        },
        From::Noticed(op) => Received::Noticed {
            inbox_seq: InboxSeq(op.inbox_seq),
            notice: notice_from_stored(op.notice)?,
        },
        From::Receipt(op) => {
            Received::Marked { receipt: receipt_from_stored(op.receipt)?, version: op.version }
        }
        From::Dropped(stored::Dropped {}) => Received::Dropped,
        From::Ordered(op) => ordered_from_stored(op)?,
        From::Shared(op) => shared_from_stored(op)?,
    })
}

fn progress_to_stored(progress: &Progress) -> stored::Progress {
    let cursors = progress.cursors.iter().map(|(account, device, seq)| stored::Cursor {
        account: account_bytes(*account),
        device: device.0,
        inbox_seq: seq.0,
    });
    let confirmations = progress
        .confirmations
        .iter()
        .map(|(to, seq)| stored::Confirmation { to_shard: (*to).into(), outbox_seq: seq.0 });
    let floors = progress
        .floors
        .iter()
        .map(|(account, seq)| stored::Floor { account: account_bytes(*account), inbox_seq: seq.0 });
    let seen = progress
        .seen
        .iter()
        .map(|(account, at)| stored::Seen { account: account_bytes(*account), at_ms: at.0 });
    stored::Progress {
        cursors: cursors.collect(),
        confirmations: confirmations.collect(),
        floors: floors.collect(),
        seen: seen.collect(),
    }
}

fn progress_from_stored(op: stored::Progress) -> Result<Progress, FormatError> {
    let mut progress = Progress::default();
    for cursor in op.cursors {
        let place =
            (account(&cursor.account)?, DeviceNo(cursor.device), InboxSeq(cursor.inbox_seq));
        progress.cursors.push(place);
    }
    for confirmation in op.confirmations {
        let upto = OutboxSeq(confirmation.outbox_seq);
        progress.confirmations.push((shard(confirmation.to_shard)?, upto));
    }
    for floor in op.floors {
        progress.floors.push((account(&floor.account)?, InboxSeq(floor.inbox_seq)));
    }
    for seen in op.seen {
        progress.seen.push((account(&seen.account)?, WallMs(seen.at_ms)));
    }
    Ok(progress)
}

pub(crate) fn message_to_stored(message: &Message) -> stored::Message {
    let (body, device_bodies) = match &message.bodies {
        Bodies::Shared(body) => (body.clone(), Vec::new()),
        Bodies::PerDevice(bodies) => {
            let body = |(device, body): &(DeviceNo, Bytes)| stored::DeviceBody {
                device: device.0,
                body: body.clone(),
            };
            (Bytes::new(), bodies.iter().map(body).collect())
        }
    };
    let to = match message.to {
        Address::Account(account) => stored::address::Kind::Account(account_bytes(account)),
        Address::Group(group) => stored::address::Kind::Group(group_bytes(group)),
    };
    stored::Message {
        sender: account_bytes(message.sender),
        sender_device: message.sender_device.0,
        client_seq: message.client_seq.0,
        msg_id: Bytes::copy_from_slice(&message.msg_id.0),
        to: Some(stored::Address { kind: Some(to) }),
        body,
        device_bodies,
        expires_at_ms: message.expires_at_ms,
        clock: message.clock.0,
        about: message.about.as_ref().map(about_to_stored),
        in_group: message.group.as_deref().map(in_group_to_stored),
    }
}

pub(crate) fn message_from_stored(
    message: Option<stored::Message>,
) -> Result<Arc<Message>, FormatError> {
    let message = message.ok_or(FormatError::Missing("message"))?;
    let to = message.to.and_then(|to| to.kind).ok_or(FormatError::Missing("to"))?;
    let to = match to {
        stored::address::Kind::Account(bytes) => Address::Account(account(&bytes)?),
        stored::address::Kind::Group(bytes) => Address::Group(GroupId::from_bytes(&bytes)?),
    };
    let bodies = if message.device_bodies.is_empty() {
        Bodies::Shared(message.body)
    } else {
        let bodies = message.device_bodies.into_iter();
        Bodies::PerDevice(bodies.map(|b| (DeviceNo(b.device), b.body)).collect())
    };
    let group = message.in_group.map(in_group_from_stored).transpose()?;
    if group.is_some() && matches!(to, Address::Account(_)) {
        return Err(FormatError::OutOfBounds("in_group"));
    }
    Ok(Arc::new(Message {
        sender: account(&message.sender)?,
        sender_device: DeviceNo(message.sender_device),
        client_seq: ClientSeq(message.client_seq),
        msg_id: MsgId::from_bytes(&message.msg_id)?,
        to,
        bodies,
        expires_at_ms: message.expires_at_ms,
        clock: Hlc(message.clock),
        about: message.about.map(about_from_stored).transpose()?,
        group: group.map(Box::new),
    }))
}

fn about_to_stored(about: &About) -> stored::About {
    let act = match about.act {
        Act::Edit => stored::about::Act::Edit,
        Act::Delete => stored::about::Act::Delete,
        Act::React => stored::about::Act::React,
    };
    stored::About {
        act: act.into(),
        author: account_bytes(about.author),
        msg_id: Bytes::copy_from_slice(&about.msg_id.0),
        clock: about.clock.0,
        place: about.place.0,
    }
}

fn about_from_stored(about: stored::About) -> Result<About, FormatError> {
    let act = match about.act() {
        stored::about::Act::Edit => Act::Edit,
        stored::about::Act::Delete => Act::Delete,
        stored::about::Act::React => Act::React,
        stored::about::Act::Unspecified => return Err(FormatError::OutOfBounds("act")),
    };
    Ok(About {
        act,
        author: account(&about.author)?,
        msg_id: MsgId::from_bytes(&about.msg_id)?,
        clock: Hlc(about.clock),
        place: ConvSeq(about.place),
    })
}

fn receipt_to_stored(receipt: Receipt) -> stored::Receipt {
    stored::Receipt {
        from: account_bytes(receipt.from),
        to: account_bytes(receipt.to),
        delivered: receipt.delivered.0,
        read: receipt.read.0,
    }
}

fn receipt_from_stored(receipt: Option<stored::Receipt>) -> Result<Receipt, FormatError> {
    let receipt = receipt.ok_or(FormatError::Missing("receipt"))?;
    Ok(Receipt {
        from: account(&receipt.from)?,
        to: account(&receipt.to)?,
        delivered: Hlc(receipt.delivered),
        read: Hlc(receipt.read),
    })
}

pub(crate) fn notice_to_stored(notice: &Notice) -> stored::Notice {
    stored::Notice {
        account: account_bytes(notice.account),
        device: notice.device.0,
        client_seq: notice.client_seq.0,
        msg_id: Bytes::copy_from_slice(&notice.msg_id.0),
        code: notice.code.number().into(),
    }
}

pub(crate) fn notice_from_stored(notice: Option<stored::Notice>) -> Result<Notice, FormatError> {
    let notice = notice.ok_or(FormatError::Missing("notice"))?;
    Ok(Notice {
        account: account(&notice.account)?,
        device: DeviceNo(notice.device),
        client_seq: ClientSeq(notice.client_seq),
        msg_id: MsgId::from_bytes(&notice.msg_id)?,
        code: code(notice.code)?,
    })
}

pub(crate) fn parcel_to_stored(parcel: &Parcel) -> stored::outbox_item::Kind {
    match parcel {
        Parcel::Message(message) => stored::outbox_item::Kind::Message(message_to_stored(message)),
        Parcel::Notice(notice) => stored::outbox_item::Kind::Notice(notice_to_stored(notice)),
        Parcel::Receipt(receipt) => stored::outbox_item::Kind::Receipt(receipt_to_stored(*receipt)),
        Parcel::ForMembers(message, who) => {
            stored::outbox_item::Kind::ForMembers(for_members_to_stored(message, who))
        }
        Parcel::Declined(group, place, who) => {
            stored::outbox_item::Kind::Declined(declined_to_stored(*group, *place, who))
        }
    }
}

pub(crate) fn parcel_from_stored(
    kind: Option<stored::outbox_item::Kind>,
) -> Result<Parcel, FormatError> {
    match kind.ok_or(FormatError::Missing("parcel"))? {
        stored::outbox_item::Kind::Message(message) => {
            message_from_stored(Some(message)).map(Parcel::Message)
        }
        stored::outbox_item::Kind::Notice(notice) => {
            notice_from_stored(Some(notice)).map(Parcel::Notice)
        }
        stored::outbox_item::Kind::Receipt(receipt) => {
            receipt_from_stored(Some(receipt)).map(Parcel::Receipt)
        }
        stored::outbox_item::Kind::ForMembers(item) => for_members_from_stored(item),
        stored::outbox_item::Kind::Declined(item) => declined_from_stored(item),
    }
}

pub(crate) fn account_bytes(account: AccountId) -> Bytes {
    Bytes::copy_from_slice(&account.to_bytes())
}

pub(crate) fn account(bytes: &[u8]) -> Result<AccountId, FormatError> {
    Ok(AccountId::from_bytes(bytes)?)
}

pub(crate) fn shard(number: u32) -> Result<ShardId, FormatError> {
    u16::try_from(number).map(ShardId::new).map_err(|_| FormatError::OutOfBounds("shard"))
}

pub(crate) fn slot(to_shard: u32, outbox_seq: u64) -> Result<Slot, FormatError> {
    Ok(Slot { to: shard(to_shard)?, seq: OutboxSeq(outbox_seq) })
}

/// A code that a later version names is kept by its number: it is for clients to read, and a place, an
/// outcome or an account must not be lost for it.
pub(crate) fn code(number: u32) -> Result<Code, FormatError> {
    Code::of_any_version(number).ok_or(FormatError::OutOfBounds("code"))
}

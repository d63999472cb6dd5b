//! What the golden files hold of formats that the earlier releases wrote, too, and had none for: runs of
//! inboxes, the first kinds of outbox items, and the numbers of a pair of shards.

use bytes::Bytes;
use iris_core::account::{InboxContent, InboxItem};
use iris_core::clock::{Hlc, WallMs};
use iris_core::code::Code;
use iris_core::id::{DeviceNo, MsgId};
use iris_core::mark::Receipt;
use iris_core::message::{Bodies, Notice, Parcel};
use iris_core::seq::{ClientSeq, InboxSeq, OutboxSeq, ShardSeq};
use iris_core::shard::OutboxItem;
use iris_proto::stored_rows::PeerNumbers;

use crate::specimens::{account, message, other};
use crate::third;

/// The numbers of a pair of shards.
pub(crate) const PEER: PeerNumbers = PeerNumbers {
    out_next: OutboxSeq(78),
    out_confirmed: OutboxSeq(76),
    in_next: OutboxSeq(5),
    pos: ShardSeq(1234),
};

pub(crate) fn notice() -> Notice {
    Notice {
        account: account(),
        device: DeviceNo(3),
        client_seq: ClientSeq(41),
        msg_id: MsgId([9; 16]),
        code: Code::Damaged,
    }
}

/// One of each: from a person, to a group, a notice, a hole.
pub(crate) fn inbox_run() -> Vec<InboxItem> {
    let body = Bodies::Shared(Bytes::from_static(b"ciphertext"));
    let contents = [
        InboxContent::Message(message(body, None)),
        InboxContent::Message(third::log_message()),
        InboxContent::Notice(notice()),
        InboxContent::Hole,
    ];
    let places = contents.into_iter().zip(30..);
    let item =
        |(content, seq)| InboxItem { seq: InboxSeq(seq), clock: Hlc(1 << 40 | seq), content };
    places.map(item).collect()
}

/// What goes to another shard for an account.
pub(crate) fn parcels() -> [OutboxItem; 3] {
    let body = Bodies::Shared(Bytes::from_static(b"ciphertext"));
    let receipt =
        Receipt { from: account(), to: other(), delivered: Hlc(1 << 50), read: Hlc(1 << 49) };
    let item = |parcel| OutboxItem {
        seq: OutboxSeq(77),
        pos: ShardSeq(1234),
        queued_at: WallMs(1_900_000_000_000),
        parcel,
    };
    [Parcel::Message(message(body, None)), Parcel::Notice(notice()), Parcel::Receipt(receipt)]
        .map(item)
}

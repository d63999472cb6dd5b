use crate::code::Code;
use crate::id::{AccountId, DeviceNo, MsgId};
use crate::message::Notice;
use crate::seq::ClientSeq;

use super::*;

fn item(seq: u64) -> OutboxItem {
    let notice = Notice {
        account: AccountId::from_bytes(&[1; 16]).expect("an id"),
        device: DeviceNo(1),
        client_seq: ClientSeq(seq),
        msg_id: MsgId([0; 16]),
        code: Code::TooLarge,
    };
    let (seq, pos) = (OutboxSeq(seq), ShardSeq(seq));
    OutboxItem { seq, pos, queued_at: WallMs(0), parcel: Parcel::Notice(notice) }
}

#[test]
fn a_peer_goes_back_only_to_an_item_that_is_here() {
    let numbers = (OutboxSeq(6), OutboxSeq(2), OutboxSeq(1));
    // Item 3 is not here though it was never confirmed: its rows were lost.
    let mut peer = Peer::recovered(numbers, ShardSeq(9), vec![item(4), item(5)]);
    assert_eq!(peer.take_pushable(MonoUs(1)).len(), 2);
    assert!(!peer.go_back_to(OutboxSeq(3)), "a push would be answered with the same wish");
    assert!(peer.take_pushable(MonoUs(2)).is_empty());
    assert!(peer.go_back_to(OutboxSeq(5)));
    assert_eq!(peer.take_pushable(MonoUs(3)), vec![item(5)]);
    assert!(!peer.go_back_to(OutboxSeq(6)), "nothing was pushed so far");
}

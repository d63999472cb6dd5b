use std::sync::Arc;

use crate::clock::Hlc;
use crate::code::Code;
use crate::group::{Change, InGroup};
use crate::id::{AccountId, DeviceNo, MsgId};
use crate::message::{Bodies, Message, Notice};
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

#[test]
fn changes_of_a_group_are_waited_for_until_they_are_confirmed() {
    let group = |n: u8| GroupId::from_bytes(&[n; 16]).expect("an id");
    let shared = |seq: u64, of: u8, change: Option<Change>| {
        let message = Message {
            sender: AccountId::from_bytes(&[1; 16]).expect("an id"),
            sender_device: DeviceNo(1),
            client_seq: ClientSeq(seq),
            msg_id: MsgId([0; 16]),
            to: Address::Group(group(of)),
            bodies: Bodies::Shared(bytes::Bytes::new()),
            expires_at_ms: 0,
            clock: Hlc(seq),
            about: None,
            group: Some(Box::new(InGroup { change, ..InGroup::default() })),
        };
        let parcel = Parcel::ForMembers(Arc::new(message), Vec::new());
        OutboxItem { parcel, ..item(seq) }
    };
    let items = vec![
        item(3),
        shared(4, 7, Some(Change::Leave)),
        shared(5, 8, Some(Change::Leave)),
        shared(6, 7, None),
    ];
    let numbers = (OutboxSeq(7), OutboxSeq(2), OutboxSeq(1));
    let mut peer = Peer::recovered(numbers, ShardSeq(9), items);
    let behind = |peer: &Peer| [7, 8, 9].map(|n| peer.behind_changes_of(group(n)).0);
    assert_eq!(behind(&peer), [5, 6, 3]);
    peer.confirm(OutboxSeq(4));
    assert_eq!(behind(&peer), [5, 6, 5], "what was confirmed is taken by whoever serves");
    peer.confirm(OutboxSeq(6));
    assert_eq!(behind(&peer), [7, 7, 7]);
}

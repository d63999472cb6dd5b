#![allow(clippy::unwrap_used, reason = "a test says where it failed")]

use iris_core::group::Change;
use iris_core::id::{GroupId, TenantNo};
use iris_core::message::Address;
use iris_core::seq::ConvSeq;
use iris_core::shard::LogFetch;
use iris_proto::client_frames::{address_to_wire, change_to_wire};
use iris_runtime::metrics::Metrics;

use super::*;

const CONN: u64 = 5;
const LINK: LinkNo = LinkNo(1);

fn count() -> ShardCount {
    ShardCount::new(16).unwrap()
}

fn account() -> AccountId {
    AccountId::in_shard(count().shard(3).unwrap(), count(), TenantNo(0), 1)
}

fn group() -> GroupId {
    GroupId::from_bytes(&[5; 16]).unwrap()
}

/// A stream with one connection on it.
fn converter() -> Converter {
    let metrics = OwnerMetrics::new(&Metrics::new());
    let mut converter = Converter::new(LINK, count(), Arc::new(Queue::new()), metrics);
    let account = account().to_bytes().to_vec().into();
    let attach = peer::Attach { account, device: 1, ..peer::Attach::default() };
    let kind = Some(edge_item::Kind::Attach(attach));
    let attached = converter.convert(vec![EdgeItem { conn: CONN, kind }]);
    assert_eq!(attached.len(), 1);
    converter
}

/// What the shard is told when a client sends this.
fn taken(kind: FrameType, corr: Option<u32>, message: &impl prost::Message) -> Input {
    let frame = Frame {
        r#type: kind.number().into(),
        corr: corr.unwrap_or_default(),
        has_corr: corr.is_some(),
        payload: message.encode_to_vec().into(),
        ..Frame::default()
    };
    let kind = Some(edge_item::Kind::Frame(frame));
    let mut inputs = converter().convert(vec![EdgeItem { conn: CONN, kind }]);
    assert_eq!(inputs.len(), 1, "{inputs:?}");
    let (shard, input) = inputs.remove(0);
    assert_eq!(shard, account().shard(count()));
    input
}

fn called(op: client::call::Op) -> Input {
    taken(FrameType::Call, Some(7), &client::Call { op: Some(op) })
}

fn conversation() -> Option<client::Address> {
    Some(address_to_wire(Address::Group(group())))
}

/// An edge of a later version passes on what its clients send.
#[test]
fn a_frame_that_may_be_skipped_ends_no_connection_and_another_one_does() {
    let frame = |kind| {
        let frame = Frame { r#type: kind, ..Frame::default() };
        vec![EdgeItem { conn: CONN, kind: Some(edge_item::Kind::Frame(frame)) }]
    };
    let mut converter = converter();
    assert!(converter.convert(frame(0x90)).is_empty(), "skipped");
    let ended = converter.convert(frame(0x30));
    assert!(matches!(ended[..], [(_, Input::Detach { .. })]), "{ended:?}");
}

#[test]
fn a_fetch_behind_a_place_is_for_the_log() {
    let history =
        client::Fetch { conversation: conversation(), limit: 9, ..client::Fetch::default() };
    let input = taken(FrameType::Fetch, Some(7), &history);
    assert!(matches!(input, Input::Fetch { corr: 7, .. }), "{input:?}");
    let log = client::Fetch { behind: Some(40), ..history };
    match taken(FrameType::Fetch, Some(7), &log) {
        Input::FetchLog { corr: 7, fetch, .. } => {
            let expected = LogFetch { group: group(), after: ConvSeq(40), upto: None, limit: 9 };
            assert_eq!(fetch, expected);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_send_brings_its_change_and_its_roster() {
    let change = Change::Add(vec![account()]);
    let send = client::Send {
        client_seq: 1,
        msg_id: vec![1; 16].into(),
        to: conversation(),
        roster_version: 12,
        change: Some(change_to_wire(&change)),
        ..client::Send::default()
    };
    match taken(FrameType::Send, None, &send) {
        Input::Send { send, .. } => {
            assert_eq!((send.change, send.roster), (Some(change), ConvSeq(12)));
        }
        other => panic!("{other:?}"),
    }
    let to = Some(address_to_wire(Address::Account(account())));
    let wrong = taken(FrameType::Send, None, &client::Send { to, ..send });
    assert!(matches!(wrong, Input::Detach { .. }), "{wrong:?}");
}

#[test]
fn what_a_later_version_asks_is_asked_and_ends_no_connection() {
    let input = taken(FrameType::Call, Some(7), &client::Call { op: None });
    assert!(matches!(input, Input::AskUnknown { corr: 7, .. }), "{input:?}");
}

#[test]
fn groups_and_members_are_asked_for() {
    let input = called(client::call::Op::ListGroups(client::ListGroups {}));
    assert!(matches!(input, Input::ListGroups { corr: 7, .. }), "{input:?}");
    let bytes = |id: [u8; 16]| Bytes::copy_from_slice(&id);
    for after in [None, Some(account())] {
        let list = client::ListMembers {
            group: bytes(group().to_bytes()),
            after: after.map_or_else(Bytes::new, |after| bytes(after.to_bytes())),
        };
        match called(client::call::Op::ListMembers(list)) {
            Input::Roster { corr: 7, group: of, after: behind, .. } => {
                assert_eq!((of, behind), (group(), after));
            }
            other => panic!("{other:?}"),
        }
    }
    let nobody = called(client::call::Op::ListMembers(client::ListMembers::default()));
    assert!(matches!(nobody, Input::Detach { .. }), "a group without a name: {nobody:?}");
}

#[test]
fn a_device_vouches_for_a_key_and_for_nothing_else() {
    let link = |bytes: usize| {
        let public_key = Bytes::from(vec![9; bytes]);
        called(client::call::Op::LinkDevice(client::LinkDevice { public_key, name: "x".into() }))
    };
    match link(32) {
        Input::LinkDevice { corr: 7, key, name, .. } => {
            assert_eq!((key, name.as_str()), (PublicKey([9; 32]), "x"));
        }
        other => panic!("{other:?}"),
    }
    for bytes in [0, 31, 33, 4096] {
        assert!(matches!(link(bytes), Input::Detach { .. }), "{bytes} bytes");
    }
}

#[test]
fn a_client_sends_no_page_of_a_log() {
    let input = taken(FrameType::LogPage, Some(7), &client::LogPage::default());
    assert!(matches!(input, Input::Detach { .. }), "{input:?}");
}

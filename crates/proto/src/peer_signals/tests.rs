use iris_core::id::TenantNo;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

fn account() -> impl Strategy<Value = AccountId> {
    any::<[u8; 16]>().prop_map(|bytes| AccountId::from_bytes(&bytes).unwrap())
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![account().prop_map(Address::Account), group().prop_map(Address::Group),]
}

fn group() -> impl Strategy<Value = GroupId> {
    any::<[u8; 16]>().prop_map(|bytes| GroupId::from_bytes(&bytes).unwrap())
}

fn typing() -> impl Strategy<Value = Typing> {
    let parts = (account(), any::<u32>(), address(), any::<u32>());
    parts.prop_map(|(from, device, to, kind)| Typing { from, device: DeviceNo(device), to, kind })
}

fn of_a_group() -> impl Strategy<Value = Signal> {
    let watch = (any::<u16>(), group(), any::<bool>());
    prop_oneof![
        (typing(), vec(account(), 0..=limits::TYPING_MEMBERS_MAX))
            .prop_map(|(typing, to)| Signal::TypingInGroup { typing, to }),
        watch.prop_map(|(by, group, on)| Signal::WatchGroup { by: ShardId::new(by), group, on }),
        (group(), any::<u16>(), any::<u64>(), any::<u64>()).prop_map(|(group, to, head, items)| {
            Signal::Head {
                group,
                to: ShardId::new(to),
                head: ConvSeq(head),
                items: OutboxSeq(items),
            }
        }),
    ]
}

fn signal() -> impl Strategy<Value = Signal> {
    let presence = prop_oneof![
        Just(Presence::Online),
        any::<u64>().prop_map(|at| Presence::Offline(WallMs(at))),
        Just(Presence::Hidden),
    ];
    prop_oneof![
        typing().prop_map(Signal::Typing),
        of_a_group(),
        (account(), account(), any::<bool>()).prop_map(|(by, of, on)| Signal::Watch { by, of, on }),
        (account(), vec(account(), 0..9), presence)
            .prop_map(|(of, to, presence)| Signal::Presence { of, to, presence }),
    ]
}

proptest! {
    #[test]
    fn a_signal_comes_back(to in any::<u16>(), signal in signal()) {
        let to = match signal {
            // Whom it tells is where it goes.
            Signal::Head { to, .. } => to,
            _ => ShardId::new(to),
        };
        let bytes = signal_to_peer(to, &signal).encode_to_vec();
        let item = peer::SignalItem::decode(bytes.as_slice()).unwrap();
        prop_assert_eq!(signal_from_peer(item).unwrap(), Some((to, signal)));
    }

    #[test]
    fn garbage_is_an_error(bytes in vec(any::<u8>(), 0..200)) {
        let _ = peer::SignalItem::decode(bytes.as_slice()).map(signal_from_peer);
    }
}

#[test]
fn a_signal_of_a_later_version_is_nothing() {
    let item = peer::SignalItem { to_shard: 3, kind: None };
    assert_eq!(signal_from_peer(item), Ok(None));
}

#[test]
fn a_presence_of_a_later_version_is_hidden() {
    let of = Bytes::from_static(&[7; 16]);
    let presence = peer::Presence { of, to: Vec::new(), state: 9, last_seen_ms: 5 };
    let kind = Some(peer::signal_item::Kind::Presence(presence));
    let found = signal_from_peer(peer::SignalItem { to_shard: 3, kind }).unwrap();
    let Some((_, Signal::Presence { presence, .. })) = found else { panic!("{found:?}") };
    assert_eq!(presence, Presence::Hidden);
}

#[test]
fn bounds_are_checked() {
    let count = iris_core::id::ShardCount::new(16).unwrap();
    let account = |n| AccountId::in_shard(ShardId::new(1), count, TenantNo(0), n);
    let most = u128::try_from(limits::WATCHERS_MAX).unwrap();
    let told = |count| {
        let to = (0..count).map(account).collect();
        let signal = Signal::Presence { of: account(0), to, presence: Presence::Online };
        signal_from_peer(signal_to_peer(ShardId::new(1), &signal))
    };
    assert!(told(most).is_ok());
    assert_eq!(told(most + 1), Err(FormatError::OutOfBounds("watchers")));
    let item = peer::SignalItem { to_shard: 65_536, kind: None };
    assert_eq!(signal_from_peer(item), Err(FormatError::OutOfBounds("shard")));
    let typing = peer::Typing { from: Bytes::from_static(&[1; 16]), ..Default::default() };
    let kind = Some(peer::signal_item::Kind::Typing(typing));
    let found = signal_from_peer(peer::SignalItem { to_shard: 3, kind });
    assert_eq!(found, Err(FormatError::Missing("to")));
}

#[test]
fn what_is_told_to_a_group_is_bounded() {
    let to = ShardId::new(1);
    let account = AccountId::from_bytes(&[7; 16]).unwrap();
    let typing =
        Typing { from: account, device: DeviceNo(1), to: Address::Account(account), kind: 0 };
    let told = |count| {
        let signal = Signal::TypingInGroup { typing, to: vec![account; count] };
        signal_from_peer(signal_to_peer(to, &signal))
    };
    assert!(told(limits::TYPING_MEMBERS_MAX).is_ok());
    let many = told(limits::TYPING_MEMBERS_MAX + 1);
    assert_eq!(many, Err(FormatError::OutOfBounds("members")));
    let of = |kind| signal_from_peer(peer::SignalItem { to_shard: 3, kind: Some(kind) });
    let nothing = peer::TypingInGroup { typing: None, to: Vec::new() };
    let nothing = of(peer::signal_item::Kind::TypingInGroup(nothing));
    assert_eq!(nothing, Err(FormatError::Missing("typing")));
    let group = Bytes::from_static(&[5; 16]);
    let watch = peer::WatchGroup { by_shard: 65_536, group, on: true };
    let watch = of(peer::signal_item::Kind::WatchGroup(watch));
    assert_eq!(watch, Err(FormatError::OutOfBounds("shard")));
    let head = of(peer::signal_item::Kind::GroupHead(peer::GroupHead::default()));
    assert!(matches!(head, Err(FormatError::Id(_))));
}

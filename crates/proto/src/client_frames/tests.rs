use std::collections::BTreeSet;
use std::sync::Arc;

use iris_core::clock::WallMs;
use iris_core::mark::Mark;
use iris_core::message::Message;
use iris_core::relation::{Audience, Relations, Tells, Wish};
use iris_core::signal::{Presence, Typing};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message as _;

use super::*;

fn account() -> impl Strategy<Value = AccountId> {
    any::<[u8; 16]>().prop_map(|bytes| AccountId::from_bytes(&bytes).unwrap())
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        account().prop_map(Address::Account),
        any::<[u8; 16]>().prop_map(|bytes| Address::Group(GroupId::from_bytes(&bytes).unwrap())),
    ]
}

fn about() -> impl Strategy<Value = About> {
    let act = select(vec![Act::Edit, Act::Delete, Act::React]);
    let parts = (act, account(), any::<[u8; 16]>(), storable(), storable());
    parts.prop_map(|(act, author, id, clock, place)| About {
        act,
        author,
        msg_id: MsgId(id),
        clock: Hlc(clock),
        place: ConvSeq(place),
    })
}

fn audience() -> impl Strategy<Value = Audience> {
    select(vec![Audience::Everyone, Audience::Contacts, Audience::Nobody])
}

fn tells() -> impl Strategy<Value = Tells> {
    select(vec![Tells::Yes, Tells::No])
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        (account(), any::<bool>()).prop_map(|(of, on)| Wish::Block(of, on)),
        (account(), any::<bool>()).prop_map(|(of, on)| Wish::Contact(of, on)),
        audience().prop_map(Wish::Presence),
        tells().prop_map(Wish::TellReads),
    ]
}

fn relations() -> impl Strategy<Value = Relations> {
    let lists = (btree_set(account(), 0..5), btree_set(account(), 0..5));
    (lists, audience(), tells()).prop_map(|((blocked, contacts), presence, tells_reads)| {
        Relations { blocked, contacts, presence, tells_reads }
    })
}

/// A number that the store can hold.
fn storable() -> impl Strategy<Value = u64> {
    0..=i64::MAX.unsigned_abs()
}

/// A payload as the other side reads it.
fn sent<M: prost::Message + Default>(wire: &M) -> M {
    M::decode(wire.encode_to_vec().as_slice()).unwrap()
}

proptest! {
    #[test]
    fn what_a_message_does_comes_back(about in about()) {
        prop_assert_eq!(about_from_wire(sent(&about_to_wire(&about))), Ok(about));
    }

    #[test]
    fn a_wish_comes_back(wish in wish()) {
        prop_assert_eq!(wish_from_wire(sent(&wish_to_wire(wish))), Ok(wish));
    }

    #[test]
    fn wishes_come_back(relations in relations()) {
        prop_assert_eq!(wishes_from_wire(sent(&wishes_to_wire(&relations))), Ok(relations));
    }

    /// What the server says of a person who writes, a client could say as well.
    #[test]
    fn whoever_writes_is_told_with_place_and_kind(
        from in account(),
        device in any::<u32>(),
        to in address(),
        kind in any::<u32>(),
    ) {
        let typing = Typing { from, device: DeviceNo(device), to, kind };
        let wire = sent(&typing_to_wire(typing));
        prop_assert_eq!(signal_from_wire(wire.clone()), Ok(Some(FromClient::Types(to, kind))));
        let Some(client::signal::Kind::Typing(told)) = wire.kind else { panic!("{wire:?}") };
        prop_assert_eq!((&told.from[..], told.device), (&from.to_bytes()[..], device));
    }

    #[test]
    fn what_was_read_comes_back(
        read in vec((address(), any::<u64>(), any::<bool>()), 0..limits::MARKS_MAX),
    ) {
        let mark = |(to, upto, private): &(Address, u64, bool)| client::Mark {
            conversation: Some(address_to_wire(*to)),
            own_read: *upto,
            private: *private,
            ..client::Mark::default()
        };
        let wire = client::Receipt { marks: read.iter().map(mark).collect(), version: 0 };
        let expected: Vec<_> =
            read.into_iter().map(|(to, upto, private)| (to, Hlc(upto), private)).collect();
        prop_assert_eq!(receipt_from_wire(sent(&wire)), Ok(expected));
    }

    #[test]
    fn marks_reach_a_client_as_they_are(
        marks in vec((account(), any::<[u64; 4]>()), 0..limits::MARKS_MAX),
        version in proptest::option::of(1..=u64::MAX),
    ) {
        let mark = |[own_read, delivered, read, version]: [u64; 4]| {
            Mark { own_read: Hlc(own_read), delivered: Hlc(delivered), read: Hlc(read), version }
        };
        let marks: Vec<_> = marks.into_iter().map(|(with, parts)| (with, mark(parts))).collect();
        let wire = sent(&receipt_to_wire(&marks, version));
        prop_assert_eq!(wire.version, version.unwrap_or(0));
        prop_assert_eq!(wire.marks.len(), marks.len());
        for (told, (with, mark)) in wire.marks.into_iter().zip(marks) {
            let found = (told.own_read, told.delivered, told.read);
            prop_assert_eq!(found, (mark.own_read.0, mark.delivered.0, mark.read.0));
            let conversation = told.conversation.map(address_from_wire);
            prop_assert_eq!(conversation, Some(Ok(Address::Account(with))));
        }
    }

    #[test]
    fn whom_a_client_watches_comes_back(accounts in vec(account(), 0..=limits::WATCHED_MAX)) {
        let bytes = accounts.iter().map(|account| bytes_of(account.to_bytes()));
        let wire = client::Subscribe { accounts: bytes.collect() };
        prop_assert_eq!(subscribe_from_wire(sent(&wire)), Ok(accounts));
    }

    #[test]
    fn a_page_says_which_is_the_next_one(
        conversation in address(),
        point in proptest::option::of((storable(), storable())),
        limit in any::<u32>(),
    ) {
        let before = point.map(|(clock, place)| HistoryPoint {
            clock: Hlc(clock),
            place: InboxSeq(place),
        });
        let account = AccountId::from_bytes(&[7; 16]).unwrap();
        let page = sent(&page_to_wire(account, DeviceNo(1), &[], before));
        let conversation_wire = Some(address_to_wire(conversation));
        let fetch = client::Fetch {
            conversation: conversation_wire,
            before: page.next,
            limit,
            behind: None,
        };
        let expected = PageOf::History(Fetch { conversation, before, limit });
        prop_assert_eq!(fetch_from_wire(sent(&fetch)), Ok(expected));
    }

    #[test]
    fn garbage_is_an_error(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = bytes.as_slice();
        let _ = client::Send::decode(bytes).map(send_from_wire);
        let _ = client::Fetch::decode(bytes).map(fetch_from_wire);
        let _ = client::Signal::decode(bytes).map(signal_from_wire);
        let _ = client::Receipt::decode(bytes).map(receipt_from_wire);
        let _ = client::Subscribe::decode(bytes).map(subscribe_from_wire);
        let _ = client::Wish::decode(bytes).map(wish_from_wire);
        let _ = client::Wishes::decode(bytes).map(wishes_from_wire);
    }
}

#[test]
fn presence_is_told_with_since_when() {
    let of = AccountId::from_bytes(&[7; 16]).unwrap();
    let told = |presence| match sent(&presence_to_wire(of, presence)).kind {
        Some(client::signal::Kind::Presence(told)) => {
            assert_eq!(told.account, of.to_bytes()[..]);
            (told.state(), told.last_seen_ms)
        }
        other => panic!("{other:?}"),
    };
    use client::presence::State;
    assert_eq!(told(Presence::Online), (State::Online, 0));
    assert_eq!(told(Presence::Offline(WallMs(77))), (State::Offline, 77));
    assert_eq!(told(Presence::Hidden), (State::Hidden, 0));
}

#[test]
fn a_signal_of_a_later_version_is_nothing() {
    assert_eq!(signal_from_wire(client::Signal { kind: None }), Ok(None));
    let away = client::signal::Kind::Away(client::Away { away: true });
    let away = signal_from_wire(client::Signal { kind: Some(away) });
    assert_eq!(away, Ok(Some(FromClient::Away(true))));
}

#[test]
fn what_nobody_knows_is_refused_rather_than_guessed() {
    let kind = Some(client::wish::Kind::Presence(9));
    let refused = Err(FormatError::OutOfBounds("audience"));
    assert_eq!(wish_from_wire(client::Wish { kind }), refused);
    assert_eq!(wish_from_wire(client::Wish { kind: None }), Err(FormatError::Missing("wish")));
    let about = client::About { act: 9, ..client::About::default() };
    assert_eq!(about_from_wire(about), Err(FormatError::OutOfBounds("act")));
    let fetch = fetch_from_wire(client::Fetch::default());
    assert_eq!(fetch, Err(FormatError::Missing("conversation")));
}

#[test]
fn lists_are_bounded() {
    let mark = client::Mark {
        conversation: Some(address_to_wire(Address::Account(
            AccountId::from_bytes(&[7; 16]).unwrap(),
        ))),
        ..client::Mark::default()
    };
    let marks = |count| client::Receipt { marks: vec![mark.clone(); count], version: 0 };
    assert!(receipt_from_wire(marks(limits::MARKS_MAX)).is_ok());
    let many = receipt_from_wire(marks(limits::MARKS_MAX + 1));
    assert_eq!(many, Err(FormatError::OutOfBounds("marks")));
    let account = Bytes::from_static(&[7; 16]);
    let accounts = vec![account; limits::WATCHED_MAX + 1];
    let many = subscribe_from_wire(client::Subscribe { accounts });
    assert_eq!(many, Err(FormatError::OutOfBounds("accounts")));
}

/// A page has what a delivery of the same places has.
#[test]
fn a_page_has_messages_as_a_delivery_has_them() {
    let id = |byte| AccountId::from_bytes(&[byte; 16]).unwrap();
    let (account, ann) = (id(7), id(8));
    let about = About {
        act: Act::Edit,
        author: ann,
        msg_id: MsgId([3; 16]),
        clock: Hlc(5),
        place: ConvSeq(0),
    };
    let item = |place: u64, (sender, to)| {
        let message = Message {
            sender,
            sender_device: DeviceNo(1),
            client_seq: ClientSeq(place),
            msg_id: MsgId([9; 16]),
            to: Address::Account(to),
            bodies: Bodies::Shared(Bytes::from_static(b"text")),
            expires_at_ms: 77,
            clock: Hlc(place),
            about: Some(about),
            group: None,
        };
        let content = InboxContent::Message(Arc::new(message));
        InboxItem { seq: InboxSeq(place), clock: Hlc(place + 1), content }
    };
    let items = [item(9, (ann, account)), item(8, (account, ann))];
    let page = sent(&page_to_wire(account, DeviceNo(2), &items, None));
    assert_eq!(page.next, None);
    let places: BTreeSet<_> = page.entries.iter().map(|entry| entry.inbox_seq).collect();
    assert_eq!(places, BTreeSet::from([8, 9]));
    let delivered = sent(&deliver_to_wire(account, DeviceNo(2), &items)).entries;
    let paged: Vec<_> = page.entries.into_iter().filter_map(|entry| entry.entry).collect();
    assert_eq!(paged, delivered);
    let abouts = paged.into_iter().map(|entry| match entry.kind {
        Some(client::inbox_entry::Kind::Incoming(incoming)) => incoming.about,
        Some(client::inbox_entry::Kind::Sent(sent)) => sent.about,
        other => panic!("{other:?}"),
    });
    for found in abouts {
        assert_eq!(found.map(about_from_wire), Some(Ok(about)));
    }
}

/// One such number in the log would stop every flush of its shard.
#[test]
fn what_the_store_cannot_hold_is_refused() {
    let beyond = 1 << 63;
    let about = client::About {
        act: client::about::Act::Delete.into(),
        author: bytes_of([1; 16]),
        msg_id: bytes_of([2; 16]),
        clock: beyond,
        place: 0,
    };
    assert_eq!(about_from_wire(about.clone()), Err(FormatError::OutOfBounds("clock")));
    let about = client::About { clock: 0, place: beyond, ..about };
    assert_eq!(about_from_wire(about), Err(FormatError::OutOfBounds("place")));
    for (clock, inbox_seq) in [(beyond, 0), (0, beyond)] {
        let conversation =
            address_to_wire(Address::Account(AccountId::from_bytes(&[3; 16]).unwrap()));
        let fetch = client::Fetch {
            conversation: Some(conversation),
            before: Some(client::HistoryPoint { clock, inbox_seq }),
            limit: 1,
            behind: None,
        };
        assert!(matches!(fetch_from_wire(fetch), Err(FormatError::OutOfBounds(_))));
    }
}

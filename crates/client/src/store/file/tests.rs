//! What a journal survives, and what it refuses.

use bytes::Bytes;
use iris_core::clock::Hlc;
use iris_core::group::Change;
use iris_core::id::{AccountId, DeviceId, DeviceNo, GroupId, MsgId};
use iris_core::message::{About, Act, Address};
use iris_core::seq::{ClientSeq, ConvSeq, InboxSeq};
use iris_proto::client as wire;
use iris_proto::client_frames::{ToldPlace, address_to_wire};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::key::Seed;
use crate::place::{Content, Incoming, Place, Sent};
use crate::store::{Login, Tokens};

const MAX: HistoryMax = HistoryMax { messages: 50, bytes: 1024 * 1024 };

fn account(n: u8) -> AccountId {
    AccountId::from_bytes(&[n; 16]).unwrap()
}

fn login() -> Vec<Record> {
    let login = Login {
        handle: "ada".into(),
        tenant: "default".into(),
        account: account(1),
        device: DeviceNo(1),
        device_name: "laptop".into(),
    };
    let tokens = Tokens { access: "a".into(), access_until_ms: 9, refresh: "r".into() };
    let key = Record::Key(Seed::from_bytes(&[5; 32]).unwrap());
    vec![key, Record::Login(login), Record::Tokens(tokens)]
}

fn send(n: u64, body: &[u8]) -> Record {
    let send = wire::Send {
        client_seq: n,
        msg_id: vec![u8::try_from(n).unwrap(); 16].into(),
        to: Some(address_to_wire(Address::Account(account(2)))),
        body: Bytes::copy_from_slice(body),
        ..wire::Send::default()
    };
    Record::Bound { client_seq: ClientSeq(n), send: send.encode_to_vec().into() }
}

fn incoming(seq: u64) -> Place {
    let content = Content::Incoming(Incoming {
        sender: DeviceId { account: account(2), device: DeviceNo(1) },
        msg_id: MsgId([1; 16]),
        body: vec![b'x'; 100].into(),
        expires_at_ms: 0,
        clock: Hlc(seq),
        about: None,
        in_group: None,
    });
    Place { seq: InboxSeq(seq), clock_ms: seq, content }
}

fn placed(seqs: impl Iterator<Item = u64>) -> Record {
    Record::Placed { stream_gen: 1, places: seqs.map(incoming).collect() }
}

fn reopened(directory: &Path) -> State {
    FileStore::open(directory, MAX).unwrap().state().clone()
}

#[test]
fn everything_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = FileStore::open(directory.path(), MAX).unwrap();
    store.append(login(), true).unwrap();
    store.append(vec![send(1, b"one"), send(2, b"two")], true).unwrap();
    store.append(vec![placed(1..4), Record::Decided { upto: ClientSeq(1) }], true).unwrap();
    let before = store.state().clone();
    drop(store);
    let after = reopened(directory.path());
    assert_eq!(after, before);
    assert_eq!(after.cursor, InboxSeq(3));
    assert_eq!(after.next_client_seq, ClientSeq(3));
    assert_eq!(after.undecided.len(), 1);
    assert_eq!(after.login.unwrap().handle, "ada");
}

fn in_group(seq: u64, place: u64) -> Place {
    let mut found = incoming(seq);
    let Content::Incoming(message) = &mut found.content else { panic!() };
    message.in_group = Some(Box::new(ToldPlace {
        group: GroupId::from_bytes(&[9; 16]).unwrap(),
        place: ConvSeq(place),
        change: (place == 3).then(|| Change::Add(vec![account(1)])),
        pulls: place >= 5,
    }));
    found
}

#[test]
fn how_far_groups_are_is_there_after_a_restart_and_a_rewrite() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = FileStore::open(directory.path(), MAX).unwrap();
    store.append(login(), true).unwrap();
    let listed = Record::Groups { listed: true, holes: 0, known: Vec::new() };
    let places = (1..).zip(3..=5).map(|(seq, place)| in_group(seq, place)).collect();
    store.append(vec![listed, Record::Placed { stream_gen: 1, places }], true).unwrap();
    let messages: Vec<_> = (6..200).map(|place| in_group(0, place)).collect();
    store.append(vec![Record::Logged { messages }], true).unwrap();
    let before = store.state().clone();
    let known = *before.groups.get(GroupId::from_bytes(&[9; 16]).unwrap()).unwrap();
    assert_eq!((known.last, known.pulls, known.gaps), (ConvSeq(199), Some(ConvSeq(5)), 0));
    assert_eq!(before.logged.len(), MAX.messages, "the newest of them");
    drop(store);
    assert_eq!(reopened(directory.path()), before);
    // A rewritten journal has fewer messages, and knows as much.
    let mut again = State::new(MAX);
    before.records().for_each(|record| again.apply(record));
    assert_eq!(again, before);
}

#[test]
fn a_deleted_message_of_a_log_leaves_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = FileStore::open(directory.path(), MAX).unwrap();
    store.append(login(), true).unwrap();
    let places = (1..).zip(3..=5).map(|(seq, place)| in_group(seq, place)).collect();
    store.append(vec![Record::Placed { stream_gen: 1, places }], true).unwrap();
    let mut deletes = in_group(0, 7);
    let Content::Incoming(message) = &mut deletes.content else { panic!() };
    (message.msg_id, message.body) = (MsgId([2; 16]), Bytes::new());
    message.about = Some(About {
        act: Act::Delete,
        author: account(2),
        msg_id: MsgId([1; 16]),
        clock: Hlc(6),
        place: ConvSeq(6),
    });
    let messages = vec![in_group(0, 6), deletes];
    store.append(vec![Record::Logged { messages }], true).unwrap();
    let bodies = store.state().logged.iter().map(|place| match &place.content {
        Content::Incoming(message) => message.body.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(bodies.collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn the_own_body_comes_back_with_the_copy() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = FileStore::open(directory.path(), MAX).unwrap();
    store.append(login(), true).unwrap();
    store.append(vec![send(1, b"hello")], true).unwrap();
    let copy = Sent {
        device: DeviceNo(1),
        client_seq: ClientSeq(1),
        msg_id: MsgId([1; 16]),
        to: Address::Account(account(2)),
        body: Bytes::new(),
        expires_at_ms: 0,
        clock: Hlc(1),
        about: None,
    };
    let place = Place { seq: InboxSeq(1), clock_ms: 1, content: Content::Sent(copy) };
    store.append(vec![Record::Decided { upto: ClientSeq(1) }], false).unwrap();
    store.append(vec![Record::Placed { stream_gen: 1, places: vec![place] }], true).unwrap();
    let newest = store.state().newest(1, |_| true);
    let Content::Sent(sent) = &newest[0].content else { panic!("{newest:?}") };
    assert_eq!(sent.body, "hello");
}

#[test]
fn a_second_process_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path(), MAX).unwrap();
    let second = FileStore::open(directory.path(), MAX);
    assert!(matches!(second, Err(StoreError::Locked(_))), "{second:?}");
    drop(store);
    FileStore::open(directory.path(), MAX).unwrap();
}

#[test]
fn a_torn_tail_is_dropped_wherever_it_was_torn() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = FileStore::open(directory.path(), MAX).unwrap();
    store.append(login(), true).unwrap();
    let good = store.state().clone();
    let end = usize::try_from(store.journal_bytes).unwrap();
    store.append(vec![send(1, b"torn")], true).unwrap();
    drop(store);
    let path = directory.path().join(JOURNAL);
    let whole = fs::read(&path).unwrap();
    for cut in end..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(reopened(directory.path()), good, "cut at {cut}");
        assert_eq!(fs::read(&path).unwrap().len(), end, "what was torn is gone");
    }
    let mut holes = whole;
    holes[end + 2..].fill(0);
    fs::write(&path, &holes).unwrap();
    assert_eq!(reopened(directory.path()), good, "blocks that never reached the disk");
}

#[test]
fn a_damaged_middle_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = FileStore::open(directory.path(), MAX).unwrap();
    store.append(login(), true).unwrap();
    store.append(vec![send(1, b"one")], true).unwrap();
    drop(store);
    let path = directory.path().join(JOURNAL);
    let mut bytes = fs::read(&path).unwrap();
    bytes[40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let opened = FileStore::open(directory.path(), MAX);
    assert!(matches!(opened, Err(StoreError::Damaged { .. })), "{opened:?}");
    fs::write(&path, b"iris client journal 2\n...").unwrap();
    let opened = FileStore::open(directory.path(), MAX);
    assert!(matches!(opened, Err(StoreError::TooNew(_))), "{opened:?}");
}

#[test]
fn a_long_journal_is_rewritten_to_what_it_adds_up_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = FileStore::open(directory.path(), MAX).unwrap();
    store.append(login(), true).unwrap();
    store.append(vec![send(1, b"undecided")], true).unwrap();
    for round in 0..400u64 {
        store.append(vec![placed(round * 50 + 1..round * 50 + 51)], false).unwrap();
    }
    assert!(store.journal_bytes < 2 * REWRITE_ABOVE_BYTES, "{}", store.journal_bytes);
    let before = store.state().clone();
    assert_eq!(before.history.len(), MAX.messages);
    drop(store);
    assert_eq!(reopened(directory.path()), before);
}

#[test]
fn only_its_owner_may_read_a_store() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("profile");
    let _store = FileStore::open(&inner, MAX).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    assert_eq!(mode(&inner.join(JOURNAL)), 0o600);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is appended and wherever a crash cuts the last batch: what is found is the state after
    /// some whole batch, and never less than what was durable.
    #[test]
    fn a_crash_loses_at_most_what_nobody_relied_on(
        batches in proptest::collection::vec((0u8..4, any::<bool>()), 1..12),
        cut in 0usize..400,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = FileStore::open(directory.path(), MAX).unwrap();
        let (mut next, mut place) = (1, 1);
        let mut states = vec![(store.journal_bytes, store.state().clone())];
        let mut durable_bytes = store.journal_bytes;
        for (kind, durable) in batches {
            let records = match kind {
                0 => login(),
                1 => { next += 1; vec![send(next - 1, b"body")] }
                2 => { place += 3; vec![placed(place - 3..place)] }
                _ => vec![Record::Decided { upto: ClientSeq(next - 1) }],
            };
            store.append(records, durable).unwrap();
            states.push((store.journal_bytes, store.state().clone()));
            if durable {
                durable_bytes = store.journal_bytes;
            }
        }
        let total = store.journal_bytes;
        drop(store);
        let end = total.saturating_sub(cut as u64).max(durable_bytes);
        let path = directory.path().join(JOURNAL);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(end).unwrap();
        let expected = states.iter().rev().find(|(at, _)| *at <= end).map(|(_, state)| state);
        let found = reopened(directory.path());
        prop_assert_eq!(Some(&found), expected);
    }
}

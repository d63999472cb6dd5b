//! What is in the tables after a flush, whole and broken.

use std::sync::Arc;

use iris_core::account::{InboxContent, InboxItem};
use iris_core::clock::{Hlc, LogicalTimestamp};
use iris_core::group::{Group, InGroup, Member, Place, Reach, Role, stamp};
use iris_core::id::{AccountId, GroupId, ShardCount, ShardId, TenantNo};
use iris_core::mark::Mark;
use iris_core::message::{Address, Bodies, Message, Parcel};
use iris_core::seq::{ConvSeq, Epoch, HomeGen, InboxSeq, OutboxSeq, ShardSeq};
use iris_core::shard::{
    AccountRow, Erasure, Flush, GroupRow, InboxRun, IndexRow, LogErasure, LogRow, MarkRow,
    OutboxItem, OutboxRow, PeerRow,
};
use iris_store::{Checkpoint, DerivedStore as _, LogStore as _, ShardRef, StoreError};
use iris_testing::Cassandra;

use crate::raw;

const SHARD: ShardRef = ShardRef { shard: ShardId::new(7), home_gen: HomeGen(0) };
const PEER: ShardId = ShardId::new(9);

fn at(epoch: u32, pos: u64) -> LogicalTimestamp {
    LogicalTimestamp::new(HomeGen(0), Epoch(epoch), ShardSeq(pos))
}

fn account() -> AccountId {
    let count = ShardCount::new(1024).unwrap();
    AccountId::in_shard(SHARD.shard, count, TenantNo(0), 4711)
}

fn group() -> GroupId {
    let count = ShardCount::new(1024).unwrap();
    GroupId::in_shard(SHARD.shard, count, TenantNo(0), 815)
}

/// A message to a group whose inboxes do not hold bodies.
fn said(place: u64, size: usize) -> Arc<Message> {
    let place = Place { seq: ConvSeq(place), reach: Reach::Apart };
    Arc::new(Message {
        sender: account(),
        sender_device: iris_core::id::DeviceNo(1),
        client_seq: iris_core::seq::ClientSeq(1),
        msg_id: iris_core::id::MsgId([5; 16]),
        to: Address::Group(group()),
        bodies: Bodies::Shared(vec![7; size].into()),
        expires_at_ms: 0,
        clock: Hlc(1),
        about: None,
        group: Some(Box::new(InGroup { place: Some(place), ..InGroup::default() })),
    })
}

fn item(seq: u64, epoch: u32) -> OutboxRow {
    let notice = iris_core::message::Notice {
        account: account(),
        device: iris_core::id::DeviceNo(1),
        client_seq: iris_core::seq::ClientSeq(1),
        msg_id: iris_core::id::MsgId([0; 16]),
        code: iris_core::code::Code::NoConversation,
    };
    let item = OutboxItem {
        seq: OutboxSeq(seq),
        pos: ShardSeq(seq),
        queued_at: iris_core::clock::WallMs(1),
        parcel: Parcel::Notice(notice),
    };
    OutboxRow { to: PEER, item, timestamp: at(epoch, seq) }
}

fn peer(confirmed: u64, epoch: u32, pos: u64) -> PeerRow {
    PeerRow {
        peer: PEER,
        out_next: OutboxSeq(10),
        out_confirmed: OutboxSeq(confirmed),
        in_next: OutboxSeq(1),
        pos: ShardSeq(pos),
        forget_items: true,
        timestamp: at(epoch, pos),
    }
}

/// One row of everything.
fn flush(epoch: u32, pos: u64) -> (Flush, Checkpoint) {
    let place = InboxItem { seq: InboxSeq(1), clock: Hlc(1), content: InboxContent::Hole };
    let state = iris_core::account::Account::new(ShardSeq(pos));
    let timestamp = at(epoch, pos);
    let conversation = Address::Account(account());
    let (clock, mark) = (Hlc(1), Mark { read: Hlc(1), version: 1, ..Mark::default() });
    let index = IndexRow { account: account(), conversation, clock, place: InboxSeq(1), timestamp };
    let members = vec![(account(), Some(Member { role: Role::Admin, since: ConvSeq(1) }))];
    let flush = Flush {
        accounts: vec![AccountRow {
            account: account(),
            state,
            relations: true,
            memberships: true,
            timestamp,
        }],
        inbox: vec![InboxRun { account: account(), items: vec![place], timestamp }],
        index: vec![index],
        marks: vec![MarkRow { account: account(), with: account(), mark }],
        groups: vec![GroupRow { group: group(), state: Group::empty(), members, timestamp }],
        logs: vec![LogRow {
            group: group(),
            message: said(1, 50),
            timestamp: stamp::whole(HomeGen(0)),
        }],
        peers: vec![peer(0, epoch, pos)],
        outbox: vec![item(1, epoch), item(2, epoch)],
        ..Flush::empty(ShardSeq(pos + 1), ShardSeq(pos), Hlc(1), timestamp)
    };
    let block = iris_core::seq::BlockSeq(pos);
    let checkpoint =
        Checkpoint { epoch: Epoch(epoch), pos: ShardSeq(pos), block, clock: flush.clock };
    (flush, checkpoint)
}

/// The tables a flush writes, in its order.
const TABLES: [&str; 10] = [
    "group_log",
    "inbox",
    "conversation_index",
    "conversation_mark",
    "outbox",
    "account_state",
    "group_member",
    "group_state",
    "shard_peer",
    "shard_checkpoint",
];

/// A step that cannot be written, for want of its table, leaves the steps after it undone.
async fn broken_at(missing: &str, written: &[&str], untouched: &[&str]) {
    Box::pin(break_at(missing, written, untouched)).await;
}

async fn break_at(missing: &str, written: &[&str], untouched: &[&str]) {
    let node = Cassandra::shared().await.unwrap();
    let keyspace = format!("broken_at_{missing}");
    let store = node.store(&keyspace).await.unwrap();
    let session = raw::session(node).await;
    raw::run(&session, &format!("DROP TABLE {keyspace}.{missing}")).await;
    let (flush, checkpoint) = flush(1, 40);
    let error = store.materialize(SHARD, &flush, checkpoint).await.unwrap_err();
    assert!(matches!(error, StoreError::Schema(_)), "{error:?}");
    for table in TABLES.iter().filter(|table| **table != missing) {
        let rows = raw::count(&session, &format!("{keyspace}.{table}")).await;
        if written.contains(table) {
            assert!(rows > 0, "{table} has no row");
        }
        if untouched.contains(table) {
            assert_eq!(rows, 0, "{table} was written before {missing}");
        }
    }
}

/// What follows once everything is durable that it points to.
const LATER: [&str; 5] =
    ["account_state", "group_member", "group_state", "shard_peer", "shard_checkpoint"];

#[tokio::test]
async fn nothing_points_to_a_run_or_a_body_that_is_not_durable() {
    for table in ["inbox", "group_log"] {
        broken_at(table, &[], &LATER).await;
    }
}

#[tokio::test]
async fn no_account_is_ahead_of_its_history_or_its_marks() {
    broken_at("conversation_index", &[], &LATER).await;
    broken_at("conversation_mark", &[], &["account_state", "shard_checkpoint"]).await;
}

#[tokio::test]
async fn nothing_counts_an_item_that_is_not_durable() {
    broken_at("outbox", &[], &LATER).await;
}

#[tokio::test]
async fn no_checkpoint_promises_an_account_or_a_group_that_is_not_durable() {
    let before = ["group_log", "inbox", "conversation_index", "outbox"];
    broken_at("account_state", &before, &["conversation_mark", "shard_checkpoint"]).await;
    broken_at("group_state", &before, &["shard_checkpoint"]).await;
}

/// Whoever replays the log adds no member to a group that is past that position.
#[tokio::test]
async fn no_group_is_ahead_of_its_roster() {
    broken_at("group_member", &["group_log", "inbox"], &["group_state", "shard_checkpoint"]).await;
}

#[tokio::test]
async fn a_body_that_is_apart_is_stored_once() {
    let node = Cassandra::shared().await.unwrap();
    let store = node.store("apart").await.unwrap();
    let session = raw::session(node).await;
    let (first, checkpoint) = flush(1, 40);
    let message = said(3, 10_000);
    let members = (0..100).map(|random| {
        let count = ShardCount::new(1024).unwrap();
        let item = InboxItem {
            seq: InboxSeq(1),
            clock: Hlc(1),
            content: InboxContent::Message(message.clone()),
        };
        let account = AccountId::in_shard(SHARD.shard, count, TenantNo(0), random);
        InboxRun { account, items: vec![item], timestamp: at(1, 40) }
    });
    let timestamp = stamp::whole(HomeGen(0));
    let logs = vec![LogRow { group: group(), message: message.clone(), timestamp }];
    let flush = Flush { inbox: members.collect(), logs, ..first };
    store.materialize(SHARD, &flush, checkpoint).await.unwrap();
    let runs = raw::rows::<(Vec<u8>,)>(&session, "SELECT run FROM apart.inbox").await;
    assert_eq!(runs.len(), 100);
    let longest = runs.iter().map(|(run,)| run.len()).max().unwrap();
    assert!(longest < 300, "a run of {longest} bytes");
    let logged = raw::rows::<(Vec<u8>,)>(&session, "SELECT message FROM apart.group_log").await;
    assert!(logged.len() == 1 && logged[0].0.len() > 10_000);
    let bodies = store.inbox(flush.inbox[5].account, InboxSeq(0), InboxSeq(9), usize::MAX).await;
    assert_eq!(bodies.unwrap(), flush.inbox[5].items);

    let erasure = LogErasure {
        group: group(),
        place: ConvSeq(3),
        author: message.sender,
        msg_id: message.msg_id,
        timestamp: stamp::erased(HomeGen(0)),
    };
    let erasing = Flush { log_erasures: vec![erasure], ..flush };
    store.materialize(SHARD, &erasing, checkpoint).await.unwrap();
    let logged = raw::rows::<(Vec<u8>,)>(&session, "SELECT message FROM apart.group_log").await;
    assert!(logged.len() == 1 && logged[0].0.len() < 300, "the body is still there");
}

/// A place of the account's inbox, with a message that it wrote to itself.
fn noted(place: u64) -> (InboxItem, IndexRow, Erasure) {
    let conversation = Address::Account(account());
    let (clock, place, timestamp) = (Hlc(place), InboxSeq(place), at(1, 40));
    let message = Arc::unwrap_or_clone(said(place.0, 100));
    let message = Message { to: conversation, clock, group: None, ..message };
    let erasure = Erasure {
        account: account(),
        conversation,
        clock,
        author: message.sender,
        msg_id: message.msg_id,
        timestamp: at(1, 50),
    };
    let item = InboxItem { seq: place, clock, content: InboxContent::Message(Arc::new(message)) };
    (item, IndexRow { account: account(), conversation, clock, place, timestamp }, erasure)
}

/// What a deletion meets and cannot understand is told, stays as it is, and fails no flush. A message in
/// a row beside it is hidden, and comes back neither then nor once the row is repaired.
#[tokio::test]
async fn damaged_rows_fail_no_flush_that_deletes() {
    let node = Cassandra::shared().await.unwrap();
    let store = node.store("damaged").await.unwrap();
    let session = raw::session(node).await;
    let (first, checkpoint) = flush(1, 40);
    let places: Vec<_> = (1..=80).map(noted).collect();
    let run = |from: usize, upto: usize| InboxRun {
        account: account(),
        items: places[from - 1..upto].iter().map(|(item, ..)| item.clone()).collect(),
        timestamp: at(1, 40),
    };
    let index = places.iter().map(|(_, index, _)| *index).collect();
    let logs = vec![LogRow { message: said(3, 100), ..first.logs[0].clone() }];
    let inbox = vec![run(1, 80), run(10, 20)];
    let written = Flush { inbox, index, logs, ..first };
    assert_eq!(store.materialize(SHARD, &written, checkpoint).await.unwrap(), []);
    let whole = "SELECT run, WRITETIME(run) FROM damaged.inbox WHERE first = 10 ALLOW FILTERING";
    let (kept, stamp_of_kept) = raw::rows::<(Vec<u8>, i64)>(&session, whole).await[0].clone();
    let broken = |stamp: i64| {
        format!("UPDATE damaged.inbox USING TIMESTAMP {stamp} SET run = 0xffffffff")
            + &format!(
                " WHERE account = {} AND bucket = 0 AND first = 10",
                hex(&account().to_bytes())
            )
    };
    raw::run(&session, &broken(stamp_of_kept + 1)).await;
    raw::run(
        &session,
        &format!(
            // Of two cells of one timestamp the one that expires last counts.
            "UPDATE damaged.group_log USING TIMESTAMP {} AND TTL 300000000 SET message = 0xffffffff \
             WHERE group = {} AND bucket = 0 AND place = 3",
            stamp::whole(HomeGen(0)).get(),
            hex(&group().to_bytes())
        ),
    )
    .await;

    let log_erasure = LogErasure {
        group: group(),
        place: ConvSeq(3),
        author: account(),
        msg_id: iris_core::id::MsgId([5; 16]),
        timestamp: stamp::erased(HomeGen(0)),
    };
    let (second, checkpoint) = flush(1, 50);
    let erasing = Flush {
        inbox: Vec::new(),
        index: Vec::new(),
        logs: Vec::new(),
        erasures: vec![places[11].2, places[69].2],
        log_erasures: vec![log_erasure],
        ..second
    };
    for _ in 0..2 {
        let damaged = store.materialize(SHARD, &erasing, checkpoint).await.unwrap();
        let told: Vec<_> = damaged.iter().map(|row| row.table.name()).collect();
        assert_eq!(told, ["inbox", "group_log"], "{damaged:?}");
        assert_eq!(raw::count(&session, "damaged.inbox").await, 5, "and the hole");
    }
    let found = store.checkpoint(SHARD.shard).await.unwrap();
    assert_eq!(found.map(|found| found.pos), Some(ShardSeq(50)));

    // Somebody repairs the row.
    let repair = broken(stamp_of_kept + 2).replace("0xffffffff", &hex(&kept));
    raw::run(&session, &repair).await;
    let read = store.inbox(account(), InboxSeq(0), InboxSeq(80), usize::MAX).await.unwrap();
    let holes = read.iter().filter(|item| item.content == InboxContent::Hole);
    assert_eq!(holes.map(|item| item.seq.0).collect::<Vec<_>>(), [12, 70]);
    assert_eq!(read.len(), 80, "no neighbour is lost");
}

/// Bytes, as CQL has them.
fn hex(bytes: &[u8]) -> String {
    format!("0x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// What a flush costs a cluster: requests, most of them of one partition each.
#[tokio::test]
async fn a_flush_is_a_few_requests_for_each_account() {
    let node = Cassandra::shared().await.unwrap();
    let store = node.store("requests").await.unwrap();
    for (people, expected) in [(1, 32), (5, 72)] {
        let (flush, checkpoint) = busy_flush(people);
        let before = store.requests();
        store.materialize(SHARD, &flush, checkpoint).await.unwrap();
        let found = store.requests() - before;
        eprintln!("10 accounts with 5 messages of {people} people each: {found} requests");
        assert_eq!(found, expected);
    }
}

/// Ten accounts that got five messages each, with marks of every conversation.
fn busy_flush(people: u64) -> (Flush, Checkpoint) {
    let (first, checkpoint) = flush(1, 40);
    let timestamp = at(1, 40);
    let mut flush = Flush {
        accounts: Vec::new(),
        inbox: Vec::new(),
        index: Vec::new(),
        marks: Vec::new(),
        groups: Vec::new(),
        logs: Vec::new(),
        outbox: Vec::new(),
        peers: vec![PeerRow { forget_items: false, ..peer(0, 1, 40) }],
        ..first
    };
    let count = ShardCount::new(1024).unwrap();
    let id = |number: u64| AccountId::in_shard(SHARD.shard, count, TenantNo(0), number.into());
    for account in (1000..1010).map(id) {
        let state = iris_core::account::Account::new(ShardSeq(40));
        let (relations, memberships) = (false, false);
        flush.accounts.push(AccountRow { account, state, relations, memberships, timestamp });
        let item = |seq| InboxItem {
            seq: InboxSeq(seq),
            clock: Hlc(seq),
            content: InboxContent::Message(said(seq, 100)),
        };
        flush.inbox.push(InboxRun { account, items: (1..=5).map(item).collect(), timestamp });
        for seq in 1..=5 {
            let (conversation, clock) = (Address::Account(id(seq % people)), Hlc(seq));
            let place = InboxSeq(seq);
            flush.index.push(IndexRow { account, conversation, clock, place, timestamp });
        }
        for with in (0..people).map(id) {
            let mark = Mark { own_read: Hlc(7), delivered: Hlc(9), read: Hlc(9), version: 3 };
            flush.marks.push(MarkRow { account, with, mark });
        }
    }
    (flush, checkpoint)
}

#[tokio::test]
async fn no_item_is_deleted_before_it_is_counted_as_confirmed() {
    let node = Cassandra::shared().await.unwrap();
    let store = node.store("confirmed").await.unwrap();
    let session = raw::session(node).await;
    let (first, checkpoint) = flush(1, 40);
    store.materialize(SHARD, &first, checkpoint).await.unwrap();
    assert_eq!(raw::count(&session, "confirmed.outbox").await, 2);

    raw::run(&session, "DROP TABLE confirmed.shard_peer").await;
    let (second, checkpoint) = flush(1, 50);
    let confirming = Flush { peers: vec![peer(2, 1, 50)], outbox: Vec::new(), ..second };
    store.materialize(SHARD, &confirming, checkpoint).await.unwrap_err();
    assert_eq!(raw::count(&session, "confirmed.outbox").await, 2, "deleted too early");
    let found = store.checkpoint(SHARD.shard).await.unwrap();
    assert_eq!(found.map(|found| found.pos), Some(ShardSeq(40)), "promised too early");
}

#[tokio::test]
async fn confirmed_items_are_deleted_for_good_and_others_are_not() {
    let node = Cassandra::shared().await.unwrap();
    let store = node.store("deleted").await.unwrap();
    let session = raw::session(node).await;
    let write = async |flush: Flush, checkpoint| {
        store.materialize(SHARD, &flush, checkpoint).await.unwrap();
        let rows = raw::rows::<(i64,)>(&session, "SELECT seq FROM deleted.outbox").await;
        rows.into_iter().map(|(seq,)| seq).collect::<Vec<_>>()
    };
    let (first, checkpoint) = flush(1, 40);
    assert_eq!(write(first.clone(), checkpoint).await, [1, 2]);
    let (second, later) = flush(2, 50);
    let confirming = Flush { peers: vec![peer(1, 2, 50)], outbox: Vec::new(), ..second.clone() };
    assert_eq!(write(confirming, later).await, [2]);
    // The deposed owner's flush lands late: what was deleted stays so by its timestamp.
    assert_eq!(write(first, checkpoint).await, [2]);
    let more = Flush { peers: vec![peer(1, 2, 50)], outbox: vec![item(3, 2)], ..second };
    assert_eq!(write(more, later).await, [2, 3]);
}

#[tokio::test]
async fn partitions_of_an_inbox_are_bounded() {
    let node = Cassandra::shared().await.unwrap();
    let store = node.store("bounded").await.unwrap();
    let session = raw::session(node).await;
    let places = (1..=2500).map(|seq| InboxItem {
        seq: InboxSeq(seq),
        clock: Hlc(1),
        content: InboxContent::Hole,
    });
    let (first, checkpoint) = flush(1, 40);
    let run = InboxRun { account: account(), items: places.collect(), timestamp: at(1, 40) };
    let flush = Flush { inbox: vec![run], ..first };
    store.materialize(SHARD, &flush, checkpoint).await.unwrap();
    let cql = "SELECT bucket, first FROM bounded.inbox";
    let rows = raw::rows::<(i64, i64)>(&session, cql).await;
    assert!(rows.iter().all(|(bucket, first)| *bucket == first / 1024));
    for bucket in 0..=2 {
        let rows = rows.iter().filter(|row| row.0 == bucket).count();
        assert!((1..=33).contains(&rows), "{rows} rows in partition {bucket}");
    }
}

#[tokio::test]
async fn a_chunk_is_a_partition() {
    let node = Cassandra::shared().await.unwrap();
    let store = node.store("chunks").await.unwrap();
    let session = raw::session(node).await;
    let lane = iris_core::id::LaneId {
        session: iris_core::id::SessionId::from_random([3; 16]),
        lane: iris_core::id::LaneNo(0),
    };
    for seq in [0, 4095, 4096, 12_287] {
        store.open_chunk(lane, seq / 4096).await.unwrap();
        let row = iris_store::LogRow {
            seq: iris_core::seq::BlockSeq(seq),
            prev: iris_core::block::ChainHash::START,
            block: bytes::Bytes::from_static(b"block"),
        };
        store.append(lane, &row).await.unwrap();
    }
    let cql = "SELECT chunk, seq FROM chunks.session_log";
    let mut rows = raw::rows::<(i32, i64)>(&session, cql).await;
    rows.sort_unstable();
    assert_eq!(rows, [(0, 0), (0, 4095), (1, 4096), (2, 12_287)]);
}

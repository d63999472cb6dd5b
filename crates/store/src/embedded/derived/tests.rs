//! Rows that cannot be understood, and erasures that meet them.

use iris_core::account::InboxContent;
use iris_core::group::{InGroup, Place, Reach, stamp};
use iris_core::id::{DeviceNo, MsgId, TenantNo};
use iris_core::message::{Address, Bodies};
use iris_core::seq::{ClientSeq, ConvSeq, Epoch, HomeGen};
use iris_core::shard::{Erasure, InboxRun, IndexRow, LogErasure, LogRow};

use crate::Table;

use super::*;

const SHARD: ShardRef = ShardRef { shard: ShardId::new(7), home_gen: HomeGen(0) };
const PLANTED: &[u8] = &[0xff; 9];

fn at(pos: u64) -> LogicalTimestamp {
    LogicalTimestamp::new(HomeGen(0), Epoch(1), ShardSeq(pos))
}

fn account() -> AccountId {
    AccountId::from_bytes(&[1; 16]).unwrap()
}

fn group() -> GroupId {
    let count = iris_core::id::ShardCount::new(1024).unwrap();
    GroupId::in_shard(SHARD.shard, count, TenantNo(0), 815)
}

fn said(place: u8, to: Address) -> Arc<Message> {
    let in_group = Place { seq: ConvSeq(place.into()), reach: Reach::Pull };
    let in_group = InGroup { place: Some(in_group), ..InGroup::default() };
    Arc::new(Message {
        sender: account(),
        sender_device: DeviceNo(1),
        client_seq: ClientSeq(place.into()),
        msg_id: MsgId([place; 16]),
        to,
        bodies: Bodies::Shared(Bytes::from_static(b"hello")),
        expires_at_ms: 0,
        clock: Hlc(place.into()),
        about: None,
        group: matches!(to, Address::Group(_)).then(|| Box::new(in_group)),
    })
}

fn flush(pos: u64) -> Flush {
    Flush::empty(ShardSeq(pos + 1), ShardSeq(pos), Hlc(pos), at(pos))
}

async fn write(store: &EmbeddedStore, flush: &Flush) -> Vec<DamagedRow> {
    let (epoch, block) = (Epoch(1), BlockSeq(0));
    let checkpoint = Checkpoint { epoch, pos: flush.checkpoint, block, clock: flush.clock };
    store.materialize(SHARD, flush, checkpoint).await.unwrap()
}

/// Three places of an inbox, and three of a group's log.
fn whole() -> Flush {
    let conversation = Address::Account(account());
    let places = || (1..=3_u8).map(|place| said(place, conversation));
    let item = |message: Arc<Message>| InboxItem {
        seq: InboxSeq(message.clock.0),
        clock: message.clock,
        content: InboxContent::Message(message),
    };
    let index = |message: Arc<Message>| IndexRow {
        account: account(),
        conversation,
        clock: message.clock,
        place: InboxSeq(message.clock.0),
        timestamp: at(10),
    };
    let log = |place| LogRow {
        group: group(),
        message: said(place, Address::Group(group())),
        timestamp: stamp::whole(HomeGen(0)),
    };
    let items = places().map(item).collect();
    Flush {
        inbox: vec![InboxRun { account: account(), items, timestamp: at(10) }],
        index: places().map(index).collect(),
        logs: (1..=3).map(log).collect(),
        ..flush(10)
    }
}

/// Deletes the second and the third of both.
fn erasing() -> Flush {
    let erasure = |place: u8| Erasure {
        account: account(),
        conversation: Address::Account(account()),
        clock: Hlc(place.into()),
        author: account(),
        msg_id: MsgId([place; 16]),
        timestamp: at(20),
    };
    let log_erasure = |place: u8| LogErasure {
        group: group(),
        place: ConvSeq(place.into()),
        author: account(),
        msg_id: MsgId([place; 16]),
        timestamp: stamp::erased(HomeGen(0)),
    };
    Flush {
        erasures: [2, 3].map(erasure).to_vec(),
        log_erasures: [2, 3].map(log_erasure).to_vec(),
        ..flush(20)
    }
}

fn inbox_at(disk: &Disk, place: u64) -> (LogicalTimestamp, Bytes) {
    stored(disk, &place_key(account(), InboxSeq(place))).unwrap().unwrap()
}

fn log_at(disk: &Disk, place: u64) -> (LogicalTimestamp, Bytes) {
    stored(disk, &groups::log_key(group(), ConvSeq(place))).unwrap().unwrap()
}

/// The flush is written; what could be erased is; what could not is told, by its row, and left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_meets_damaged_rows_is_written_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    assert!(write(&store, &whole()).await.is_empty());
    let disk = Arc::clone(&store.disk);
    let (first, log_first) = (inbox_at(&disk, 1), log_at(&disk, 1));
    let planted = || Packed::value().raw(&at(10).get().to_be_bytes()).raw(PLANTED);
    disk.put(&place_key(account(), InboxSeq(2)), planted()).unwrap();
    disk.put(&groups::log_key(group(), ConvSeq(2)), planted()).unwrap();

    for _ in 0..2 {
        let damaged = write(&store, &erasing()).await;
        let told: Vec<_> = damaged.iter().map(|row| (row.table, row.row.as_str())).collect();
        let place = format!("place 2 of account {}", account());
        let log_place = format!("place 2 of group {}", group());
        assert_eq!(told, [(Table::Inbox, place.as_str()), (Table::GroupLog, log_place.as_str())]);
        let checkpoint = store.checkpoint(SHARD.shard).await.unwrap();
        assert_eq!(checkpoint.map(|found| found.pos), Some(ShardSeq(20)), "the flush is written");
        assert_eq!((inbox_at(&disk, 1), log_at(&disk, 1)), (first.clone(), log_first.clone()));
        assert_eq!((&inbox_at(&disk, 2).1[..], &log_at(&disk, 2).1[..]), (PLANTED, PLANTED));
        let items = stored_rows::decode_inbox_run(inbox_at(&disk, 3).1).unwrap();
        assert_eq!(items[0].content, InboxContent::Hole);
        let message = stored_groups::decode_log_message(log_at(&disk, 3).1).unwrap();
        assert!(message.bodies != Bodies::Shared(Bytes::from_static(b"hello")), "{message:?}");
    }
}

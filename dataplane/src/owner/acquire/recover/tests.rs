#![allow(clippy::unwrap_used, reason = "a test says where it failed")]

use iris_core::block::{BlockHeader, ChainHash};
use iris_core::code::Code;
use iris_core::entry::{Op, Progress, Received};
use iris_core::group::Heir;
use iris_core::id::{DeviceNo, LaneNo, MsgId, SessionId, ShardCount, TenantNo};
use iris_core::message::{Address, Bodies, Message, Notice};
use iris_core::seq::{ClientSeq, HomeGen, InboxSeq, OutboxSeq};
use iris_core::shard::{Policy, ShardKey};
use iris_proto::{stored, stored_blocks};
use iris_runtime::clock::SystemClock;
use iris_runtime::metrics::Metrics;
use iris_store::embedded::EmbeddedStore;
use iris_store::{Cas, LogRow, SharedStore};
use prost::Message as _;
use tempfile::TempDir;

use super::super::super::config::OwnerConfig;
use super::super::super::inputs::Lanes;
use super::super::super::metrics::OwnerMetrics;
use super::*;

const DEAD: LaneId = LaneId { session: SessionId::from_random([1; 16]), lane: LaneNo(0) };

fn config() -> OwnerConfig {
    OwnerConfig {
        pod: "eu-owner-0".to_owned(),
        pod_uid: String::new(),
        node: String::new(),
        zone: String::new(),
        address: String::new(),
        lanes: 1,
        shard_count: ShardCount::new(64).unwrap(),
        home_gen: HomeGen(0),
        policy: Policy {
            history: false,
            rates: iris_core::rate::Rates::default(),
            groups: iris_core::group::Sizes::default(),
        },
        leave_for: std::time::Duration::ZERO,
        password_memory_kib: 8,
        version: String::new(),
    }
}

fn acquirer(store: &SharedStore) -> Acquirer {
    let metrics = OwnerMetrics::new(&Metrics::new());
    let (store, clock) = (Arc::clone(store), SystemClock::shared());
    let me = SessionId::from_random([2; 16]);
    Acquirer::new(me, Arc::new(config()), store, clock, Lanes::new(Vec::new()), metrics)
}

fn at(shard: u16) -> ShardRef {
    ShardRef { home_gen: HomeGen(0), shard: ShardId::new(shard) }
}

/// The session's blocks: one entry of a shard in each.
async fn write(store: &SharedStore, shards: &[u16]) {
    let mut prev = ChainHash::START;
    for (seq, shard) in (0..).zip(shards) {
        let entry = Entry {
            shard: ShardId::new(*shard),
            epoch: Epoch(1),
            seq: ShardSeq(1),
            clock: Hlc(1),
            op: Op::Progress(Progress::default()),
        };
        let block = stored_blocks::encode(BlockHeader::default(), &[entry]);
        let row = LogRow { seq: BlockSeq(seq), prev, block };
        prev = prev.after(&row.block);
        store.append(DEAD, &row).await.unwrap();
    }
}

/// The dead session claimed these from its first block on.
async fn claim(store: &SharedStore, shards: &[u16]) {
    for shard in shards {
        let row = EpochRow {
            epoch: Epoch(1),
            session: DEAD.session,
            lane: DEAD.lane,
            first_block: BlockSeq(0),
            released_block: None,
        };
        assert_eq!(store.claim(at(*shard), row).await.unwrap(), Cas::Applied);
    }
}

/// A shard that its session released early is recovered first; one that the session kept until it died
/// has its entries behind that release, in the same lane.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_was_released_early_hides_no_entry_of_another() {
    let directory = TempDir::new().unwrap();
    let store: SharedStore = Arc::new(EmbeddedStore::open(directory.path()).await.unwrap());
    store.open_session(DEAD.session, 1).await.unwrap();
    store.open_chunk(DEAD, 0).await.unwrap();
    write(&store, &[7, 8]).await;
    claim(&store, &[7, 8]).await;
    store.release(at(7), Epoch(1), BlockSeq(1)).await.unwrap();
    store.seal(DEAD, BlockSeq(2)).await.unwrap();
    let acquirer = acquirer(&store);
    for shard in [7, 8] {
        let recovered = acquirer.recover(at(shard), Epoch(2)).await.unwrap();
        let shards: Vec<_> = recovered.tail.iter().map(|entry| entry.shard).collect();
        assert_eq!(shards, [ShardId::new(shard)], "the entry of shard {shard}");
    }
}

/// A group that the tail changes is read before the replay: one that has no rows yet is known to have
/// none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_groups_of_the_tail_are_read() {
    let directory = TempDir::new().unwrap();
    let store: SharedStore = Arc::new(EmbeddedStore::open(directory.path()).await.unwrap());
    let group = GroupId::from_bytes(&[5; 16]).unwrap();
    let message = Message {
        sender: AccountId::from_bytes(&[1; 16]).unwrap(),
        sender_device: DeviceNo(1),
        client_seq: ClientSeq(1),
        msg_id: MsgId([1; 16]),
        to: Address::Group(group),
        bodies: Bodies::Shared(bytes::Bytes::new()),
        expires_at_ms: 0,
        clock: Hlc(1),
        about: None,
        group: None,
    };
    let outcome =
        Received::Ordered { message: Arc::new(message), targets: Vec::new(), heir: Heir::Nobody };
    let entry = Entry {
        shard: ShardId::new(7),
        epoch: Epoch(1),
        seq: ShardSeq(1),
        clock: Hlc(1),
        op: Op::Received { from: ShardId::new(8), outbox_seq: OutboxSeq(1), outcome },
    };
    let groups = acquirer(&store).groups(&[entry]).await.unwrap();
    assert_eq!(groups, BTreeMap::from([(group, None)]));
}

/// An entry that cannot be understood stops its own shard, with words that say where it is; not the
/// others of its lane, and not its shard once a checkpoint is behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_cannot_be_understood_stops_its_shard_alone() {
    let directory = TempDir::new().unwrap();
    let store: SharedStore = Arc::new(EmbeddedStore::open(directory.path()).await.unwrap());
    store.open_session(DEAD.session, 1).await.unwrap();
    store.open_chunk(DEAD, 0).await.unwrap();
    let entry = |shard, seq, op| stored::Entry { shard, epoch: 1, seq, clock: 1, op };
    let progress = || Some(stored::entry::Op::Progress(stored::Progress::default()));
    let entries = vec![entry(7, 1, progress()), entry(7, 2, None), entry(8, 1, progress())];
    let block =
        stored::Block { version: stored_blocks::BLOCK_VERSION, entries, ..Default::default() };
    let block = block.encode_to_vec().into();
    let row = LogRow { seq: BlockSeq(0), prev: ChainHash::START, block };
    store.append(DEAD, &row).await.unwrap();
    claim(&store, &[7, 8]).await;
    store.seal(DEAD, BlockSeq(1)).await.unwrap();
    let acquirer = acquirer(&store);
    let error = acquirer.recover(at(7), Epoch(2)).await.unwrap_err();
    assert!(!error.is_retryable() && error.is_of_the_log());
    let words = error.to_string();
    for part in [DEAD.to_string(), "block 0".to_owned(), "position 2 of shard 7".to_owned()] {
        assert!(words.contains(&part), "{words}");
    }
    assert_eq!(acquirer.recover(at(8), Epoch(2)).await.unwrap().tail.len(), 1);
    let tail = acquirer.lane_tail(DEAD, BlockSeq(1));
    let behind =
        tail.await.unwrap().of_shard(ShardId::new(7), BlockSeq(0), |_, seq| seq > ShardSeq(2));
    assert!(behind.unwrap().is_empty(), "rows have it");
}

/// An entry over which the core panics stops its shard as one that cannot be understood does, with words
/// that say where it is; not the others of its lane.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_panics_stops_its_shard_alone() {
    let directory = TempDir::new().unwrap();
    let store: SharedStore = Arc::new(EmbeddedStore::open(directory.path()).await.unwrap());
    store.open_session(DEAD.session, 1).await.unwrap();
    store.open_chunk(DEAD, 0).await.unwrap();
    let account = AccountId::in_shard(ShardId::new(7), config().shard_count, TenantNo(0), 1);
    let entry = |shard, seq, op| {
        let (shard, seq) = (ShardId::new(shard), ShardSeq(seq));
        Entry { shard, epoch: Epoch(1), seq, clock: Hlc(1), op }
    };
    // The inbox of an account that was just made has no place 4.
    let outcome = Received::Noticed {
        inbox_seq: InboxSeq(5),
        notice: Notice {
            account,
            device: DeviceNo(1),
            client_seq: ClientSeq(1),
            msg_id: MsgId([1; 16]),
            code: Code::NoConversation,
        },
    };
    let noticed = Op::Received { from: ShardId::new(8), outbox_seq: OutboxSeq(1), outcome };
    let entries = [
        entry(7, 1, Op::AccountCreated { account }),
        entry(7, 2, noticed),
        entry(8, 1, Op::Progress(Progress::default())),
    ];
    let block = stored_blocks::encode(BlockHeader::default(), &entries);
    let row = LogRow { seq: BlockSeq(0), prev: ChainHash::START, block };
    store.append(DEAD, &row).await.unwrap();
    claim(&store, &[7, 8]).await;
    store.seal(DEAD, BlockSeq(1)).await.unwrap();
    let acquirer = acquirer(&store);
    let key = |shard| ShardKey {
        id: ShardId::new(shard),
        count: config().shard_count,
        home_gen: HomeGen(0),
        epoch: Epoch(2),
    };
    let recovered = acquirer.recover(at(7), Epoch(2)).await.unwrap();
    let error = acquirer.replay(key(7), recovered).unwrap_err();
    assert!(!error.is_retryable() && error.is_of_the_log());
    let words = error.to_string();
    let place = format!("position 2 of epoch 1 ({DEAD}, block 0)");
    for part in ["shard 7", &place, "an inbox is dense"] {
        assert!(words.contains(part), "{words}");
    }
    let recovered = acquirer.recover(at(8), Epoch(2)).await.unwrap();
    assert_eq!(acquirer.replay(key(8), recovered).unwrap().next_seq(), ShardSeq(2));
}

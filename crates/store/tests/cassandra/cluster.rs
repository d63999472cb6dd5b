//! Three nodes with three copies of everything: one may fail, and no two may disagree.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use iris_core::block::ChainHash;
use iris_core::id::{LaneId, LaneNo, SessionId, ShardId};
use iris_core::seq::{BlockSeq, Epoch, HomeGen};
use iris_core::takeover::EpochRow;
use iris_store::cassandra::CassandraStore;
use iris_store::conformance;
use iris_store::{
    ControlStore as _, HealthStore as _, LogRow, LogStore as _, ShardRef, StoreError,
};
use iris_testing::{Cassandra, CassandraOptions};
use tokio::time::{Instant, sleep};

/// Long enough for the nodes to find out who is gone.
const SETTLE: Duration = Duration::from_secs(90);

fn session(number: u8) -> SessionId {
    SessionId::from_random([number; 16])
}

fn block(seq: u64) -> LogRow {
    let prev = ChainHash::START.after(&seq.to_be_bytes());
    LogRow { seq: BlockSeq(seq), prev, block: Bytes::from(vec![7; 100]) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_lose_one_without_a_trace_and_two_without_a_lie() {
    let nodes = NonZeroUsize::new(3).unwrap();
    let options = CassandraOptions { nodes, ..CassandraOptions::default() };
    let mut cluster = Cassandra::start(options).await.unwrap();
    let store = store_of(&cluster).await;
    let report = store.report().await.unwrap();
    assert_eq!((report.replication, report.development_only.len()), (3, 0), "{report:?}");
    conformance::run(&store, 1).await.verdict().unwrap();

    cluster.kill(2);
    settled(&store).await;
    conformance::run(&store, 2).await.verdict().unwrap();
    reads_meet_writes(&mut cluster, &store).await;
    a_paused_node_is_left_out(&cluster, &store).await;
    without_a_quorum_nothing_is_said_to_have_failed_that_may_have_happened(&mut cluster, &store)
        .await;
}

/// The nodes listen before they know each other.
async fn store_of(cluster: &Cassandra) -> CassandraStore {
    let deadline = Instant::now() + SETTLE;
    loop {
        match cluster.store("cluster").await {
            Ok(store) => {
                settled(&store).await;
                return store;
            }
            Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Waits until writes of every kind were answered for a while.
async fn settled(store: &CassandraStore) {
    let deadline = Instant::now() + SETTLE;
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        let lane = LaneId { session: SessionId::from_random(random()), lane: LaneNo(0) };
        let answers = tokio::join!(
            store.fence(lane.session, lane.session),
            store.tail(lane, 1),
            store.seal(lane, BlockSeq(1)),
        );
        if answers.0.is_err() || answers.1.is_err() || answers.2.is_err() {
            since = Instant::now();
        }
        assert!(Instant::now() < deadline, "{answers:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn random() -> [u8; 16] {
    uuid::Uuid::new_v4().into_bytes()
}

/// What a quorum took while one node was down, another quorum knows.
async fn reads_meet_writes(cluster: &mut Cassandra, store: &CassandraStore) {
    let lane = LaneId { session: session(1), lane: LaneNo(0) };
    store.open_chunk(lane, 0).await.unwrap();
    let rows: Vec<_> = (0..40).map(block).collect();
    for row in &rows {
        store.append(lane, row).await.unwrap();
    }
    store.fence(lane.session, session(2)).await.unwrap();
    store.seal(lane, BlockSeq(40)).await.unwrap();

    cluster.restart(2).await.unwrap();
    settled(store).await;
    cluster.kill(1);
    settled(store).await;
    // Node 0 has them, node 2 was down: one of the two would not be enough for a lesser read.
    for _ in 0..10 {
        assert_eq!(store.tail(lane, 100).await.unwrap(), rows);
        assert_eq!(store.fenced(lane.session).await.unwrap(), Some(session(2)));
        assert_eq!(store.sealed(lane).await.unwrap(), Some(BlockSeq(40)));
    }
    cluster.restart(1).await.unwrap();
    settled(store).await;
}

/// A node that keeps its connections and answers nothing delays a request at most once.
async fn a_paused_node_is_left_out(cluster: &Cassandra, store: &CassandraStore) {
    let lane = LaneId { session: session(8), lane: LaneNo(0) };
    store.open_chunk(lane, 0).await.unwrap();
    cluster.pause(1).unwrap();
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    for seq in 0.. {
        let one = Instant::now();
        // A block goes to another node when the first one says nothing.
        while let Err(error) = store.append(lane, &block(seq)).await {
            assert!(error.is_retryable(), "{error:?}");
            assert!(one.elapsed() < Duration::from_secs(10), "{error:?}");
        }
        writes.push(one.elapsed());
        let one = Instant::now();
        while let Err(error) = store.fenced(session(1)).await {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
            assert!(one.elapsed() < Duration::from_secs(10), "{error:?}");
        }
        reads.push(one.elapsed());
        if begun.elapsed() > Duration::from_secs(12) {
            break;
        }
    }
    cluster.resume(1).unwrap();
    for (what, took) in [("writes", &mut writes), ("reads", &mut reads)] {
        took.sort_unstable();
        let slow = took.iter().filter(|took| **took > Duration::from_millis(800)).count();
        let (count, worst) = (took.len(), took[took.len() - 1]);
        let p50 = took[count / 2];
        eprintln!("{count} {what} beside a paused node: p50 {p50:?}, {slow} slow, worst {worst:?}");
        assert!(count > 100 && slow <= 12, "{count} {what}, {slow} slow");
    }
    settled(store).await;
}

/// While two of three are gone, nothing succeeds; and what was said to have had no effect has none
/// when they are back.
async fn without_a_quorum_nothing_is_said_to_have_failed_that_may_have_happened(
    cluster: &mut Cassandra,
    store: &CassandraStore,
) {
    cluster.kill(1);
    cluster.kill(2);
    let begun = Instant::now();
    let (mut claims, mut blocks) = (BTreeMap::new(), BTreeMap::new());
    let lane = LaneId { session: session(9), lane: LaneNo(0) };
    let definite = |outcomes: &BTreeMap<u16, Result<_, StoreError>>| {
        let definite =
            |outcome: &&Result<_, StoreError>| matches!(outcome, Err(StoreError::Unavailable(_)));
        outcomes.values().filter(definite).count()
    };
    for number in 20_000.. {
        let shard = ShardRef { shard: ShardId::new(number), home_gen: HomeGen(0) };
        let row = EpochRow {
            epoch: Epoch(1),
            session: session(9),
            lane: LaneNo(0),
            first_block: BlockSeq(0),
            released_block: None,
        };
        let block = block(u64::from(number));
        let (claim, append, read) = tokio::join!(
            store.claim(shard, row),
            store.append(lane, &block),
            store.fenced(session(1)),
        );
        assert!(claim.is_err() && append.is_err(), "{claim:?}, {append:?}");
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        claims.insert(number, claim.map(drop));
        blocks.insert(number, append);
        let enough = definite(&claims) >= 20 && definite(&blocks) >= 20;
        if enough || begun.elapsed() > SETTLE {
            break;
        }
    }
    assert!(definite(&claims) >= 20, "no claim was refused definitely: {claims:?}");
    assert!(definite(&blocks) >= 20, "no write was refused definitely: {blocks:?}");

    cluster.restart(1).await.unwrap();
    cluster.restart(2).await.unwrap();
    settled(store).await;
    for (number, outcome) in &claims {
        let shard = ShardRef { shard: ShardId::new(*number), home_gen: HomeGen(0) };
        let head = store.epoch_head(shard).await.unwrap();
        let refused = matches!(outcome, Err(StoreError::Unavailable(_)));
        assert!(
            !refused || head.is_none(),
            "claim {number} was {outcome:?}, and there is {head:?}"
        );
    }
    store.open_chunk(lane, 20_000 / 4096).await.unwrap();
    for (number, outcome) in &blocks {
        let (from, end) = (BlockSeq(u64::from(*number)), BlockSeq(u64::from(*number) + 1));
        let found = store.read(lane, from, end, 1).await.unwrap();
        let refused = matches!(outcome, Err(StoreError::Unavailable(_)));
        assert!(!refused || found.is_empty(), "block {number} was {outcome:?}, and is there");
    }
    let unknown = claims.len() - definite(&claims);
    eprintln!("{} claims without a quorum: {unknown} unknown, the others definite", claims.len());
}

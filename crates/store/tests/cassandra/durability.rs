//! `kill -9` of Cassandra under load: every acknowledged row is there afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use iris_core::block::ChainHash;
use iris_core::clock::{Hlc, LogicalTimestamp};
use iris_core::id::{LaneId, LaneNo, SessionId, ShardId};
use iris_core::seq::{BlockSeq, Epoch, HomeGen, ShardSeq};
use iris_core::shard::Flush;
use iris_core::takeover::EpochRow;
use iris_store::cassandra::CassandraStore;
use iris_store::{
    Cas, Checkpoint, ControlStore as _, DerivedStore as _, LogRow, LogStore as _, ShardRef,
    StoreError,
};
use iris_testing::{Cassandra, CassandraOptions};
use tokio::time::{Instant, sleep, timeout};

/// What one writer was told before the lights went out.
#[derive(Debug, Default)]
struct Told {
    blocks: Vec<u64>,
    claims: Vec<EpochRow>,
    checkpoint: u64,
    unknown: usize,
}

fn lane(session: SessionId, writer: u8) -> LaneId {
    LaneId { session, lane: LaneNo(writer) }
}

fn block(writer: u8, seq: u64) -> LogRow {
    let text = format!("writer {writer}, block {seq}: ").repeat(16);
    let prev = ChainHash::START.after(text.as_bytes());
    LogRow { seq: BlockSeq(seq), prev, block: Bytes::from(text) }
}

fn shard(writer: u8) -> ShardRef {
    ShardRef { shard: ShardId::new(u16::from(writer)), home_gen: HomeGen(0) }
}

fn checkpoint(pos: u64) -> (Flush, Checkpoint) {
    let flush = Flush::empty(
        ShardSeq(pos + 1),
        ShardSeq(pos),
        Hlc(pos),
        LogicalTimestamp::new(HomeGen(0), Epoch(1), ShardSeq(pos)),
    );
    let checkpoint =
        Checkpoint { epoch: Epoch(1), pos: ShardSeq(pos), block: BlockSeq(pos), clock: Hlc(pos) };
    (flush, checkpoint)
}

/// Writes until the store fails.
async fn write(store: &CassandraStore, session: SessionId, writer: u8) -> Told {
    let mut told = Told::default();
    let lane = lane(session, writer);
    for round in 0.. {
        let outcome = async {
            if round == 0 {
                store.open_chunk(lane, 0).await?;
            }
            store.append(lane, &block(writer, round)).await?;
            told.blocks.push(round);
            if round % 8 == 0 {
                let epoch = Epoch(u32::try_from(told.claims.len()).unwrap() + 1);
                let row = EpochRow {
                    epoch,
                    session,
                    lane: lane.lane,
                    first_block: BlockSeq(round),
                    released_block: None,
                };
                assert_eq!(store.claim(shard(writer), row).await?, Cas::Applied);
                told.claims.push(row);
                let (flush, checkpoint) = checkpoint(round + 1);
                store.materialize(shard(writer), &flush, checkpoint).await?;
                told.checkpoint = round + 1;
            }
            Ok(())
        };
        match outcome.await {
            Ok(()) => {}
            Err(StoreError::Unknown(_)) => {
                told.unknown += 1;
                return told;
            }
            Err(StoreError::Unavailable(_)) => return told,
            Err(other) => panic!("{other:?}"),
        }
    }
    told
}

/// Counts what of it is not there.
async fn missing(store: &CassandraStore, session: SessionId, told: &BTreeMap<u8, Told>) -> usize {
    let mut missing = 0;
    for (writer, told) in told {
        let lane = lane(session, *writer);
        let rows = store.read(lane, BlockSeq(0), BlockSeq(u64::MAX), usize::MAX).await.unwrap();
        let rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.seq.0, row)).collect();
        let absent = |seq: &&u64| rows.get(*seq) != Some(&block(*writer, **seq));
        missing += told.blocks.iter().filter(absent).count();
        let epochs = store.epochs_from(shard(*writer), Epoch(1)).await.unwrap();
        missing += told.claims.iter().filter(|row| !epochs.contains(row)).count();
        let checkpoint = store.checkpoint(shard(*writer).shard).await.unwrap();
        let position = checkpoint.map_or(0, |checkpoint| checkpoint.pos.0);
        missing += usize::from(position < told.checkpoint);
    }
    missing
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_the_kill_of_cassandra() {
    let mut node = Cassandra::start(CassandraOptions::default()).await.unwrap();
    let store = node.store("durable").await.unwrap();
    let session = SessionId::from_random([5; 16]);
    let mut told = BTreeMap::new();
    {
        let writers = join_all((0..16).map(|writer| write(&store, session, writer)));
        let killer = async {
            sleep(Duration::from_secs(3)).await;
            node.kill(0);
        };
        let (writers, ()) = tokio::join!(timeout(Duration::from_secs(60), writers), killer);
        told.extend((0..16).zip(writers.expect("a writer hangs after the kill")));
    }
    let blocks: usize = told.values().map(|told| told.blocks.len()).sum();
    let claims: usize = told.values().map(|told| told.claims.len()).sum();
    let unknown: usize = told.values().map(|told| told.unknown).sum();
    assert!(blocks > 1000 && claims > 100, "too little load: {blocks} blocks, {claims} claims");
    assert!(unknown > 0, "the kill interrupted nobody");

    node.restart(0).await.unwrap();
    let fresh = node.store("durable").await.unwrap();
    assert_eq!(missing(&fresh, session, &told).await, 0, "of {blocks} blocks, {claims} claims");
    the_old_store_comes_back(&store, session).await;
    eprintln!("{blocks} blocks, {claims} claims acknowledged; {unknown} outcomes unknown");
}

/// A store that lost its only node finds it again by itself.
async fn the_old_store_comes_back(store: &CassandraStore, session: SessionId) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = store.fence(session, session).await {
        assert!(error.is_retryable(), "{error:?}");
        assert!(Instant::now() < deadline, "still {error:?}");
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(store.fenced(session).await.unwrap(), Some(session));
}

/// The commit of a block: its write, and the read of the fence after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_takes_milliseconds() {
    let node = Cassandra::shared().await.unwrap();
    let store = node.store("latency").await.unwrap();
    let session = SessionId::from_random([6; 16]);
    let lane = lane(session, 0);
    store.open_chunk(lane, 0).await.unwrap();
    let mut took = Vec::new();
    for seq in 0..600 {
        let begun = Instant::now();
        store.append(lane, &block(0, seq)).await.unwrap();
        let written = begun.elapsed();
        assert_eq!(store.fenced(session).await.unwrap(), None);
        took.push((begun.elapsed(), written));
    }
    // The first ones warm a cold Java up.
    let mut took = took.split_off(200);
    took.sort_unstable();
    let at = |percent: usize| took[took.len() * percent / 100];
    eprintln!("commit, and the write in it: p50 {:?}, p99 {:?}", at(50), at(99));
    assert!(at(50).0 < Duration::from_millis(100), "p50 {:?}", at(50));
}

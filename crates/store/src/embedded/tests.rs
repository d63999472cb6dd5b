//! What is answered is on the disk.

use crate::{Checkpoint, DerivedStore as _, ShardRef, StoreError, conformance};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    let report = conformance::run(&store, 1).await;
    report.verdict().unwrap();
    assert_eq!(report.passed.len(), conformance::cases().len());
}

/// Nothing goes wrong, at once.
struct Fair;

impl Weather for Fair {
    fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    fn fate(&self, _: Access) -> Fate {
        Fate { after: std::time::Duration::ZERO, answer: Answer::Done }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_conforms() {
    let report = conformance::run(&EmbeddedStore::simulated(Fair), 1).await;
    report.verdict().unwrap();
    assert_eq!(report.passed.len(), conformance::cases().len());
}

/// Some writes are lost, and those who write know of them; everything takes a moment.
struct Lossy(std::sync::atomic::AtomicU64);

impl Weather for Lossy {
    fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    fn fate(&self, access: Access) -> Fate {
        let write = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let lost = access == Access::Write && write % 3 == 1;
        let answer = if lost { Answer::Lost } else { Answer::Done };
        Fate { after: std::time::Duration::ZERO, answer }
    }
}

#[tokio::test]
async fn a_flush_of_the_model_may_be_torn_and_its_checkpoint_is_last() {
    use iris_core::clock::{Hlc, LogicalTimestamp};
    use iris_core::id::ShardId;
    use iris_core::seq::{BlockSeq, Epoch, HomeGen, OutboxSeq, ShardSeq};
    use iris_core::shard::{Flush, PeerRow};

    let fair = EmbeddedStore::simulated(Fair);
    let lossy = fair.seen_in(Lossy(std::sync::atomic::AtomicU64::new(0)));
    let timestamp = LogicalTimestamp::from_stored(1);
    let peer = |peer| PeerRow {
        peer: ShardId::new(peer),
        out_next: OutboxSeq(1),
        out_confirmed: OutboxSeq(0),
        in_next: OutboxSeq(1),
        pos: ShardSeq(1),
        forget_items: false,
        timestamp,
    };
    let flush = Flush {
        peers: vec![peer(1), peer(2), peer(3)],
        ..Flush::empty(ShardSeq(1), ShardSeq(1), Hlc(1), timestamp)
    };
    let checkpoint =
        Checkpoint { epoch: Epoch(1), pos: ShardSeq(1), block: BlockSeq(1), clock: Hlc(1) };
    let shard = ShardRef { shard: ShardId::new(0), home_gen: HomeGen(0) };
    let torn = lossy.materialize(shard, &flush, checkpoint).await;
    assert!(matches!(torn, Err(StoreError::Unknown(_))), "{torn:?}");
    let peers = fair.peers(shard.shard).await.unwrap();
    assert!(!peers.is_empty() && peers.len() < 3, "all or nothing: {peers:?}");
    assert_eq!(fair.checkpoint(shard.shard).await.unwrap(), None);
    let counts = fair.counts().unwrap();
    assert_eq!(counts.torn_flushes.load(std::sync::atomic::Ordering::Relaxed), 1);
    fair.materialize(shard, &flush, checkpoint).await.unwrap();
    assert_eq!(fair.peers(shard.shard).await.unwrap().len(), 3);
    assert_eq!(fair.checkpoint(shard.shard).await.unwrap(), Some(checkpoint));
}

//! The session's fence reads: one for all lanes, whenever something waits for release, else once a
//! second.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use iris_core::clock::MonoUs;
use iris_core::id::SessionId;
use iris_core::limits;
use iris_core::seq::BlockSeq;
use iris_runtime::clock::SharedClock;
use iris_store::SharedStore;
use tokio::sync::{Notify, watch};

use super::metrics::OwnerMetrics;

/// A fenced lane says within this time what it released last.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A fence read that saw no fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sight {
    /// When it began.
    pub(super) begun: MonoUs,
    /// What the lane's cover was then.
    pub(super) cover: BlockSeq,
}

/// A lane, as the fence reader sees it.
#[derive(Debug)]
pub(super) struct Covered {
    /// The lane's cover, by the lane itself; closed when the lane has ended.
    pub(super) cover: watch::Receiver<BlockSeq>,
    /// What the lane learns; when it closes the lane ends.
    pub(super) sights: watch::Sender<Sight>,
}

/// Reads the fence until it is there; then the session is dead and the process must end.
pub(super) struct FenceReader {
    pub(super) session: SessionId,
    pub(super) store: SharedStore,
    pub(super) clock: SharedClock,
    pub(super) metrics: OwnerMetrics,
    /// Woken by lanes with something to release.
    pub(super) wanted: Arc<Notify>,
    pub(super) lanes: Vec<Covered>,
}

impl FenceReader {
    /// Answers who fenced the session.
    pub(super) async fn run(self) -> SessionId {
        loop {
            // Taken before the read begins: whatever becomes durable later waits for the next read.
            let begun = self.clock.now().mono;
            let covers: Vec<_> = self.lanes.iter().map(|lane| *lane.cover.borrow()).collect();
            let timer = self.metrics.fence_s.start_timer();
            let read = self.store.fenced(self.session).await;
            timer.observe_duration();
            match read {
                Ok(None) => {
                    self.metrics.fence_reads.with_label_values(&["none"]).inc();
                    self.tell(begun, &covers);
                    self.wait(&covers).await;
                }
                Ok(Some(by)) => {
                    self.metrics.fence_reads.with_label_values(&["fenced"]).inc();
                    self.end_lanes().await;
                    return by;
                }
                Err(error) => {
                    self.metrics.fence_reads.with_label_values(&["failed"]).inc();
                    tracing::warn!(%error, "the fence cannot be read; nothing is released");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Takes the sights away, without which a lane releases nothing, and waits until each lane said
    /// what it released last; not for one that hangs, as a fenced process has to end.
    async fn end_lanes(self) {
        let (covers, sights): (Vec<_>, Vec<_>) =
            self.lanes.into_iter().map(|lane| (lane.cover, lane.sights)).unzip();
        drop(sights);
        let ended = covers
            .into_iter()
            .map(|mut cover| async move { while cover.changed().await.is_ok() {} });
        if tokio::time::timeout(LAST_WORDS, join_all(ended)).await.is_err() {
            tracing::warn!("a fenced lane hangs");
        }
    }

    fn tell(&self, begun: MonoUs, covers: &[BlockSeq]) {
        for (lane, cover) in self.lanes.iter().zip(covers) {
            lane.sights.send_replace(Sight { begun, cover: *cover });
        }
    }

    /// Waits until a lane has more to release than the last read covered, or for the idle interval.
    async fn wait(&self, covers: &[BlockSeq]) {
        let idle = tokio::time::sleep(Duration::from_millis(limits::FENCE_READ_IDLE_MS / 2));
        tokio::pin!(idle);
        loop {
            let news = self.wanted.notified();
            let more = |(lane, cover): (&Covered, &BlockSeq)| *lane.cover.borrow() > *cover;
            if self.lanes.iter().zip(covers).any(more) {
                return;
            }
            tokio::select! {
                () = news => {}
                () = &mut idle => return,
            }
        }
    }
}

//! Acquiring a shard: claim its next epoch, recover its state, serve.

mod places;
mod recover;
mod replay;
mod suspects;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use iris_core::id::{LaneId, LaneNo, SessionId, ShardId};
use iris_core::seq::{BlockSeq, Epoch};
use iris_core::shard::{Recovered, ReplayError, ShardKey};
use iris_core::takeover::{Claimable, EpochRow, Reading, claimable};
use iris_runtime::clock::SharedClock;
use iris_store::{Cas, ShardRef, SharedStore, StoreError};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::config::OwnerConfig;
use super::inputs::{Ending, LaneInput, Lanes};
use super::metrics::OwnerMetrics;
use super::takeover::{LaneTail, TakeoverError, take_over};

use places::{Arrival, Places};
pub(super) use recover::Hot;

/// Why a shard is not acquired.
#[derive(Debug, thiserror::Error)]
pub(super) enum AcquireError {
    /// The store did not answer, or the log is unusable.
    #[error(transparent)]
    Takeover(#[from] TakeoverError),
    /// Another session has it, and nobody ordered to take it over.
    #[error("held by session {0}")]
    Held(SessionId),
    /// The log has a hole.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The core panicked over what was read: that shard stops, and someone must look.
    #[error("the replay of shard {shard} panicked at {entry}: {why}")]
    Panicked {
        /// Which shard.
        shard: ShardId,
        /// The entry, in words.
        entry: String,
        /// What the panic says.
        why: String,
    },
    /// Sessions panicked over it again and again: it stops, and someone must look.
    #[error(
        "{sessions} sessions of this version panicked over shard {shard} within a day: it waits for \
         another version, or for a day"
    )]
    Suspect {
        /// Which shard.
        shard: ShardId,
        /// How many.
        sessions: usize,
    },
    /// The session is ending.
    #[error(transparent)]
    Ending(#[from] Ending),
    /// It should not be here any more.
    #[error("it is not assigned here any more")]
    Unwanted,
    /// Too many others claim it.
    #[error("the claim was lost again and again")]
    Contended,
    /// It is not in the state that the caller expects.
    #[error("the shard is at epoch {found}, not {expected}")]
    WrongEpoch {
        /// What the caller expects.
        expected: Epoch,
        /// What is.
        found: Epoch,
    },
}

impl From<StoreError> for AcquireError {
    fn from(error: StoreError) -> Self {
        Self::Takeover(TakeoverError::Store(error))
    }
}

impl AcquireError {
    /// Whether what is stored cannot be understood, or contradicts itself.
    pub(super) fn is_of_the_log(&self) -> bool {
        match self {
            Self::Takeover(error) => !error.is_retryable(),
            Self::Replay(_) | Self::Panicked { .. } => true,
            Self::Held(_)
            | Self::Unwanted
            | Self::Suspect { .. }
            | Self::Ending(_)
            | Self::Contended
            | Self::WrongEpoch { .. } => false,
        }
    }

    /// Whether trying again can help.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Takeover(error) => error.is_retryable(),
            Self::Held(_) | Self::Unwanted | Self::Contended => true,
            Self::Replay(_)
            | Self::Panicked { .. }
            | Self::Suspect { .. }
            | Self::Ending(_)
            | Self::WrongEpoch { .. } => false,
        }
    }
}

/// When a shard is acquired.
#[derive(Clone, Copy)]
pub(super) enum Turn<'a> {
    /// At once: it is moved here, and its people wait.
    Now,
    /// Among others, as long as it should be here.
    Queued(&'a (dyn Fn() -> bool + Send + Sync)),
}

impl Turn<'_> {
    fn is_queued(self) -> bool {
        matches!(self, Self::Queued(_))
    }

    fn is_wanted(self) -> bool {
        match self {
            Self::Now => true,
            Self::Queued(is_wanted) => is_wanted(),
        }
    }
}

/// What is known of a shard before it is claimed.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// Its newest ownership.
    head: Option<EpochRow>,
    /// Where the lane of that ends, if it is decided.
    seal: Option<BlockSeq>,
    /// In what state it is, in a word.
    how: &'static str,
    /// Its owner died, and the end of the log has nothing of it: nobody wrote to it lately.
    is_quiet: bool,
}

/// How a shard was acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acquired {
    pub(super) epoch: Epoch,
    pub(super) how: &'static str,
}

/// What is done once, for all who ask at the same time; again when it failed.
type Once<T> = Arc<OnceCell<T>>;
/// Tails of lanes, each below an end.
type Tails = BTreeMap<(LaneId, BlockSeq), Once<Arc<LaneTail>>>;

/// Acquires shards for a session.
pub(super) struct Acquirer {
    pub(super) session: SessionId,
    pub(super) config: Arc<OwnerConfig>,
    pub(super) store: SharedStore,
    pub(super) clock: SharedClock,
    pub(super) lanes: Lanes,
    pub(super) metrics: OwnerMetrics,
    /// Where lanes of dead sessions end, each once that is decided. It never changes, and to ask for it
    /// costs a round of Paxos.
    ends: Mutex<BTreeMap<LaneId, Once<BlockSeq>>>,
    /// What was read of lanes, up to where shards of theirs that come here ended.
    tails: Mutex<Tails>,
    places: Places,
}

/// Claims that may be lost to others before giving up.
const CLAIMS_MAX: u32 = 5;
/// Reads after a claim of unknown outcome, besides the first.
const UNKNOWN_READS_MAX: u32 = 3;
/// Earlier ownerships that are looked at for what a dead session released.
const RELEASES_SEEN: u32 = 16;

impl Acquirer {
    pub(super) fn new(
        session: SessionId,
        config: Arc<OwnerConfig>,
        store: SharedStore,
        clock: SharedClock,
        lanes: Lanes,
        metrics: OwnerMetrics,
    ) -> Self {
        let (ends, tails) = (Mutex::default(), Mutex::default());
        let places = Places::new();
        Self { session, config, store, clock, lanes, metrics, ends, tails, places }
    }

    /// Claims a shard and serves it. Sessions in `dead` may be fenced for that, others may not.
    pub(super) async fn acquire(
        &self,
        shard: ShardId,
        dead: &BTreeSet<SessionId>,
        turn: Turn<'_>,
    ) -> Result<Acquired, AcquireError> {
        let timer = self.metrics.acquire_s.start_timer();
        let acquired = self.claim_and_serve(shard, dead, turn).await?;
        timer.observe_duration();
        self.metrics.acquired.with_label_values(&[acquired.how]).inc();
        let (epoch, how) = (acquired.epoch, acquired.how);
        tracing::info!(%shard, %epoch, how, "serving");
        Ok(acquired)
    }

    async fn claim_and_serve(
        &self,
        shard: ShardId,
        dead: &BTreeSet<SessionId>,
        turn: Turn<'_>,
    ) -> Result<Acquired, AcquireError> {
        let at = self.shard_ref(shard);
        let mut reading = Reading::Plain;
        // The plain reading is one more.
        for _ in 0..=CLAIMS_MAX {
            let arrival = turn.is_queued().then(|| self.places.arrive());
            let found = self.look(at, dead, reading, arrival.as_ref()).await?;
            let decided = claimable(self.session, (found.head.as_ref(), reading), found.seal);
            reading = Reading::Serial;
            let _place = match (decided, arrival) {
                (Claimable::Unclear, _) => continue,
                (Claimable::Held(row), _) => return Err(AcquireError::Held(row.session)),
                (Claimable::Yes { .. } | Claimable::Mine(_), Some(arrival)) => {
                    Some(arrival.claim(found.is_quiet).await)
                }
                (Claimable::Yes { .. } | Claimable::Mine(_), None) => None,
            };
            if !turn.is_wanted() {
                return Err(AcquireError::Unwanted);
            }
            let (epoch, first_block, how) = match decided {
                Claimable::Yes { epoch, .. } => match self.claim(at, epoch).await? {
                    Some(first_block) => (epoch, first_block, found.how),
                    None => continue,
                },
                // The claim's answer was lost: the row says that it is ours.
                Claimable::Mine(epoch) => {
                    (epoch, found.head.map_or(BlockSeq(0), |row| row.first_block), "mine")
                }
                Claimable::Unclear | Claimable::Held(_) => unreachable!("they have no place"),
            };
            self.recover_and_serve(at, epoch, first_block).await?;
            return Ok(Acquired { epoch, how });
        }
        Err(AcquireError::Contended)
    }

    /// Who had the shard last, and where that ended, if it did.
    async fn look(
        &self,
        at: ShardRef,
        dead: &BTreeSet<SessionId>,
        reading: Reading,
        arrival: Option<&Arrival<'_>>,
    ) -> Result<Found, AcquireError> {
        let head = {
            let _place = match arrival {
                Some(arrival) => arrival.look().await,
                None => None,
            };
            match reading {
                Reading::Plain => self.store.head_to_follow(at).await?,
                Reading::Serial => self.store.epoch_head(at).await?,
            }
        };
        let mut found = Found { head, seal: None, how: "fresh", is_quiet: false };
        let Some(row) = &head else { return Ok(found) };
        if row.released_block.is_some() {
            found.how = "released";
            return Ok(found);
        }
        found.how = "takeover";
        let lane = LaneId { session: row.session, lane: row.lane };
        if dead.contains(&row.session) {
            let end = self.take_over(at, row).await?;
            found.seal = Some(end);
            // A tail that cannot be read is for the recovery to judge.
            let tail = self.lane_tail(lane, end).await;
            found.is_quiet = tail.is_ok_and(|tail| tail.is_quiet(at.shard, row.first_block));
        } else if reading == Reading::Serial {
            found.seal = self.end_of_lane(lane).await?;
        }
        Ok(found)
    }

    async fn recover_and_serve(
        &self,
        at: ShardRef,
        epoch: Epoch,
        first_block: BlockSeq,
    ) -> Result<(), AcquireError> {
        let (recovered, suspects) =
            tokio::try_join!(self.recover(at, epoch), self.suspects(at.shard))?;
        self.serve(at.shard, epoch, first_block, (recovered, suspects)).await
    }

    /// Claims a shard that its owner just released to this session, with the state that it handed over.
    pub(super) async fn take_released(
        &self,
        shard: ShardId,
        released: Epoch,
        hot: Hot,
    ) -> Result<Acquired, AcquireError> {
        let at = self.shard_ref(shard);
        let epoch = released.next();
        // The source writes nothing more: what is read before the claim is what is there behind it.
        let (claimed, read, suspects) =
            tokio::join!(self.claim(at, epoch), self.recover_handed(at, hot), self.suspects(shard));
        let Some(first_block) = claimed? else {
            let head = self.store.epoch_head(at).await?;
            let found = head.map(|row| row.epoch).unwrap_or_default();
            return Err(AcquireError::WrongEpoch { expected: released, found });
        };
        self.serve(shard, epoch, first_block, (read?, suspects?)).await?;
        self.metrics.acquired.with_label_values(&["handed over"]).inc();
        Ok(Acquired { epoch, how: "handed over" })
    }

    /// Tries to claim an epoch; answers the block that the claim named when it is ours.
    async fn claim(&self, at: ShardRef, epoch: Epoch) -> Result<Option<BlockSeq>, AcquireError> {
        let lane = LaneNo::of_shard(at.shard, self.lanes.count());
        let first_block = self.lanes.of(at.shard).ask(LaneInput::NextBlock).await?;
        let row =
            EpochRow { epoch, session: self.session, lane, first_block, released_block: None };
        match self.store.claim(at, row).await {
            Ok(Cas::Applied) => Ok(Some(first_block)),
            Ok(Cas::Refused) => Ok(None),
            Err(StoreError::Unknown(why)) => {
                tracing::warn!(shard = %at.shard, why, "the outcome of a claim is unknown");
                let head = self.head_after_unknown(at).await?;
                let ours = |row: &EpochRow| row.epoch == epoch && row.session == self.session;
                Ok(head.filter(ours).map(|row| row.first_block))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A compare-and-swap whose outcome is unknown is resolved by reading, never by repeating. Not for
    /// ever: others wait for the place, and whoever comes next reads first anyway.
    async fn head_after_unknown(&self, at: ShardRef) -> Result<Option<EpochRow>, StoreError> {
        let mut tries = 0;
        loop {
            match self.store.epoch_head(at).await {
                Ok(head) => return Ok(head),
                Err(error) if tries == UNKNOWN_READS_MAX || !error.is_retryable() => {
                    return Err(error);
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
            tries += 1;
        }
    }

    /// Fences and seals a dead session, once for all shards of a lane, and answers where that ends.
    async fn take_over(&self, at: ShardRef, row: &EpochRow) -> Result<BlockSeq, AcquireError> {
        let (dead, lane) = (row.session, LaneId { session: row.session, lane: row.lane });
        let decided = self.decided(lane);
        let end = decided.get_or_try_init(|| async {
            // Another one may have done it, or this one for the shards of another lane.
            if let Some(end) = self.store.sealed(lane).await? {
                return Ok(end);
            }
            tracing::info!(session = %dead, "taking over");
            let promised = self.promised(at, row).await?;
            take_over(&self.store, dead, self.session, promised).await?;
            self.metrics.takeovers.inc();
            self.store.sealed(lane).await?.ok_or(AcquireError::Held(dead))
        });
        end.await.copied()
    }

    /// Where a lane ends, if that is decided.
    async fn end_of_lane(&self, lane: LaneId) -> Result<Option<BlockSeq>, StoreError> {
        let decided = self.decided(lane);
        if let Some(end) = decided.get() {
            return Ok(Some(*end));
        }
        let end = self.store.sealed(lane).await?;
        if let Some(end) = end {
            // Somebody else may just have said the same.
            let _same = decided.set(end);
        }
        Ok(end)
    }

    fn decided(&self, lane: LaneId) -> Once<BlockSeq> {
        Arc::clone(self.ends.lock().entry(lane).or_default())
    }

    /// What the dead session released of this shard earlier: its lane did not end below that.
    async fn promised(
        &self,
        at: ShardRef,
        row: &EpochRow,
    ) -> Result<BTreeMap<LaneNo, BlockSeq>, StoreError> {
        let from = Epoch(row.epoch.0.saturating_sub(RELEASES_SEEN));
        let mut promised: BTreeMap<LaneNo, BlockSeq> = BTreeMap::new();
        for earlier in self.store.epochs_between(at, from, row.epoch).await? {
            if let Some(block) = earlier.released_block.filter(|_| earlier.session == row.session) {
                let known = promised.entry(earlier.lane).or_default();
                *known = block.max(*known);
            }
        }
        Ok(promised)
    }

    async fn serve(
        &self,
        shard: ShardId,
        epoch: Epoch,
        first_block: BlockSeq,
        (recovered, suspects): (Recovered, BTreeSet<String>),
    ) -> Result<(), AcquireError> {
        let key = ShardKey {
            id: shard,
            count: self.config.shard_count,
            home_gen: self.config.home_gen,
            epoch,
        };
        let mut shard_state = Box::new(self.replay(key, recovered)?);
        shard_state.distrust(suspects);
        let lane = self.lanes.of(shard);
        lane.ask(|done| LaneInput::Serve { shard: shard_state, first_block, done }).await?;
        Ok(())
    }

    pub(super) fn shard_ref(&self, shard: ShardId) -> ShardRef {
        ShardRef { shard, home_gen: self.config.home_gen }
    }

    /// Forgets what was read of dead lanes: their shards have all found their owners.
    pub(super) fn forget_tails(&self) {
        self.tails.lock().clear();
        self.ends.lock().clear();
    }
}

//! A lane: the task that owns an engine, feeds it, and performs what it wants.
//!
//! Nothing here decides about the protocol, and nothing here waits for a stream, another lane or the
//! store: what they answer comes back as an input.

mod groups;
mod jobs;
mod links;
mod panicked;
mod perform;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use iris_core::block::ChainHash;
use iris_core::clock::MonoUs;
use iris_core::engine::{Action, Drained, Engine};
use iris_core::id::{LaneId, ShardId};
use iris_core::seq::BlockSeq;
use iris_core::shard::{Input, LinkNo, Token};
use iris_proto::peer::{ConfirmItem, OwnerItem};
use iris_runtime::clock::SharedClock;
use iris_store::SharedStore;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

use super::fence::Sight;
use super::inputs::{Answered, LaneInput, Question, Whereabouts};
use super::metrics::OwnerMetrics;
use super::outbox::Router;
use crate::queue::Queue;

use jobs::Done;
use links::Link;

/// Inputs taken at once: enough to fill a block, few enough to keep latency.
const INPUTS_AT_ONCE: usize = 64;
/// An idle lane writes an empty block so often, so that its tail never expires as a whole.
const KEEP_ALIVE: Duration = Duration::from_secs(3600);
/// How often gauges are set.
const GAUGES: Duration = Duration::from_secs(1);

/// What a lane works with.
pub(super) struct LaneDeps {
    pub(super) lane: LaneId,
    pub(super) lanes: u8,
    /// The program's.
    pub(super) version: String,
    pub(super) store: SharedStore,
    pub(super) clock: SharedClock,
    pub(super) metrics: OwnerMetrics,
    pub(super) router: Arc<Router>,
    /// Bounds the flushes that are written at once, over all lanes.
    pub(super) flush_permits: Arc<Semaphore>,
    /// Bounds the reads of accounts and inboxes at once, over all lanes.
    pub(super) load_permits: Arc<Semaphore>,
    /// Wakes the fence reader.
    pub(super) fence_wanted: Arc<Notify>,
    /// What the fence reader sees.
    pub(super) sights: watch::Receiver<Sight>,
    /// Tells the fence reader this lane's cover.
    pub(super) cover: watch::Sender<BlockSeq>,
    /// Gauges of this lane, for the process.
    pub(super) snapshot: watch::Sender<Option<iris_core::engine::Snapshot>>,
    pub(super) inputs: mpsc::Receiver<LaneInput>,
}

/// See the module.
pub(super) struct Lane {
    deps: LaneDeps,
    engine: Engine,
    /// The hash after the last formed block.
    hash: ChainHash,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    links: BTreeMap<LinkNo, Link>,
    sources: BTreeMap<LinkNo, Arc<Queue<ConfirmItem>>>,
    questions: BTreeMap<Token, oneshot::Sender<Answered>>,
    drains: BTreeMap<ShardId, oneshot::Sender<Drained>>,
    /// Where shards went that were served here, for stragglers.
    moved: BTreeMap<ShardId, Whereabouts>,
    next_token: u64,
    gauges_at: MonoUs,
}

impl Lane {
    pub(super) fn new(deps: LaneDeps) -> Self {
        let engine = Engine::new(deps.lanes);
        Self {
            deps,
            engine,
            hash: ChainHash::START,
            jobs: FuturesUnordered::new(),
            links: BTreeMap::new(),
            sources: BTreeMap::new(),
            questions: BTreeMap::new(),
            drains: BTreeMap::new(),
            moved: BTreeMap::new(),
            next_token: 0,
            gauges_at: MonoUs(0),
        }
    }

    /// Runs until nobody holds a handle of this lane.
    pub(super) async fn run(mut self) {
        let mut inputs = Vec::with_capacity(INPUTS_AT_ONCE);
        loop {
            let wait = self.until_next_tick();
            let (mut sight, mut done) = (false, None);
            tokio::select! {
                changed = self.deps.sights.changed() => {
                    if changed.is_err() {
                        return self.fenced().await;
                    }
                    sight = true;
                }
                Some(ended) = self.jobs.next() => done = Some(ended),
                taken = self.deps.inputs.recv_many(&mut inputs, INPUTS_AT_ONCE) => {
                    if taken == 0 {
                        return;
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
            let step = AssertUnwindSafe(|| self.step(sight, done, &mut inputs));
            if let Err(panic) = catch_unwind(step) {
                return self.panicked(panic).await;
            }
        }
    }

    fn step(&mut self, sight: bool, done: Option<Done>, inputs: &mut Vec<LaneInput>) {
        if sight {
            self.fence_read();
        }
        if let Some(done) = done {
            self.finish(done);
        }
        for input in inputs.drain(..) {
            self.take(input);
        }
        self.tick();
    }

    fn until_next_tick(&self) -> Duration {
        let now = self.deps.clock.now().mono;
        Duration::from_micros(self.engine.next_tick().us_since(now))
    }

    fn tick(&mut self) {
        let now = self.deps.clock.now();
        let mut actions = Vec::new();
        let idle = now.mono.us_since(self.engine.last_formed());
        if u128::from(idle) >= KEEP_ALIVE.as_micros() {
            self.engine.keep_alive(now, &mut actions);
        }
        self.engine.tick(now, &mut actions);
        self.perform(actions);
        self.show_cover();
        if now.mono >= self.gauges_at {
            self.gauges_at = MonoUs(now.mono.0 + GAUGES.as_micros() as u64);
            self.deps.snapshot.send_replace(Some(self.engine.snapshot(now.mono)));
        }
    }

    /// Tells the fence reader what is durable, and wakes it when that would release something.
    fn show_cover(&self) {
        let cover = self.engine.fence_cover();
        let changed = |shown: &mut BlockSeq| {
            let changed = *shown != cover;
            *shown = cover;
            changed
        };
        if self.deps.cover.send_if_modified(changed) {
            self.deps.fence_wanted.notify_one();
        }
    }

    fn fence_read(&mut self) {
        let sight = *self.deps.sights.borrow_and_update();
        let mut actions = Vec::new();
        let now = self.deps.clock.now();
        self.engine.fence_read(now, sight.begun, sight.cover, &mut actions);
        self.perform(actions);
    }

    /// The white-box trace of a session's end: all that this lane ever released lies below
    /// `released_below`, and the seal that the successor wrote may not be lower.
    ///
    /// Waits to be stopped: that the process ends, and why, is the fence reader's to say.
    async fn fenced(self) {
        let (lane, released_below) = (self.deps.lane, self.engine.released());
        tracing::warn!(%lane, %released_below, "fenced");
        drop(self);
        std::future::pending().await
    }

    fn take(&mut self, input: LaneInput) {
        match input {
            LaneInput::OpenLink { link, out } => self.open_link(link, out),
            LaneInput::CloseLink { link } => self.close_link(link),
            LaneInput::LinkCaughtUp { link } => self.link_caught_up(link),
            LaneInput::OpenSource { link, out } => {
                self.sources.insert(link, out);
            }
            LaneInput::Clients { link, inputs } => self.clients(link, inputs),
            LaneInput::Ask { shard, question, answer } => self.ask(shard, question, answer),
            LaneInput::Parcels { link, parcels } => self.parcels(link, parcels),
            LaneInput::Peers(news) => self.peers(news),
            LaneInput::Signals(signals) => self.signals(signals),
            LaneInput::PeersReady(shards) => self.peers_ready(&shards),
            LaneInput::NextBlock(answer) => {
                // A receiver that is gone gave up its claim.
                let _ = answer.send(self.engine.next_block());
            }
            LaneInput::Serve { shard, first_block, done } => {
                let mut actions = Vec::new();
                self.moved.remove(&shard.key().id);
                let now = self.deps.clock.now();
                self.engine.serve(now, *shard, first_block, &mut actions);
                self.perform(actions);
                let _ = done.send(());
            }
            LaneInput::Drain { shard, done } => self.drain(shard, done),
            LaneInput::CancelDrain { shard } => {
                self.drains.remove(&shard);
                self.engine.cancel_drain(shard);
            }
            LaneInput::Remove { shard, removed } => {
                self.moved.insert(shard, Whereabouts::default());
                let _ = removed.send(self.engine.remove(shard).map(Box::new));
            }
            LaneInput::Moved { shard, to } => {
                self.engine.released_shard(shard);
                self.tell_moved(shard, to);
            }
        }
    }

    fn feed(&mut self, shard: ShardId, input: Input) {
        let mut actions = Vec::new();
        self.engine.input(self.deps.clock.now(), shard, input, &mut actions);
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.perform_one(action);
        }
    }

    fn ask(&mut self, shard: ShardId, question: Question, answer: oneshot::Sender<Answered>) {
        if self.engine.shard(shard).is_none() {
            let _ = answer.send(Answered::NotServed);
            return;
        }
        self.next_token += 1;
        let token = Token(self.next_token);
        self.questions.insert(token, answer);
        let input = match question {
            Question::Open { account, key, name } => Input::Open { token, account, key, name },
            Question::OpenLinked { account, key } => Input::OpenLinked { token, account, key },
            Question::Refresh { account, device, generation } => {
                Input::Refresh { token, account, device, generation }
            }
        };
        self.feed(shard, input);
    }

    fn drain(&mut self, shard: ShardId, done: oneshot::Sender<Drained>) {
        let mut actions = Vec::new();
        self.drains.insert(shard, done);
        if !self.engine.drain(self.deps.clock.now(), shard, &mut actions) {
            self.drains.remove(&shard);
        }
        self.perform(actions);
    }

    fn peers_ready(&mut self, to: &[ShardId]) {
        let waiting: Vec<_> = self
            .engine
            .shards()
            .flat_map(|shard| shard.wanted_peers().into_iter().map(|peer| (shard.key().id, peer)))
            .filter(|(_, peer)| to.contains(peer))
            .collect();
        for (shard, to) in waiting {
            self.feed(shard, Input::PeerReady { to });
        }
    }

    /// Connections of clients, and sources, by their streams.
    fn out(&self, link: LinkNo) -> Option<&Arc<Queue<OwnerItem>>> {
        self.links.get(&link).map(|link| &link.out)
    }
}

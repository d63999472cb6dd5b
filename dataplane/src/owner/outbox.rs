//! The outbox between sessions: streams to the owners of other shards, and the service that takes
//! theirs. Whatever is dropped on the way is pushed again by its shard.

mod service;
mod stream;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use iris_core::id::{LaneNo, SessionId, ShardId};
use iris_core::shard::OutboxItem;
use iris_core::signal::Signal;
use iris_proto::peer::{PushItem, SignalItem};
use iris_proto::peer_signals::signal_to_peer;
use iris_proto::stored_rows::outbox_item_to_stored;
use iris_runtime::task::Tasks;
use iris_runtime::tls::Identity;
use parking_lot::Mutex;

use super::inputs::{Delivery, LaneInput, Lanes, PeerNews};
use crate::queue::{Pushed, Queue};
use crate::route::{Destination, Routes};

pub(super) use service::OutboxService;

/// Finds the way of each parcel: another lane of this session, or a stream to another session.
pub(super) struct Router {
    session: SessionId,
    routes: Arc<Routes>,
    identity: Identity,
    tasks: Tasks,
    lanes: OnceLock<Lanes>,
    streams: Mutex<Streams>,
}

type Streams = BTreeMap<(SessionId, LaneNo), Arc<Queue<ToPeer>>>;

/// What goes to another session.
#[expect(clippy::large_enum_variant, reason = "nearly all are pushes: no box for each")]
#[derive(Debug)]
enum ToPeer {
    Push(PushItem),
    Signal(SignalItem),
}

impl Router {
    pub(super) fn new(
        session: SessionId,
        routes: Arc<Routes>,
        identity: Identity,
        tasks: Tasks,
    ) -> Self {
        let streams = Mutex::new(BTreeMap::new());
        Self { session, routes, identity, tasks, lanes: OnceLock::new(), streams }
    }

    /// The session's lanes, once they exist.
    pub(super) fn set_lanes(&self, lanes: Lanes) {
        // Set once, by the process that made both.
        let _ = self.lanes.set(lanes);
    }

    /// Sends items on their way, or drops them where there is none now.
    pub(super) fn push(self: &Arc<Self>, from: ShardId, to: ShardId, items: Vec<OutboxItem>) {
        let Some(destination) = self.routes.find(to) else { return };
        if destination.session == self.session {
            self.push_to_lane(from, to, items);
        } else {
            self.push_to_session(&destination, from, to, &items);
        }
    }

    fn push_to_lane(&self, from: ShardId, to: ShardId, items: Vec<OutboxItem>) {
        let Some(lanes) = self.lanes.get() else { return };
        let delivery = |item: OutboxItem| Delivery { from, to, seq: item.seq, parcel: item.parcel };
        let parcels = items.into_iter().map(delivery).collect();
        lanes.of(to).offer(LaneInput::Parcels { link: None, parcels });
    }

    fn push_to_session(
        self: &Arc<Self>,
        destination: &Destination,
        from: ShardId,
        to: ShardId,
        items: &[OutboxItem],
    ) {
        let stream = self.stream(destination);
        for item in items {
            let push = PushItem {
                from_shard: from.into(),
                to_shard: to.into(),
                outbox_seq: item.seq.0,
                item: Some(outbox_item_to_stored(item)),
            };
            if stream.push(ToPeer::Push(push), 32 + item.parcel.weight()) == Pushed::Gone {
                return;
            }
        }
    }

    /// Signals to a shard, or drops the signal where there is no way now, or a stream is behind.
    pub(super) fn signal(self: &Arc<Self>, to: ShardId, signal: Signal) {
        let Some(destination) = self.routes.find(to) else { return };
        if destination.session == self.session {
            if let Some(lanes) = self.lanes.get() {
                lanes.of(to).offer(LaneInput::Signals(vec![(to, signal)]));
            }
            return;
        }
        let stream = self.stream(&destination);
        if !stream.is_congested() {
            let item = signal_to_peer(to, &signal);
            let bytes = 48 + 16 * weight(&signal);
            // A stream that is gone is begun anew by the next one.
            let _ = stream.push(ToPeer::Signal(item), bytes);
        }
    }

    /// The stream to a lane of another session, begun where there is none.
    fn stream(self: &Arc<Self>, destination: &Destination) -> Arc<Queue<ToPeer>> {
        let key = (destination.session, destination.lane);
        let mut streams = self.streams.lock();
        if let Some(stream) = streams.get(&key).filter(|stream| !stream.is_closed()) {
            return Arc::clone(stream);
        }
        let queue = Arc::new(Queue::new());
        streams.insert(key, Arc::clone(&queue));
        drop(streams);
        let (router, destination) = (Arc::clone(self), destination.clone());
        let ran = Arc::clone(&queue);
        self.tasks.spawn("outbox stream", async move {
            let ended = stream::run(&router, &destination, &ran).await;
            ran.close();
            tracing::debug!(session = %destination.session, ended, "an outbox stream ended");
        });
        queue
    }

    /// Passes what a destination said to the lane of its source.
    pub(super) fn tell(&self, news: PeerNews) {
        let from = match news {
            PeerNews::Confirmed { from, .. } | PeerNews::Expected { from, .. } => from,
        };
        if let Some(lanes) = self.lanes.get() {
            lanes.of(from).offer(LaneInput::Peers(vec![news]));
        }
    }
}

/// Accounts that a signal names.
fn weight(signal: &Signal) -> usize {
    match signal {
        Signal::Typing(_) | Signal::Watch { .. } => 2,
        Signal::WatchGroup { .. } | Signal::Head { .. } => 1,
        Signal::Presence { to, .. } => 1 + to.len(),
        Signal::TypingInGroup { to, .. } => 2 + to.len(),
    }
}

/// Tells the lanes which destinations can be reached again, whenever routes change: what was dropped
/// meanwhile goes out at once instead of at the next retry.
pub(super) async fn announce_routes(routes: Arc<Routes>, lanes: Lanes) {
    let mut version = routes.version();
    let count = routes.shard_count();
    let mut known: Vec<Option<SessionId>> = vec![None; count.shards().len()];
    while version.changed().await.is_ok() {
        let mut ready = Vec::new();
        for (shard, before) in count.shards().zip(known.iter_mut()) {
            let now = routes.find(shard).map(|destination| destination.session);
            if now.is_some() && now != *before {
                ready.push(shard);
            }
            *before = now;
        }
        if ready.is_empty() {
            continue;
        }
        for lane in lanes.iter() {
            if lane.tell(LaneInput::PeersReady(ready.clone())).await.is_err() {
                return;
            }
        }
    }
}

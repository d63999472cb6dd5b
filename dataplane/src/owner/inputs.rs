//! What a lane is told, and by whom.

use std::sync::Arc;

use iris_core::code::Code;
use iris_core::engine::Drained;
use iris_core::id::{AccountId, DeviceNo, PublicKey, SessionId, ShardId};
use iris_core::message::Parcel;
use iris_core::seq::{BlockSeq, Epoch, OutboxSeq};
use iris_core::shard::{DirectoryAnswer, Input, LinkNo, Shard};
use iris_core::signal::Signal;
use iris_proto::peer::{ConfirmItem, OwnerItem};
use tokio::sync::{mpsc, oneshot};

use crate::queue::Queue;

/// Inputs of clients that wait for a lane: behind them the edge's stream stops being read.
pub(super) const LANE_QUEUE: usize = 1024;

/// One thing that a lane is told.
pub(super) enum LaneInput {
    /// An edge opened a stream.
    OpenLink { link: LinkNo, out: Arc<Queue<OwnerItem>> },
    /// A stream of an edge, or of a source, ended.
    CloseLink { link: LinkNo },
    /// A stream of an edge caught up.
    LinkCaughtUp { link: LinkNo },
    /// A source of parcels opened a stream.
    OpenSource { link: LinkNo, out: Arc<Queue<ConfirmItem>> },
    /// Inputs of clients, in order.
    Clients { link: LinkNo, inputs: Vec<(ShardId, Input)> },
    /// A question of the directory.
    Ask { shard: ShardId, question: Question, answer: oneshot::Sender<Answered> },
    /// Parcels from another lane or session.
    Parcels { link: Option<LinkNo>, parcels: Vec<Delivery> },
    /// Signals from another lane or session.
    Signals(Vec<(ShardId, Signal)>),
    /// What other shards say of our outboxes.
    Peers(Vec<PeerNews>),
    /// A destination can be reached.
    PeersReady(Vec<ShardId>),
    /// Which block a claim should name.
    NextBlock(oneshot::Sender<BlockSeq>),
    /// A claimed shard begins to serve.
    Serve { shard: Box<Shard>, first_block: BlockSeq, done: oneshot::Sender<()> },
    /// Empties a shard for a planned move; nothing is sent when it is not served here.
    Drain { shard: ShardId, done: oneshot::Sender<Drained> },
    /// Serves on after all.
    CancelDrain { shard: ShardId },
    /// Stops serving a shard for good.
    Remove { shard: ShardId, removed: oneshot::Sender<Option<Box<Shard>>> },
    /// Tells the connections of a shard where it went, and the edges that have none.
    Moved { shard: ShardId, to: Whereabouts },
}

/// An item of another shard's outbox.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) from: ShardId,
    pub(super) to: ShardId,
    pub(super) seq: OutboxSeq,
    pub(super) parcel: Parcel,
}

/// What a destination says.
#[derive(Debug, Clone, Copy)]
pub(super) enum PeerNews {
    /// It committed every item up to a number.
    Confirmed { from: ShardId, to: ShardId, upto: OutboxSeq },
    /// It wants another number.
    Expected { from: ShardId, to: ShardId, next: OutboxSeq },
}

/// A question of the directory, to the shard of an account.
#[derive(Debug, Clone)]
pub(super) enum Question {
    /// Adds a device, or finds it by its key.
    Open { account: AccountId, key: PublicKey, name: String },
    /// The first tokens of a device that another one vouched for.
    OpenLinked { account: AccountId, key: PublicKey },
    /// Uses a refresh token.
    Refresh { account: AccountId, device: DeviceNo, generation: u32 },
}

/// What the directory learns.
#[derive(Debug)]
pub(super) enum Answered {
    /// The shard's answer.
    Shard(DirectoryAnswer),
    /// The shard is not served here.
    NotServed,
}

/// Where a shard went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Whereabouts {
    /// The ownership that follows; 0 when it is not known.
    pub(super) epoch: Epoch,
    /// Who has it; nobody when it is not known.
    pub(super) session: Option<SessionId>,
    /// Where.
    pub(super) address: String,
}

/// A lane, for the rest of the process.
#[derive(Debug, Clone)]
pub(super) struct LaneHandle {
    pub(super) inputs: mpsc::Sender<LaneInput>,
}

/// The session's lanes.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    lanes: Arc<[LaneHandle]>,
}

/// A lane ended: the process is ending.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the session is ending")]
pub(super) struct Ending;

impl Lanes {
    pub(super) fn new(lanes: Vec<LaneHandle>) -> Self {
        Self { lanes: lanes.into() }
    }

    pub(super) fn count(&self) -> u8 {
        u8::try_from(self.lanes.len()).unwrap_or(u8::MAX)
    }

    /// The lane of a shard.
    pub(super) fn of(&self, shard: ShardId) -> &LaneHandle {
        let lane = iris_core::id::LaneNo::of_shard(shard, self.count());
        &self.lanes[usize::from(lane.0)]
    }

    /// The lane with this number.
    pub(super) fn get(&self, lane: u8) -> Option<&LaneHandle> {
        self.lanes.get(usize::from(lane))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LaneHandle> {
        self.lanes.iter()
    }
}

impl LaneHandle {
    /// Tells the lane something, waiting while it is busy.
    pub(super) async fn tell(&self, input: LaneInput) -> Result<(), Ending> {
        self.inputs.send(input).await.map_err(|_| Ending)
    }

    /// Tells the lane something if it takes it at once: between lanes nobody waits, so that two full
    /// lanes never wait for each other. What is dropped is pushed or signalled again.
    pub(super) fn offer(&self, input: LaneInput) {
        if self.inputs.try_send(input).is_err() {
            tracing::debug!("a lane is full; what was for it comes again");
        }
    }

    /// Tells the lane something and awaits its answer.
    pub(super) async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> LaneInput,
    ) -> Result<T, Ending> {
        let (answer, answered) = oneshot::channel();
        self.tell(question(answer)).await?;
        answered.await.map_err(|_| Ending)
    }
}

/// A refusal of a client's connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) text: &'static str,
    pub(super) retry_after_ms: u32,
}

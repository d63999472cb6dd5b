//! One stream to a lane of another session.

use std::sync::Arc;

use iris_core::id::{SessionId, ShardId};
use iris_core::seq::{Epoch, OutboxSeq};
use iris_proto::peer::outbox_client::OutboxClient;
use iris_proto::peer::{ConfirmBatch, ConfirmItem, PushBatch, PushOpen, confirm_item};
use iris_runtime::rpc;
use iris_runtime::tls::Role;

use super::super::inputs::{LaneInput, PeerNews};
use super::{Router, ToPeer};
use crate::queue::Queue;
use crate::route::Destination;

/// Runs until the stream breaks; answers why.
pub(super) async fn run(
    router: &Arc<Router>,
    destination: &Destination,
    queue: &Arc<Queue<ToPeer>>,
) -> String {
    let channel = match rpc::connect(&router.identity, Role::Owner, &destination.address).await {
        Ok(channel) => channel,
        Err(error) => return error.to_string(),
    };
    let open = PushOpen {
        from_session: router.session.to_bytes().to_vec().into(),
        session: destination.session.to_bytes().to_vec().into(),
        lane: u32::from(destination.lane.0),
    };
    let outgoing = batches(open, Arc::clone(queue));
    let mut client = OutboxClient::new(channel).max_decoding_message_size(rpc::MESSAGE_BYTES_MAX);
    let mut confirms = match client.push(outgoing).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status.to_string(),
    };
    loop {
        match confirms.message().await {
            Ok(Some(batch)) => {
                if take(router, batch).await.is_none() {
                    return "the session is ending".to_owned();
                }
            }
            Ok(None) => return "closed by the other side".to_owned(),
            Err(status) => return status.to_string(),
        }
    }
}

fn batches(
    open: PushOpen,
    queue: Arc<Queue<ToPeer>>,
) -> impl futures::Stream<Item = PushBatch> + Send + 'static {
    let first = PushBatch { open: Some(open), ..PushBatch::default() };
    let rest = futures::stream::unfold(queue, |queue| async move {
        let (taken, _) = queue.take().await?;
        let mut batch = PushBatch::default();
        for item in taken {
            match item {
                ToPeer::Push(item) => batch.items.push(item),
                ToPeer::Signal(item) => batch.signals.push(item),
            }
        }
        Some((batch, queue))
    });
    futures::StreamExt::chain(futures::stream::iter([first]), rest)
}

/// Hands the confirmations to the lanes of their sources; nothing when the session is ending.
async fn take(router: &Router, batch: ConfirmBatch) -> Option<()> {
    let lanes = router.lanes.get()?;
    let mut by_lane: Vec<Vec<PeerNews>> = (0..lanes.count()).map(|_| Vec::new()).collect();
    for item in batch.items {
        if let Some((from, news)) = news(router, item) {
            let lane = iris_core::id::LaneNo::of_shard(from, lanes.count());
            by_lane[usize::from(lane.0)].push(news);
        }
    }
    for (lane, news) in lanes.iter().zip(by_lane) {
        if !news.is_empty() {
            lane.tell(LaneInput::Peers(news)).await.ok()?;
        }
    }
    Some(())
}

fn news(router: &Router, item: ConfirmItem) -> Option<(ShardId, PeerNews)> {
    let count = router.routes.shard_count();
    let from = count.shard(item.from_shard).ok()?;
    let to = count.shard(item.to_shard).ok()?;
    match item.kind? {
        confirm_item::Kind::Confirmed(upto) => {
            Some((from, PeerNews::Confirmed { from, to, upto: OutboxSeq(upto) }))
        }
        confirm_item::Kind::Expected(next) => {
            Some((from, PeerNews::Expected { from, to, next: OutboxSeq(next) }))
        }
        confirm_item::Kind::NotServing(not_serving) => {
            let session = SessionId::from_bytes(&not_serving.session).ok();
            if session.is_some() {
                router.routes.learn(to, Epoch(not_serving.epoch), session);
            }
            None
        }
    }
}

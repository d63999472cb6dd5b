//! Takes what other sessions push.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use iris_core::id::{SessionId, ShardCount, ShardId};
use iris_core::seq::OutboxSeq;
use iris_core::signal::Signal;
use iris_proto::FormatError;
use iris_proto::peer::outbox_server::Outbox;
use iris_proto::peer::{ConfirmBatch, PushBatch, PushItem, SignalItem};
use iris_proto::peer_signals::signal_from_peer;
use iris_proto::stored_rows::outbox_item_from_stored;
use iris_runtime::rpc::require_role;
use iris_runtime::task::Tasks;
use iris_runtime::tls::Role;
use tonic::{Request, Response, Status, Streaming};

use super::super::edge_link::LinkNumbers;
use super::super::inputs::{Delivery, LaneHandle, LaneInput, Lanes};
use super::super::metrics::OwnerMetrics;
use crate::queue::Queue;

/// The service.
pub(in crate::owner) struct OutboxService {
    pub(in crate::owner) session: SessionId,
    pub(in crate::owner) count: ShardCount,
    pub(in crate::owner) lanes: Lanes,
    pub(in crate::owner) links: Arc<LinkNumbers>,
    pub(in crate::owner) tasks: Tasks,
    pub(in crate::owner) metrics: OwnerMetrics,
}

#[tonic::async_trait]
impl Outbox for OutboxService {
    type PushStream = Pin<Box<dyn Stream<Item = Result<ConfirmBatch, Status>> + Send>>;

    async fn push(
        &self,
        request: Request<Streaming<PushBatch>>,
    ) -> Result<Response<Self::PushStream>, Status> {
        require_role(&request, &[Role::Owner])?;
        let mut batches = request.into_inner();
        let first = batches.message().await?;
        let open = first.and_then(|batch| batch.open);
        let open = open.ok_or_else(|| Status::invalid_argument("the first batch opens"))?;
        if open.session[..] != self.session.to_bytes() {
            return Err(Status::not_found("another session"));
        }
        let lane = u8::try_from(open.lane).ok().and_then(|lane| self.lanes.get(lane));
        let lane = lane.ok_or_else(|| Status::invalid_argument("no such lane"))?.clone();
        let (link, out) = (self.links.next(), Arc::new(Queue::new()));
        let ending = |_| Status::unavailable("the session is ending");
        lane.tell(LaneInput::OpenSource { link, out: Arc::clone(&out) }).await.map_err(ending)?;
        let (count, metrics, taken) = (self.count, self.metrics.clone(), Arc::clone(&out));
        self.tasks.spawn("outbox source", async move {
            if let Err(status) = take(&lane, link, (count, &metrics), batches).await {
                tracing::debug!(%status, "a source's stream broke");
            }
            taken.close();
            // A lane that is gone has forgotten its links.
            let _ = lane.tell(LaneInput::CloseLink { link }).await;
        });
        let confirms = futures::stream::unfold(out, |out| async move {
            let (items, _) = out.take().await?;
            Some((Ok(ConfirmBatch { items }), out))
        });
        Ok(Response::new(Box::pin(confirms)))
    }
}

async fn take(
    lane: &LaneHandle,
    link: iris_core::shard::LinkNo,
    (count, metrics): (ShardCount, &OwnerMetrics),
    mut batches: Streaming<PushBatch>,
) -> Result<(), Status> {
    while let Some(batch) = batches.message().await? {
        let parcels = deliveries(count, metrics, batch.items);
        let ending = |_| Status::unavailable("the session is ending");
        if !parcels.is_empty() {
            lane.tell(LaneInput::Parcels { link: Some(link), parcels }).await.map_err(ending)?;
        }
        let signals: Vec<_> = batch.signals.into_iter().filter_map(signal).collect();
        if !signals.is_empty() {
            lane.tell(LaneInput::Signals(signals)).await.map_err(ending)?;
        }
    }
    Ok(())
}

/// One that can be understood. A later version's is dropped as any signal may be: it must not break the
/// stream, by which what is durable comes.
fn signal(item: SignalItem) -> Option<(ShardId, Signal)> {
    let signal = signal_from_peer(item);
    signal.inspect_err(|error| tracing::debug!(%error, "a signal is dropped")).ok().flatten()
}

/// Those that can be understood. Another one holds up what its source has for that destination, and nothing
/// else of this stream: it stays in its outbox, and a version that understands it takes it.
fn deliveries(count: ShardCount, metrics: &OwnerMetrics, items: Vec<PushItem>) -> Vec<Delivery> {
    let understood = items.into_iter().filter_map(|item| {
        let (from, to, seq) = (item.from_shard, item.to_shard, item.outbox_seq);
        let unusable = |error: &FormatError| {
            metrics.damaged.with_label_values(&["item"]).inc();
            tracing::error!(%error, from, to, seq, "an item cannot be understood");
        };
        delivery(count, item).inspect_err(unusable).ok()
    });
    understood.collect()
}

fn delivery(count: ShardCount, item: PushItem) -> Result<Delivery, FormatError> {
    let (from, to) = (count.shard(item.from_shard)?, count.shard(item.to_shard)?);
    let stored = item.item.ok_or(FormatError::Missing("item"))?;
    let seq = OutboxSeq(item.outbox_seq);
    let item = outbox_item_from_stored(seq, stored)?;
    Ok(Delivery { from, to, seq, parcel: item.parcel })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says where it failed")]

    use iris_core::clock::WallMs;
    use iris_core::id::GroupId;
    use iris_core::message::Parcel;
    use iris_core::seq::{ConvSeq, ShardSeq};
    use iris_core::shard::OutboxItem;
    use iris_proto::peer::{Watch, signal_item};
    use iris_proto::stored_rows::outbox_item_to_stored;
    use iris_runtime::metrics::Metrics;

    use super::*;

    #[test]
    fn a_signal_of_a_later_version_is_dropped_and_breaks_nothing() {
        let watch = |of: &'static [u8]| {
            signal_item::Kind::Watch(Watch { by: vec![7; 16].into(), of: of.into(), on: true })
        };
        let item = |kind| SignalItem { to_shard: 2, kind };
        assert!(signal(item(Some(watch(&[8; 16])))).is_some());
        assert!(signal(item(None)).is_none(), "of a kind that is not known");
        assert!(signal(item(Some(watch(&[8; 20])))).is_none(), "with a field that is not known");
    }

    #[test]
    fn an_item_that_cannot_be_understood_leaves_the_others_of_its_batch() {
        let metrics = OwnerMetrics::new(&Metrics::new());
        let group = GroupId::from_bytes(&[5; 16]).unwrap();
        let item = |from_shard, seq| PushItem {
            from_shard,
            to_shard: 2,
            outbox_seq: seq,
            item: Some(outbox_item_to_stored(&OutboxItem {
                seq: OutboxSeq(seq),
                pos: ShardSeq(1),
                queued_at: WallMs(1),
                parcel: Parcel::Declined(group, ConvSeq(1), Vec::new()),
            })),
        };
        let items = vec![item(1, 7), PushItem { item: None, ..item(1, 8) }, item(3, 1)];
        let taken = deliveries(ShardCount::new(4).unwrap(), &metrics, items);
        let taken: Vec<_> = taken.iter().map(|d| (d.from.get(), d.seq.0)).collect();
        assert_eq!(taken, [(1, 7), (3, 1)]);
        assert_eq!(metrics.damaged.with_label_values(&["item"]).get(), 1);
    }
}

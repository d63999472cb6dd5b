//! Streams of edges: client frames in, answers and deliveries out. An edge opens one for each lane.

mod convert;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::Stream;
use iris_core::id::{SessionId, ShardCount};
use iris_core::shard::LinkNo;
use iris_proto::peer::edge_link_server::EdgeLink;
use iris_proto::peer::{EdgeBatch, LinkOpen, OwnerBatch, OwnerItem};
use iris_runtime::rpc::require_role;
use iris_runtime::task::Tasks;
use iris_runtime::tls::Role;
use tonic::{Request, Response, Status, Streaming};

use super::inputs::{LaneHandle, LaneInput, Lanes};
use super::metrics::OwnerMetrics;
use crate::queue::Queue;

use convert::Converter;

/// Numbers the streams of a process.
#[derive(Debug, Default)]
pub(super) struct LinkNumbers(AtomicU32);

impl LinkNumbers {
    pub(super) fn next(&self) -> LinkNo {
        LinkNo(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// The service.
pub(super) struct EdgeLinkService {
    pub(super) session: SessionId,
    pub(super) count: ShardCount,
    pub(super) lanes: Lanes,
    pub(super) links: Arc<LinkNumbers>,
    pub(super) metrics: OwnerMetrics,
    pub(super) tasks: Tasks,
}

#[tonic::async_trait]
impl EdgeLink for EdgeLinkService {
    type LinkStream = Pin<Box<dyn Stream<Item = Result<OwnerBatch, Status>> + Send>>;

    async fn link(
        &self,
        request: Request<Streaming<EdgeBatch>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        require_role(&request, &[Role::Edge])?;
        let mut batches = request.into_inner();
        let first = batches.message().await?;
        let open = first.and_then(|batch| batch.open);
        let lane = self.lane_for(open)?.clone();
        let (link, out) = (self.links.next(), Arc::new(Queue::new()));
        let ending = |_| Status::unavailable("the session is ending");
        lane.tell(LaneInput::OpenLink { link, out: Arc::clone(&out) }).await.map_err(ending)?;
        let converter = Converter::new(link, self.count, Arc::clone(&out), self.metrics.clone());
        let (reader, read) = (lane.clone(), Arc::clone(&out));
        self.tasks.spawn("edge link", async move {
            if let Err(status) = take(&reader, link, converter, batches).await {
                tracing::debug!(%status, "an edge's stream broke");
            }
            read.close();
            // A lane that is gone has forgotten its links.
            let _ = reader.tell(LaneInput::CloseLink { link }).await;
        });
        Ok(Response::new(Box::pin(batches_of(out, lane, link))))
    }
}

impl EdgeLinkService {
    fn lane_for(&self, open: Option<LinkOpen>) -> Result<&LaneHandle, Status> {
        let open = open.ok_or_else(|| Status::invalid_argument("the first batch opens"))?;
        if open.session[..] != self.session.to_bytes() {
            return Err(Status::not_found("another session"));
        }
        let lane = u8::try_from(open.lane).ok().and_then(|lane| self.lanes.get(lane));
        lane.ok_or_else(|| Status::invalid_argument("no such lane"))
    }
}

/// Reads the edge's batches into the lane. A lane that is busy stops the reading, and with it the
/// edge's clients of this lane, and nobody else.
async fn take(
    lane: &LaneHandle,
    link: LinkNo,
    mut converter: Converter,
    mut batches: Streaming<EdgeBatch>,
) -> Result<(), Status> {
    while let Some(batch) = batches.message().await? {
        let inputs = converter.convert(batch.items);
        if !inputs.is_empty() {
            let told = lane.tell(LaneInput::Clients { link, inputs }).await;
            told.map_err(|_| Status::unavailable("the session is ending"))?;
        }
    }
    Ok(())
}

fn batches_of(
    out: Arc<Queue<OwnerItem>>,
    lane: LaneHandle,
    link: LinkNo,
) -> impl Stream<Item = Result<OwnerBatch, Status>> + Send {
    futures::stream::unfold((out, lane), move |(out, lane)| async move {
        let (items, caught_up) = out.take().await?;
        if caught_up && lane.tell(LaneInput::LinkCaughtUp { link }).await.is_err() {
            return None;
        }
        Some((Ok(OwnerBatch { items }), (out, lane)))
    })
}

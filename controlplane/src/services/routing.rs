//! Routes for edges and owners.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use iris_core::id::ShardId;
use iris_proto::control::routing_server::Routing;
use iris_proto::control::{Route, RouteSession, RouteUpdate, WatchRequest};
use iris_runtime::rpc::require_role;
use iris_runtime::tls::Role;
use tonic::{Request, Response, Status};

use super::Lead;
use crate::leader::Leader;
use crate::model::RouteBoard;

/// A follower hears something at least so often.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Changes that come close together go out together.
const GATHER: Duration = Duration::from_millis(2);

/// The service.
pub struct RoutingService {
    /// Who leads.
    pub lead: Lead,
}

#[tonic::async_trait]
impl Routing for RoutingService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<RouteUpdate, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let peer = require_role(&request, &[Role::Edge, Role::Owner])?;
        let leader = self.lead.leader()?;
        let edge = (peer.role == Role::Edge).then(|| leader.edge_follows());
        let follower = Follower { news: leader.route_news(), known: 0, leader, _edge: edge };
        let updates = futures::stream::unfold(follower, |mut follower| async move {
            let update = follower.next().await?;
            Some((Ok(update), follower))
        });
        Ok(Response::new(Box::pin(updates)))
    }
}

struct Follower {
    leader: Arc<Leader>,
    news: tokio::sync::watch::Receiver<u64>,
    /// How many changes it was told.
    known: u64,
    _edge: Option<crate::leader::EdgeFollows>,
}

impl Follower {
    /// The next update; nothing when the leadership ended.
    async fn next(&mut self) -> Option<RouteUpdate> {
        if self.known > 0 {
            tokio::select! {
                () = self.leader.tasks.stopped() => return None,
                _ = tokio::time::timeout(HEARTBEAT, self.news.changed()) => {}
            }
            tokio::time::sleep(GATHER).await;
        }
        self.news.borrow_and_update();
        let update = self.leader.routes(|board| {
            let update = update(board, self.known);
            self.known = board.changes();
            update
        });
        Some(update)
    }
}

fn update(board: &RouteBoard, known: u64) -> RouteUpdate {
    let changed = board.since(known);
    let full = changed.is_none();
    let shards: Vec<ShardId> = match changed {
        Some(changed) => changed.into_iter().collect(),
        None => board.count().shards().collect(),
    };
    let route = |shard: ShardId| {
        let route = board.route(shard);
        let session = route.session.map(|s| s.to_bytes().to_vec().into()).unwrap_or_default();
        Route { shard: shard.into(), epoch: route.epoch.0, session }
    };
    let sessions = board.sessions().iter().map(|(id, (address, pod, lanes))| RouteSession {
        session: id.to_bytes().to_vec().into(),
        address: address.clone(),
        pod: pod.clone(),
        lanes: (*lanes).into(),
    });
    RouteUpdate {
        full,
        shard_count: board.count().get(),
        sessions: if full { sessions.collect() } else { Vec::new() },
        routes: shards.into_iter().map(route).collect(),
    }
}

//! Streams to owners: one for each lane of each session, shared by all of this edge's clients.

mod link;

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_core::id::{LaneNo, SessionId, ShardId};
use iris_proto::peer::directory_client::DirectoryClient;
use iris_runtime::task::Tasks;
use iris_runtime::tls::Identity;
use parking_lot::Mutex;
use tonic::transport::Channel;

use super::metrics::EdgeMetrics;
use crate::route::{Destination, Routes};

pub(super) use link::{Link, Mailbox, ToClient};

/// All streams of an edge.
pub(super) struct Links {
    identity: Identity,
    routes: Arc<Routes>,
    metrics: EdgeMetrics,
    pod: String,
    tasks: Tasks,
    sessions: Mutex<BTreeMap<SessionId, SessionLinks>>,
}

/// A session's streams and the connection below them.
#[derive(Debug, Clone)]
struct SessionLinks {
    channel: Channel,
    lanes: BTreeMap<LaneNo, Arc<Link>>,
}

impl Links {
    pub(super) fn new(
        identity: Identity,
        routes: Arc<Routes>,
        metrics: EdgeMetrics,
        pod: String,
        tasks: Tasks,
    ) -> Self {
        Self { identity, routes, metrics, pod, tasks, sessions: Mutex::default() }
    }

    /// The stream to where a shard is served, if it is open.
    pub(super) fn to_shard(&self, shard: ShardId) -> Option<(Arc<Link>, Destination)> {
        let destination = self.routes.find(shard)?;
        let sessions = self.sessions.lock();
        let link = sessions.get(&destination.session)?.lanes.get(&destination.lane)?;
        let link = Arc::clone(link);
        drop(sessions);
        (!link.is_closed()).then_some((link, destination))
    }

    /// The directory of the session that serves a shard.
    pub(super) fn directory(&self, shard: ShardId) -> Option<DirectoryClient<Channel>> {
        let destination = self.routes.find(shard)?;
        let sessions = self.sessions.lock();
        let channel = sessions.get(&destination.session)?.channel.clone();
        Some(DirectoryClient::new(channel))
    }

    /// The routes that these streams follow.
    pub(super) fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// Keeps a stream open to each lane of each session that is known.
    pub(super) async fn keep_open(self: Arc<Self>) {
        let mut version = self.routes.version();
        loop {
            let known = self.routes.sessions();
            self.sessions.lock().retain(|session, links| {
                let gone = !known.contains_key(session);
                if gone {
                    links.lanes.values().for_each(|link| link.close());
                }
                !gone
            });
            for (session, address) in known {
                let open = self.sessions.lock().contains_key(&session);
                if !open {
                    self.open_session(session, address.address, address.lanes).await;
                }
            }
            self.reopen_lanes();
            let retry = tokio::time::sleep(std::time::Duration::from_millis(200));
            tokio::select! {
                changed = version.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = retry => {}
            }
        }
    }

    async fn open_session(self: &Arc<Self>, session: SessionId, address: String, lanes: u8) {
        let role = iris_runtime::tls::Role::Owner;
        match iris_runtime::rpc::connect(&self.identity, role, &address).await {
            Ok(channel) => {
                let lanes = (0..lanes).map(LaneNo);
                let lanes = lanes.map(|lane| (lane, self.open_lane(&channel, session, lane)));
                let links = SessionLinks { channel: channel.clone(), lanes: lanes.collect() };
                self.sessions.lock().insert(session, links);
                tracing::info!(%session, address, "connected to an owner");
            }
            Err(error) => tracing::debug!(%session, %error, "no connection to an owner"),
        }
    }

    /// A session whose streams broke but that is still known is tried again, from the connection on.
    fn reopen_lanes(&self) {
        self.sessions.lock().retain(|_, links| !links.lanes.values().any(|link| link.is_closed()));
    }

    fn open_lane(
        self: &Arc<Self>,
        channel: &Channel,
        session: SessionId,
        lane: LaneNo,
    ) -> Arc<Link> {
        let link = Arc::new(Link::new());
        let (ran, pod, routes) = (Arc::clone(&link), self.pod.clone(), Arc::clone(&self.routes));
        let (channel, metrics) = (channel.clone(), self.metrics.clone());
        self.tasks.spawn("owner link", async move {
            metrics.links.inc();
            let why = ran.run(channel, (session, lane), pod, routes).await;
            metrics.links.dec();
            tracing::info!(%session, %lane, why, "a stream to an owner ended");
        });
        link
    }
}

//! One replica: it serves from its first moment, campaigns for the leadership, and leads while it has
//! it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use iris_coord::election::{Candidate, Elected};
use iris_net::TcpListener;
use iris_proto::control::owners_server::OwnersServer;
use iris_proto::control::region_server::RegionServer;
use iris_proto::control::routing_server::RoutingServer;
use iris_proto::coordinated;
use iris_proto::coordinated_keys as keys;
use iris_runtime::admin::Health;
use iris_runtime::rpc::{self, MESSAGE_BYTES_MAX};
use iris_runtime::task::Tasks;
use prost::Message as _;

use crate::leader::{Deps, Leadership, lead};
use crate::services::{Lead, OwnersService, RegionService, RoutingService};

/// A leader that says nothing for so long is replaced.
const LEASE: Duration = Duration::from_secs(3);
/// Before the next campaign, when the last leadership could not begin.
const PAUSE: Duration = Duration::from_millis(200);

/// Which replica it is.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// The pod's name.
    pub pod: String,
    /// Where others reach it.
    pub address: String,
}

/// A running replica.
pub struct Replica {
    tasks: Tasks,
    campaign: Arc<Campaign>,
}

struct Campaign {
    config: ReplicaConfig,
    deps: Deps,
    candidate: Candidate,
    lead: Lead,
    /// The leadership that is held, to be given up at the end.
    held: tokio::sync::Mutex<Option<Elected>>,
}

impl Replica {
    /// Serves and campaigns.
    pub fn start(
        config: ReplicaConfig,
        deps: Deps,
        (listener, health): (TcpListener, &Health),
        parent: &Tasks,
    ) -> anyhow::Result<Self> {
        let tasks = parent.child();
        let lead = Lead::default();
        let incoming = rpc::incoming(listener, &deps.identity, &tasks)?;
        let server = rpc::server()
            .add_service(
                OwnersServer::new(OwnersService { lead: lead.clone() })
                    .max_decoding_message_size(MESSAGE_BYTES_MAX),
            )
            .add_service(RoutingServer::new(RoutingService { lead: lead.clone() }))
            .add_service(
                RegionServer::new(RegionService { lead: lead.clone() })
                    .max_decoding_message_size(MESSAGE_BYTES_MAX),
            )
            .serve_with_incoming(incoming);
        tasks.spawn_critical("services", async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the services ended");
            }
        });
        let value = coordinated::Leader {
            pod: config.pod.clone(),
            address: config.address.clone(),
            term: 0,
        };
        let candidate = Candidate {
            coord: Arc::clone(&deps.coord),
            key: keys::LEADER.to_owned(),
            value: value.encode_to_vec().into(),
            ttl: LEASE,
        };
        let held = tokio::sync::Mutex::default();
        let campaign = Arc::new(Campaign { config, deps, candidate, lead, held });
        let running = Arc::clone(&campaign).run(tasks.clone());
        tasks.spawn_critical("campaign", running);
        health.well("services");
        Ok(Self { tasks, campaign })
    }

    /// Waits until a critical task ended.
    pub async fn ended(&self) {
        self.tasks.stopped().await;
    }

    /// Ends every task without giving the leadership up, as a kill would.
    pub async fn stop(&self) {
        self.tasks.stop();
        if tokio::time::timeout(Duration::from_secs(2), self.tasks.ended()).await.is_err() {
            tracing::warn!("some tasks did not end");
        }
    }

    /// Ends every task and gives the leadership up, so that the next one need not wait.
    pub async fn leave(&self) {
        self.stop().await;
        let held = self.campaign.held.lock().await.take();
        if let Some(elected) = held {
            self.campaign.candidate.resign(elected).await;
        }
    }
}

impl Campaign {
    async fn run(self: Arc<Self>, tasks: Tasks) {
        loop {
            if let Err(error) = self.lead_once(&tasks).await {
                tracing::warn!(%error, "the leadership could not begin");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn lead_once(&self, tasks: &Tasks) -> anyhow::Result<()> {
        let elected = self.candidate.campaign(|leader| self.follow(leader)).await;
        *self.held.lock().await = Some(elected.clone());
        tracing::info!(term = elected.term, pod = self.config.pod, "elected");
        let leading = tasks.child();
        let outcome = tokio::select! {
            error = self.candidate.hold(&elected) => {
                tracing::warn!(%error, term = elected.term, "the leadership is over");
                Ok(())
            }
            outcome = self.lead(&elected, &leading) => outcome,
        };
        // In this order: nobody is answered in the name of a leadership that is over.
        self.lead.follow(None);
        self.deps.metrics.leading.set(0);
        leading.stop();
        leading.ended().await;
        self.held.lock().await.take();
        self.candidate.resign(elected).await;
        outcome
    }

    /// Leads until a critical task of the leadership ends.
    async fn lead(&self, elected: &Elected, leading: &Tasks) -> anyhow::Result<()> {
        let leadership = Leadership {
            pod: self.config.pod.clone(),
            term: elected.term,
            guard: elected.guard.clone(),
        };
        let leader = lead(self.deps.clone(), leadership, leading).await.context("begin to lead")?;
        self.lead.begin(leader);
        self.deps.metrics.leading.set(1);
        leading.stopped().await;
        anyhow::bail!("a critical task of the leadership ended")
    }

    fn follow(&self, leader: Option<bytes::Bytes>) {
        let leader = leader.and_then(|value| coordinated::Leader::decode(value).ok());
        let address = leader.map(|leader| leader.address);
        self.lead.follow(address);
    }
}

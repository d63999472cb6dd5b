//! An owner process: made, run, ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iris_coord::SharedCoord;
use iris_core::engine::Snapshot;
use iris_core::id::{LaneId, LaneNo, SessionId};
use iris_core::seq::BlockSeq;
use iris_net::TcpListener;
use iris_proto::control::{Load, SessionInfo};
use iris_proto::coordinated::Session;
use iris_proto::peer::directory_server::DirectoryServer;
use iris_proto::peer::edge_link_server::EdgeLinkServer;
use iris_proto::peer::outbox_server::OutboxServer;
use iris_proto::peer::shard_move_server::ShardMoveServer;
use iris_runtime::admin::Health;
use iris_runtime::backoff::Backoff;
use iris_runtime::clock::SharedClock;
use iris_runtime::metrics::Metrics;
use iris_runtime::rpc;
use iris_runtime::task::Tasks;
use iris_runtime::tls::Identity;
use iris_store::SharedStore;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use super::acquire::Acquirer;
use super::config::OwnerConfig;
use super::directory::DirectoryService;
use super::edge_link::{EdgeLinkService, LinkNumbers};
use super::fence::{Covered, FenceReader, Sight};
use super::held::Held;
use super::inputs::{LANE_QUEUE, LaneHandle, Lanes};
use super::lane::{Lane, LaneDeps};
use super::leave;
use super::membership::Membership;
use super::metrics::OwnerMetrics;
use super::moves::Moves;
use super::outbox::{OutboxService, Router, announce_routes};
use super::password::Passwords;
use super::report::Reporter;
use crate::control::ControlPlane;
use crate::route::Routes;
use crate::token::{SigningKeys, Tokens};

/// Flushes written at once.
const FLUSHES_AT_ONCE: usize = 4;
/// Accounts and inboxes read at once.
const LOADS_AT_ONCE: usize = 64;

/// What an owner is given.
pub struct OwnerDeps {
    /// About itself.
    pub config: OwnerConfig,
    /// The database.
    pub store: SharedStore,
    /// etcd.
    pub coord: SharedCoord,
    /// The clocks.
    pub clock: SharedClock,
    /// The pod's certificate.
    pub identity: Identity,
    /// The way to the control plane.
    pub control: Arc<ControlPlane>,
    /// Checks tokens.
    pub tokens: Tokens,
    /// Signs tokens.
    pub signing: SigningKeys,
    /// Where shards are.
    pub routes: Arc<Routes>,
    /// Where metrics go.
    pub metrics: Metrics,
    /// What the admin port says.
    pub health: Health,
    /// Where peers connect.
    pub listener: TcpListener,
}

/// A running owner.
pub struct Owner {
    session: SessionId,
    tasks: Tasks,
    held: Arc<Held>,
    leaving: Arc<AtomicBool>,
    leave_for: Duration,
    stop: mpsc::Receiver<String>,
}

impl Owner {
    /// Starts a session: it serves nothing until it is assigned something.
    pub async fn start(deps: OwnerDeps, parent: &Tasks) -> anyhow::Result<Self> {
        let session = SessionId::from_random(crate::random::bytes());
        let config = Arc::new(deps.config.clone());
        let tasks = parent.child();
        open_session(&deps.store, session, config.lanes).await;
        tracing::info!(%session, lanes = config.lanes, "session opened");
        let metrics = OwnerMetrics::new(&deps.metrics);
        let router =
            Router::new(session, Arc::clone(&deps.routes), deps.identity.clone(), tasks.clone());
        let router = Arc::new(router);
        let (stopped, stop) = mpsc::channel(1);
        let (lanes, snapshots) = start_lanes(&deps, session, &metrics, &router, (&tasks, &stopped));
        router.set_lanes(lanes.clone());
        let acquirer = Arc::new(Acquirer::new(
            session,
            Arc::clone(&config),
            Arc::clone(&deps.store),
            Arc::clone(&deps.clock),
            lanes.clone(),
            metrics.clone(),
        ));
        let held = Arc::new(Held::new());
        let leaving = Arc::new(AtomicBool::new(false));
        let (load_sender, load) = watch::channel(Load::default());
        tasks.spawn_critical("gauges", gauges(snapshots, metrics.clone(), load_sender));
        tasks.spawn("routes", announce_routes(Arc::clone(&deps.routes), lanes.clone()));
        let reporter = Reporter {
            control: Arc::clone(&deps.control),
            info: session_info(session, &config),
            held: Arc::clone(&held),
            load,
            leaving: Arc::clone(&leaving),
            stop: stopped,
        };
        tasks.spawn_critical("report", reporter.run());
        join_region(&deps, &acquirer, &held, &tasks);
        serve_peers(deps, session, (&lanes, &acquirer), (&held, &metrics), &tasks)?;
        Ok(Self { session, tasks, held, leaving, leave_for: config.leave_for, stop })
    }

    /// The session's name.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Waits until the session was fenced, ordered to end, or lost a critical task. Answers why.
    pub async fn ended(&mut self) -> String {
        tokio::select! {
            reason = self.stop.recv() => reason.unwrap_or_else(|| "ended".to_owned()),
            () = self.tasks.stopped() => "a critical task ended".to_owned(),
        }
    }

    /// Asks the control plane to move the shards away, and waits for that, within reason. What is left
    /// is taken over.
    pub async fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        if !leave::is_emptied(&self.held, self.leave_for).await {
            tracing::warn!("some shards did not move in time; they are taken over");
        }
    }

    /// Ends every task.
    pub async fn stop(&self) {
        self.tasks.stop();
        if tokio::time::timeout(Duration::from_secs(2), self.tasks.ended()).await.is_err() {
            tracing::warn!("some tasks did not end");
        }
    }
}

/// A session records its lanes before its first claim; without the store nothing can begin.
async fn open_session(store: &SharedStore, session: SessionId, lanes: u8) {
    let mut backoff = Backoff::between_pods();
    while let Err(error) = store.open_session(session, lanes).await {
        tracing::warn!(%error, "the store does not answer yet");
        backoff.wait().await;
    }
}

type Snapshots = Vec<watch::Receiver<Option<Snapshot>>>;

fn start_lanes(
    deps: &OwnerDeps,
    session: SessionId,
    metrics: &OwnerMetrics,
    router: &Arc<Router>,
    (tasks, stopped): (&Tasks, &mpsc::Sender<String>),
) -> (Lanes, Snapshots) {
    let flush_permits = Arc::new(Semaphore::new(FLUSHES_AT_ONCE));
    let load_permits = Arc::new(Semaphore::new(LOADS_AT_ONCE));
    let fence_wanted = Arc::new(Notify::new());
    let (mut handles, mut covered, mut snapshots) = (Vec::new(), Vec::new(), Vec::new());
    for lane in 0..deps.config.lanes {
        let (inputs, received) = mpsc::channel(LANE_QUEUE);
        let (sights, sight) = watch::channel(Sight::default());
        let (cover, shown) = watch::channel(BlockSeq::default());
        let (snapshot, shown_snapshot) = watch::channel(None);
        let lane_deps = LaneDeps {
            lane: LaneId { session, lane: LaneNo(lane) },
            lanes: deps.config.lanes,
            version: deps.config.version.clone(),
            store: Arc::clone(&deps.store),
            clock: Arc::clone(&deps.clock),
            metrics: metrics.clone(),
            router: Arc::clone(router),
            flush_permits: Arc::clone(&flush_permits),
            load_permits: Arc::clone(&load_permits),
            fence_wanted: Arc::clone(&fence_wanted),
            sights: sight,
            cover,
            snapshot,
            inputs: received,
        };
        tasks.spawn_critical("lane", Lane::new(lane_deps).run());
        handles.push(LaneHandle { inputs });
        covered.push(Covered { cover: shown, sights });
        snapshots.push(shown_snapshot);
    }
    let reader = FenceReader {
        session,
        store: Arc::clone(&deps.store),
        clock: Arc::clone(&deps.clock),
        metrics: metrics.clone(),
        wanted: fence_wanted,
        lanes: covered,
    };
    let stopped = stopped.clone();
    tasks.spawn_critical("fence", async move {
        let by = reader.run().await;
        // The first reason counts.
        let _ = stopped.try_send(format!("fenced by session {by}"));
    });
    (Lanes::new(handles), snapshots)
}

fn session_info(session: SessionId, config: &OwnerConfig) -> SessionInfo {
    SessionInfo {
        session: session.to_bytes().to_vec().into(),
        pod: config.pod.clone(),
        pod_uid: config.pod_uid.clone(),
        node: config.node.clone(),
        zone: config.zone.clone(),
        address: config.address.clone(),
        lanes: config.lanes.into(),
        version: config.version.clone(),
        cordoned: false,
    }
}

fn join_region(deps: &OwnerDeps, acquirer: &Arc<Acquirer>, held: &Arc<Held>, tasks: &Tasks) {
    let config = &deps.config;
    let record = Session {
        session: acquirer.session.to_bytes().to_vec().into(),
        pod: config.pod.clone(),
        pod_uid: config.pod_uid.clone(),
        node: config.node.clone(),
        zone: config.zone.clone(),
        address: config.address.clone(),
        lanes: config.lanes.into(),
        version: config.version.clone(),
        started_at_ms: deps.clock.now().wall.0,
    };
    let membership = Arc::new(Membership::new(
        Arc::clone(&deps.coord),
        Arc::clone(acquirer),
        Arc::clone(held),
        (tasks.clone(), record),
    ));
    tasks.spawn_critical("lease", Arc::clone(&membership).keep_alive());
    tasks.spawn_critical("assignment", Arc::clone(&membership).follow());
    tasks.spawn_critical("look after", membership.look_after());
}

fn serve_peers(
    deps: OwnerDeps,
    session: SessionId,
    (lanes, acquirer): (&Lanes, &Arc<Acquirer>),
    (held, metrics): (&Arc<Held>, &OwnerMetrics),
    tasks: &Tasks,
) -> anyhow::Result<()> {
    let links = Arc::new(LinkNumbers::default());
    let count = deps.config.shard_count;
    let edges = EdgeLinkService {
        session,
        count,
        lanes: lanes.clone(),
        links: Arc::clone(&links),
        metrics: metrics.clone(),
        tasks: tasks.clone(),
    };
    let outbox = OutboxService {
        session,
        count,
        lanes: lanes.clone(),
        links,
        tasks: tasks.clone(),
        metrics: metrics.clone(),
    };
    let directory = DirectoryService {
        count,
        lanes: lanes.clone(),
        store: deps.store,
        clock: deps.clock,
        passwords: Passwords::new(deps.config.password_memory_kib),
        tokens: deps.tokens,
        signing: deps.signing,
    };
    let moves = Moves {
        identity: deps.identity.clone(),
        acquirer: Arc::clone(acquirer),
        held: Arc::clone(held),
        tasks: tasks.clone(),
        terms: Arc::default(),
    };
    let incoming = rpc::incoming(deps.listener, &deps.identity, tasks)?;
    let server = rpc::server()
        .add_service(EdgeLinkServer::new(edges).max_decoding_message_size(rpc::MESSAGE_BYTES_MAX))
        .add_service(OutboxServer::new(outbox).max_decoding_message_size(rpc::MESSAGE_BYTES_MAX))
        .add_service(DirectoryServer::new(directory))
        .add_service(ShardMoveServer::new(moves).max_decoding_message_size(rpc::MESSAGE_BYTES_MAX))
        .serve_with_incoming(incoming);
    deps.health.well("session");
    tasks.spawn_critical("peer services", async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the peer services ended");
        }
    });
    Ok(())
}

/// Adds up the lanes' numbers, for metrics and for the control plane.
async fn gauges(snapshots: Snapshots, metrics: OwnerMetrics, load: watch::Sender<Load>) {
    let mut accepted = metrics.accepted.get();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let lanes: Vec<_> = snapshots.iter().filter_map(|lane| *lane.borrow()).collect();
        let sum = |of: fn(&Snapshot) -> usize| lanes.iter().map(of).sum::<usize>();
        let (accounts, connections) = (sum(|s| s.accounts), sum(|s| s.connections));
        let oldest = lanes.iter().map(|lane| lane.oldest_pending_ms).max().unwrap_or_default();
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        metrics.shards.set(gauge(sum(|s| s.shards)));
        metrics.accounts.set(gauge(accounts));
        metrics.connections.set(gauge(connections));
        metrics.oldest_pending_ms.set(i64::try_from(oldest).unwrap_or(i64::MAX));
        let now = metrics.accepted.get();
        load.send_replace(Load {
            messages_per_s: now - accepted,
            accounts: accounts as u64,
            connections: connections as u64,
            memory_bytes: 0,
        });
        accepted = now;
    }
}

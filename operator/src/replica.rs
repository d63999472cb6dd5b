//! One replica of the operator: every replica issues certificates, and the one that leads looks after
//! the resources.
//!
//! Nothing that it needs must be there when it begins: it tries until it is, and its admin port says
//! what is missing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use iris_net::TcpListener;
use iris_runtime::admin::{self, Health};
use iris_runtime::backoff::Backoff;
use iris_runtime::clock::SharedClock;
use iris_runtime::local_pki::{LocalPki, LocalPkiError};
use iris_runtime::metrics::Metrics;
use iris_runtime::task::Tasks;
use iris_runtime::tls::{MaterialError, Role};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Client, Config};
use tokio::sync::{mpsc, watch};

use crate::apply::Applier;
use crate::client::{self, ClientMetrics};
use crate::cluster::ClusterReconciler;
use crate::context::{BuiltIn, Context};
use crate::control::{ControlPlanes, Directory};
use crate::controller::{self, LoopMetrics, Reconciler};
use crate::definitions;
use crate::edge_pool::EdgePoolReconciler;
use crate::events::Events;
use crate::hub::{self, Bell, Key, Kind, Scope};
use crate::issuer::IssuerService;
use crate::keyring::{self, Keyring};
use crate::leader::{self, Election, Lead, LeaderMetrics};
use crate::migration::MigrationReconciler;
use crate::rebalance::RebalanceReconciler;
use crate::region::RegionReconciler;
use crate::shard_map::ShardMapReconciler;

/// The end of everything is waited for this long.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Giving the Lease up is tried for this long; without it the next replica waits for its end.
const RESIGN_PATIENCE: Duration = Duration::from_secs(3);
/// A reign that ended by itself begins again after this long.
const REIGN_PAUSE: Duration = Duration::from_secs(1);
/// The check of the definitions.
const DEFINITIONS: &str = "definitions";

/// What a replica is told.
pub struct Options {
    /// The way to the API server.
    pub api_server: Config,
    /// Its pod's name.
    pub pod: String,
    /// How elections go.
    pub election: Election,
    /// What it looks after.
    pub scope: Scope,
    /// What it came with.
    pub built_in: BuiltIn,
    /// Where control planes are found.
    pub directory: Arc<dyn Directory>,
    /// The time.
    pub clock: SharedClock,
    /// Where health and metrics are served.
    pub admin: TcpListener,
    /// Where certificates are issued.
    pub issuer: TcpListener,
}

/// Why a replica cannot begin: each is a mistake in how it was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The way to the API server makes no sense.
    #[error("the way to the API server cannot be used: {0}")]
    Client(#[source] Box<kube::Error>),
    /// The admin port has no certificate.
    #[error("no certificate for the admin port: {0}")]
    Local(#[from] LocalPkiError),
    /// The admin port's certificate cannot be used.
    #[error("the admin port cannot be served: {0}")]
    Material(#[from] MaterialError),
    /// The issuer cannot be served.
    #[error("the issuer cannot be served: {0}")]
    Issuer(#[from] rustls::Error),
}

/// A replica that runs.
pub struct Replica {
    client: Client,
    election: Election,
    leads: watch::Receiver<Option<Lead>>,
    health: Health,
}

impl Replica {
    /// Starts it. What it needs of others is waited for in the background.
    pub fn start(options: Options, tasks: &Tasks) -> Result<Self, StartError> {
        let (metrics, health) = (Metrics::new(), Health::new());
        health.unwell(DEFINITIONS, "not compared yet");
        let Options { api_server, pod, election, scope, built_in, directory, clock, .. } = options;
        // Kubelets check no certificate, and nobody else gets more than health and metrics here.
        let own = LocalPki::new(&election.namespace, "iris-operator")?;
        let identity = own.identity(Role::Operator, &pod)?;
        admin::serve(options.admin, &identity, health.clone(), metrics.clone(), tasks)?;

        let plain =
            client::connect(api_server).map_err(|error| StartError::Client(Box::new(error)))?;
        let client_metrics = ClientMetrics::new(&metrics);
        let reading = client::guarded(&plain, &client_metrics, None);
        let keyring = Keyring::new(&pod, Arc::clone(&clock));
        let keep = keyring::keep(reading.clone(), scope.clone(), keyring.clone());
        tasks.spawn_critical("keyring", keep);
        let issuer =
            IssuerService::new(reading.clone(), keyring.clone(), Arc::clone(&clock), &metrics);
        issuer.serve(options.issuer, tasks)?;

        let (sender, leads) = watch::channel(None);
        let (candidate, own_election, checked) =
            (reading.clone(), election.clone(), health.clone());
        let (leader_metrics, time) = (LeaderMetrics::new(&metrics), Arc::clone(&clock));
        tasks.spawn_critical("election", async move {
            await_definitions(&candidate, &checked).await;
            leader::campaign(candidate, own_election, time, leader_metrics, sender).await;
        });
        let realm = Realm {
            client: plain,
            client_metrics,
            loop_metrics: LoopMetrics::new(&metrics),
            keyring,
            clock,
            pod,
            scope,
            built_in: Arc::new(built_in),
            directory,
        };
        let (follower, group) = (leads.clone(), tasks.clone());
        tasks.spawn_critical("reign", async move { realm.follow(follower, group).await });
        Ok(Self { client: reading, election, leads, health })
    }

    /// What the admin port says.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Ends it: first what it does, then its right to do it.
    pub async fn stop(self, tasks: &Tasks) {
        tasks.stop();
        let lead = self.leads.borrow().clone();
        if tokio::time::timeout(STOP_PATIENCE, tasks.ended()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        let Some(lead) = lead else { return };
        let resigned = leader::resign(self.client, &self.election, lead);
        match tokio::time::timeout(RESIGN_PATIENCE, resigned).await {
            Ok(Ok(())) => tracing::info!("the Lease is given up"),
            Ok(Err(error)) => tracing::info!(%error, "the Lease was not given up"),
            Err(_) => tracing::info!("the Lease was not given up in time"),
        }
    }
}

/// Waits until the API server serves what this operator was built with. Until then it leads nothing.
async fn await_definitions(client: &Client, health: &Health) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    loop {
        match definitions::check(client).await {
            Ok(()) => {
                health.well(DEFINITIONS);
                return;
            }
            Err(error) => health.unwell(DEFINITIONS, error.to_string()),
        }
        backoff.wait().await;
    }
}

/// What a leader works with.
struct Realm {
    client: Client,
    client_metrics: ClientMetrics,
    loop_metrics: LoopMetrics,
    keyring: Keyring,
    clock: SharedClock,
    pod: String,
    scope: Scope,
    built_in: Arc<BuiltIn>,
    directory: Arc<dyn Directory>,
}

impl Realm {
    /// Works whenever this replica leads.
    async fn follow(&self, mut leads: watch::Receiver<Option<Lead>>, tasks: Tasks) {
        loop {
            let lead = leads.borrow_and_update().clone();
            let Some(lead) = lead else {
                if leads.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let reign = tasks.child();
            self.begin(lead, &reign);
            tokio::select! {
                _ = leads.changed() => {}
                () = reign.stopped() => tokio::time::sleep(REIGN_PAUSE).await,
            }
            reign.stop();
            reign.ended().await;
        }
    }

    /// Starts the watches and the loop of each kind.
    fn begin(&self, lead: Lead, tasks: &Tasks) {
        let client = client::guarded(&self.client, &self.client_metrics, Some(lead.clone()));
        let (bell, mut queues) = Bell::new();
        let (stores, owned) = hub::start(&client, &self.scope, &bell, tasks);
        let context = Context {
            applier: Applier::new(client.clone(), owned),
            events: Events::new(client.clone(), &self.pod),
            control: ControlPlanes::new(
                self.keyring.clone(),
                Arc::clone(&self.directory),
                lead.term(),
            ),
            keyring: self.keyring.clone(),
            clock: Arc::clone(&self.clock),
            built_in: Arc::clone(&self.built_in),
            stores,
            client,
            lead,
        };
        let (clusters, regions, pools, maps, migrations, rebalances) = context.stores.parts();
        let (stores, (ready, is_ready)) = (context.stores.clone(), watch::channel(false));
        tasks.spawn("first lists", async move {
            // A watch that ended takes the whole reign along, and with it those who wait here.
            if stores.ready().await.is_ok() {
                ready.send_replace(true);
            }
            std::future::pending::<()>().await;
        });
        let mut looped = Loops {
            is_ready,
            context: &context,
            metrics: &self.loop_metrics,
            queues: &mut queues,
            tasks,
        };
        looped.start("clusters", Kind::Cluster, ClusterReconciler, clusters);
        looped.start("regions", Kind::Region, RegionReconciler, regions);
        looped.start("edge pools", Kind::EdgePool, EdgePoolReconciler, pools);
        looped.start("shard maps", Kind::ShardMap, ShardMapReconciler, maps);
        looped.start("migrations", Kind::Migration, MigrationReconciler, migrations);
        looped.start("rebalances", Kind::Rebalance, RebalanceReconciler, rebalances);
    }
}

struct Loops<'a> {
    is_ready: watch::Receiver<bool>,
    context: &'a Context,
    metrics: &'a LoopMetrics,
    queues: &'a mut BTreeMap<Kind, mpsc::Receiver<Key>>,
    tasks: &'a Tasks,
}

impl Loops<'_> {
    fn start<R: Reconciler>(
        &mut self,
        name: &'static str,
        kind: Kind,
        reconciler: R,
        store: Store<DeserializeGuard<R::Kind>>,
    ) {
        let Some(queue) = self.queues.remove(&kind) else { return };
        let (context, metrics) = (self.context.clone(), self.metrics.clone());
        let mut is_ready = self.is_ready.clone();
        self.tasks.spawn_critical(name, async move {
            if is_ready.wait_for(|ready| *ready).await.is_ok() {
                controller::run(reconciler, context, store, queue, metrics).await;
            }
        });
    }
}

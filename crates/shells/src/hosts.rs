//! The hosts of a world, and what runs on each: as in a pod, what ends is started again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use iris_controlplane::leader::Deps;
use iris_controlplane::metrics::ControlMetrics;
use iris_controlplane::replica::{Replica, ReplicaConfig};
use iris_core::group::Sizes;
use iris_core::rate::Rates;
use iris_core::shard::Policy;
use iris_dataplane::control::ControlPlane;
use iris_dataplane::edge::{Edge, EdgeConfig, EdgeDeps, ListenerKey};
use iris_dataplane::owner::{Owner, OwnerConfig, OwnerDeps};
use iris_dataplane::route::{self, Routes};
use iris_net::TcpListener;
use iris_proto::control::MovePhase;
use iris_runtime::admin::Health;
use iris_runtime::metrics::Metrics;
use iris_runtime::task::{Paced, Tasks};
use iris_runtime::tls::{self, Role};
use turmoil::Sim;

use crate::ground::{Ground, elapsed};

pub(crate) const CONTROLS: usize = 2;
pub(crate) const OWNERS: usize = 3;
pub(crate) const EDGES: usize = 2;
/// Where everybody listens.
pub(crate) const PORT: u16 = 7000;

/// A process that ended is started again so much later.
const RESTART: Duration = Duration::from_millis(500);
const LANES: u8 = 2;
/// Who moves shards.
const SRE: &str = "sre";
/// Within so long an owner that went on knows that it was deposed.
const DEPOSED_WITHIN: Duration = Duration::from_secs(2);
/// Simulated people have short passwords to hash.
const PASSWORD_MEMORY_KIB: u32 = 64;

/// The hosts of a kind.
pub(crate) fn names(kind: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |n| format!("{kind}-{n}"))
}

/// Those on which a process runs that ships, and that of whoever moves shards.
pub(crate) fn hosts() -> impl Iterator<Item = String> {
    let servers = names("control", CONTROLS).chain(names("owner", OWNERS));
    servers.chain(names("edge", EDGES)).chain([SRE.to_owned()])
}

/// Starts them all.
pub(crate) fn start(sim: &mut Sim<'_>, ground: &Arc<Ground>) {
    for name in names("control", CONTROLS) {
        host(sim, ground, name, control);
    }
    for name in names("owner", OWNERS) {
        host(sim, ground, name, owner);
    }
    for name in names("edge", EDGES) {
        host(sim, ground, name, edge);
    }
    host(sim, ground, SRE.to_owned(), sre);
}

fn host<F>(sim: &mut Sim<'_>, ground: &Arc<Ground>, name: String, run: fn(Arc<Ground>, String) -> F)
where
    F: Future<Output = anyhow::Result<()>> + 'static,
{
    let shared = Arc::clone(ground);
    sim.host(name.clone(), {
        let name = name.clone();
        move || {
            let (ground, name) = (Arc::clone(&shared), name.clone());
            async move {
                let stillness = Arc::clone(&ground.machine(&name).stillness);
                let processes = async move {
                    loop {
                        // What it says of its end matters to nobody: it is started again.
                        let _ended = run(Arc::clone(&ground), name.clone()).await.is_ok();
                        tokio::time::sleep(RESTART).await;
                    }
                };
                tokio::select! {
                    () = Paced::new(stillness.clone(), processes) => {}
                    () = stillness.sweep() => {}
                }
                Ok(())
            }
        }
    });
    ground.is_at(&name, sim.lookup(name.as_str()));
}

fn service() -> String {
    names("control", CONTROLS).map(|name| format!("{name}:{PORT}")).collect::<Vec<_>>().join(",")
}

/// Moves shards about, in every second world, whatever becomes of the moves.
async fn sre(ground: Arc<Ground>, _: String) -> anyhow::Result<()> {
    let (operator, mut random) = (ground.operator()?, fastrand::Rng::with_seed(ground.seed));
    loop {
        tokio::time::sleep(Duration::from_millis(random.u64(100..1_200))).await;
        if ground.began().is_none() || ground.seed.is_multiple_of(2) {
            continue;
        }
        let (shard, owner) = (random.u32(..ground.count.get()), random.usize(..OWNERS));
        let moved = operator.try_move(shard, &format!("owner-{owner}")).await;
        if moved.is_ok_and(|state| state.phase == i32::from(MovePhase::Committed)) {
            ground.moved();
        }
    }
}

async fn control(ground: Arc<Ground>, pod: String) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let machine = ground.machine(&pod);
    let deps = Deps {
        count: ground.count,
        home_gen: ground.home_gen,
        expected_owners: u32::try_from(OWNERS)?,
        development: true,
        coord: Arc::clone(&machine.coord),
        store: Arc::clone(&machine.store),
        clock: Arc::clone(&machine.clock),
        identity: ground.pki.identity(Role::ControlPlane, &pod)?,
        metrics: ControlMetrics::new(&Metrics::new()),
    };
    let config = ReplicaConfig { address: format!("{pod}:{PORT}"), pod };
    let replica = Replica::start(config, deps, (listener, &Health::new()), &machine.tasks())?;
    replica.ended().await;
    replica.stop().await;
    Ok(())
}

/// The routes of a process, as the control plane tells them.
fn routes(ground: &Ground, role: Role, pod: &str, tasks: &Tasks) -> anyhow::Result<Arc<Routes>> {
    let routes = Arc::new(Routes::new(ground.count));
    let control = Arc::new(ControlPlane::new(ground.pki.identity(role, pod)?, service()));
    tasks.spawn("routes", route::follow(control, pod.to_owned(), Arc::clone(&routes)));
    Ok(routes)
}

async fn owner(ground: Arc<Ground>, pod: String) -> anyhow::Result<()> {
    let machine = ground.machine(&pod);
    let tasks = machine.tasks();
    let identity = ground.pki.identity(Role::Owner, &pod)?;
    let deps = OwnerDeps {
        config: OwnerConfig {
            pod: pod.clone(),
            pod_uid: String::new(),
            node: pod.clone(),
            zone: "simulated".to_owned(),
            address: format!("{pod}:{PORT}"),
            lanes: LANES,
            shard_count: ground.count,
            home_gen: ground.home_gen,
            policy: Policy { history: true, rates: Rates::default(), groups: Sizes::default() },
            leave_for: Duration::from_secs(25),
            password_memory_kib: PASSWORD_MEMORY_KIB,
            version: "simulated".to_owned(),
        },
        store: Arc::clone(&machine.store),
        coord: Arc::clone(&machine.coord),
        clock: Arc::clone(&machine.clock),
        control: Arc::new(ControlPlane::new(identity.clone(), service())),
        identity,
        tokens: ground.tokens.clone(),
        signing: ground.signing.clone(),
        routes: routes(&ground, Role::Owner, &pod, &tasks)?,
        metrics: Metrics::new(),
        health: Health::new(),
        listener: TcpListener::bind(("0.0.0.0", PORT)).await?,
    };
    let mut owner = Owner::start(deps, &tasks).await?;
    owner.ended().await;
    let went_on = machine.stillness.went_on();
    if went_on.is_some_and(|at| elapsed().saturating_sub(at) < DEPOSED_WITHIN) {
        ground.deposed();
    }
    tasks.stop();
    owner.stop().await;
    Ok(())
}

async fn edge(ground: Arc<Ground>, pod: String) -> anyhow::Result<()> {
    let machine = ground.machine(&pod);
    let tasks = machine.tasks();
    let leaf = ground.pki.server(&[&pod])?;
    let mut config = EdgeConfig::new(pod.clone(), ground.count);
    config.logins_per_second = 10_000;
    let deps = EdgeDeps {
        config,
        clock: Arc::clone(&machine.clock),
        identity: ground.pki.identity(Role::Edge, &pod)?,
        tokens: ground.tokens.clone(),
        routes: routes(&ground, Role::Edge, &pod, &tasks)?,
        key: ListenerKey::Fixed(Box::new(tls::certified_key(
            leaf.chain.as_bytes(),
            leaf.key.as_bytes(),
        )?)),
        metrics: Metrics::new(),
        health: Health::new(),
        listener: TcpListener::bind(("0.0.0.0", PORT)).await?,
    };
    let edge = Edge::start(deps, &tasks)?;
    edge.ended().await;
    tasks.stop();
    edge.stop().await;
    Ok(())
}

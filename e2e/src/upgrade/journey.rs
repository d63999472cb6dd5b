//! The way back and forth: each leg begins and ends with a whole cluster, and has traffic of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use parking_lot::Mutex;
use xtask::cluster::soak::Load;
use xtask::cluster::{Cluster, NAMESPACE};

use super::album::Album;
use super::change::{self, Operator, Said};
use super::pods::{self, Pair, Record, Version};
use super::verdict::{self, Kind, Outcome, Seen};
use crate::chaos::scene::{Interrupted, Scene};
use crate::chaos::traffic::Traffic;
use crate::chaos::whole;

/// The traffic beside a leg. It is wound up by hand: nothing takes as long.
const BESIDE: Load = Load { pairs: 20, rate: 200, seconds: 3_600 };
/// There is traffic for so long before anything changes, and after everything has, in seconds.
const QUIET_S: f64 = 5.0;
/// With another operator everything stays as it is for so long, in seconds: it looks at everything in that.
const RESTING_S: f64 = 45.0;
/// Every pod is replaced within this time: edges let their clients go slowly.
const ARRIVE_MAX: Duration = Duration::from_secs(900);
/// How often the pods are looked at, in seconds.
const LOOK_S: f64 = 0.5;
/// So often in a row everything must be whole.
const LOOKS: u32 = 3;
/// What clients connect to. The edges' own addresses go with the edges.
const SERVICE: &str = "eu-public-edge";
const PORT: u16 = 443;

/// What goes from one version to the other.
#[derive(Debug)]
pub struct Way {
    /// The images of both.
    pub pair: Pair,
    /// The older operator.
    pub older: Operator,
    /// The newer operator.
    pub newer: Operator,
    /// Whether the operator goes back, too.
    pub with_operator: bool,
    /// Where the logs go.
    pub logs: PathBuf,
}

/// A leg: what, and where to.
type Leg = (&'static str, Kind, Version);

const LEGS: [Leg; 4] = [
    ("pods back to the older version", Kind::Pods, Version::Older),
    ("the operator back to the older version", Kind::Operator, Version::Older),
    ("the operator forward to the newer version", Kind::Operator, Version::Newer),
    ("pods forward to the newer version", Kind::Pods, Version::Newer),
];

/// Goes the whole way, up to the first leg that fails. What it measured is in the outcomes.
///
/// # Errors
/// When somebody ended the run, or nothing could begin.
pub fn run(scene: &Scene, way: &Way) -> Result<Vec<Outcome>> {
    rest(scene, way, Version::Newer, ARRIVE_MAX).context("before the first leg")?;
    let mut album = Album::open(&scene.cluster, &format!("{:x}", fastrand::u32(..)))?;
    album.say(&scene.cluster, "by the newer version")?;
    let mut outcomes = Vec::new();
    for leg in LEGS {
        if leg.1 == Kind::Operator && !way.with_operator {
            continue;
        }
        scene.say(leg.0);
        let outcome = go(scene, way, leg, &mut album)?;
        let passed = outcome.passed;
        scene.say(&format!("{}: {}", leg.0, if passed { "passed" } else { "FAILED" }));
        outcomes.push(outcome);
        if !passed {
            // Each leg begins where the one before ended.
            break;
        }
    }
    Ok(outcomes)
}

fn go(scene: &Scene, way: &Way, leg: Leg, album: &mut Album) -> Result<Outcome, Interrupted> {
    let (name, kind, to) = leg;
    let (began, mut seen) = (Instant::now(), Seen::default());
    if let Err(error) = play(scene, way, leg, album, &mut seen) {
        if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
            return Err(*interrupted);
        }
        seen.broken = Some(format!("{error:#}"));
    }
    Ok(verdict::judge(name, (kind, to), &way.pair, &seen, began.elapsed().as_secs_f64()))
}

fn play(scene: &Scene, way: &Way, leg: Leg, album: &mut Album, seen: &mut Seen) -> Result<()> {
    let (name, kind, to) = leg;
    let service = service(&scene.cluster)?;
    let log = way.logs.join(format!("{}.log", name.replace(' ', "-")));
    let traffic = Traffic::start_at(scene, BESIDE, &log, Some(&service))?;
    scene.pause(QUIET_S)?;
    seen.before = pods::list(&scene.cluster)?;
    let record = Mutex::new(Record::default());
    let over = AtomicBool::new(false);
    let changed = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(scene, &way.pair, &record, &over));
        let changed = turn(scene, way, kind, to);
        over.store(true, Ordering::Release);
        let watched = watching.join().map_err(|_| anyhow!("nobody watched the pods"));
        changed.and(watched)
    });
    seen.record = record.into_inner();
    // Whatever went wrong, what was acknowledged meanwhile is accounted for.
    seen.ledger = Some(traffic.end()?);
    changed?;
    seen.after = pods::list(&scene.cluster)?;
    seen.album = album.missing(&scene.cluster)?;
    album.say(&scene.cluster, name)?;
    if seen.album.is_none() {
        seen.album = album.missing(&scene.cluster)?;
    }
    Ok(())
}

/// Changes what is to be changed, and waits until all of it is and everything is whole.
fn turn(scene: &Scene, way: &Way, kind: Kind, to: Version) -> Result<()> {
    match kind {
        Kind::Pods => {
            change::name_images(&scene.cluster, way.pair.images(to))?;
            rest(scene, way, to, ARRIVE_MAX)?;
            scene.pause(QUIET_S)
        }
        Kind::Operator => {
            let operator = if to == Version::Older { &way.older } else { &way.newer };
            operator.install(&scene.cluster)?;
            scene.pause(RESTING_S)?;
            rest(scene, way, Version::Older, ARRIVE_MAX)
        }
    }
}

/// Waits until every pod is of a version and everything is whole, for more than a moment.
fn rest(scene: &Scene, way: &Way, version: Version, limit: Duration) -> Result<()> {
    let mut looks = 0;
    scene.wait(limit, LOOK_S, || {
        let looked = look(&scene.cluster, &way.pair, version);
        looks = if looked.is_ok() { looks + 1 } else { 0 };
        looked?;
        ensure!(looks >= LOOKS, "it has only just come to rest");
        Ok(())
    })
}

fn look(cluster: &Cluster, pair: &Pair, version: Version) -> Result<()> {
    let pods = pods::list(cluster)?;
    ensure!(!pods.is_empty(), "there are no pods");
    let others: Vec<_> = pair
        .others(&pods, version)
        .iter()
        .map(|pod| format!("{} {}", pod.name, pod.image))
        .collect();
    ensure!(others.is_empty(), "not of the version yet: {}", others.join(", "));
    let problems = whole::problems(cluster)?;
    ensure!(problems.is_empty(), "not whole: {}", problems.join("; "));
    Ok(())
}

/// Writes down which pods serve, until somebody says that it is over.
fn watch(scene: &Scene, pair: &Pair, record: &Mutex<Record>, over: &AtomicBool) {
    let began = Instant::now();
    while !over.load(Ordering::Acquire) {
        // One look that fails is not the last one.
        if let Ok(pods) = pods::list(&scene.cluster) {
            let at_ds = u64::try_from(began.elapsed().as_millis() / 100).unwrap_or(u64::MAX);
            let mut record = record.lock();
            if record.take(pair, &pods, at_ds)
                && let Some(moment) = record.moments.last()
            {
                scene.say(&format!("  {moment}"));
            }
        }
        std::thread::sleep(Duration::from_secs_f64(LOOK_S));
    }
}

/// Where clients connect.
fn service(cluster: &Cluster) -> Result<String> {
    let address = cluster.service_ip(NAMESPACE, SERVICE)?;
    Ok(format!("{SERVICE}.{NAMESPACE}.svc={address}:{PORT}"))
}

/// Puts everything back: the newer operator, pods of the newer version, and the spec as it was.
///
/// # Errors
/// When it does not come to rest; the cluster is as far as it came then.
pub fn put_back(scene: &Scene, way: &Way, said: &Said) -> Result<()> {
    let cluster = &scene.cluster;
    if way.newer.images.get("operator") != Some(&change::operator_image(cluster)?) {
        way.newer.install(cluster)?;
    }
    change::name_images(cluster, &way.pair.newer)?;
    rest(scene, way, Version::Newer, ARRIVE_MAX)?;
    let before = pods::list(cluster)?;
    said.say(cluster)?;
    scene.pause(QUIET_S)?;
    rest(scene, way, Version::Newer, ARRIVE_MAX)?;
    let after = pods::list(cluster)?;
    let kept = before.iter().all(|pod| after.iter().any(|other| other.uid == pod.uid));
    ensure!(kept, "pods restarted though what they run is what they ran");
    spread(cluster)
}

/// Spreads the shards: the owner that restarted last has none.
fn spread(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(["-n", NAMESPACE, "delete", "irm", "--all", "--wait", "--timeout=60s"])?;
    let migrate = ["-n", NAMESPACE, "migrate", "--all", "--wait", "--timeout", "180s"];
    let moved = cluster.kubectl_iris()?.args(migrate).stdin(Stdio::null()).output()?;
    let error = String::from_utf8_lossy(&moved.stderr);
    ensure!(moved.status.success(), "the shards were not spread: {}", error.trim());
    Ok(())
}

/// Checks that the cluster runs what it is said to run, and that the two versions are two.
///
/// # Errors
/// When there is nothing to go back to, or it would not be seen.
pub fn check(cluster: &Cluster, pair: &Pair) -> Result<()> {
    let differ = pair.differs("owner");
    ensure!(differ, "both versions have the same data plane: name an earlier one with --from");
    look(cluster, pair, Version::Newer)
        .context("the cluster must be whole and run what `cargo xtask up` compiled last")
}

/// The directory of logs and results, made.
///
/// # Errors
/// When it cannot be made.
pub fn directory(path: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make {path:?}"))?;
    Ok(path.to_owned())
}

//! A cell, from a whole cluster to a whole cluster: traffic, moves, the fault, its end, healing.
//!
//! Never leaves a fault behind, however it ends.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use xtask::cluster::soak::Load;

use super::catalogue::{Column, Epochs};
use super::faults::{self, Inflicted, Killed};
use super::moves::{self, Moves};
use super::proof::Counter;
use super::scene::{Interrupted, Scene};
use super::select::Cell;
use super::shards::Shards;
use super::traffic::{self, Traffic};
use super::verdict::{self, Outcome, READY_S_MAX, SETTLE_S_MAX, Seen};
use super::victims::{self, Victims};
use super::{evidence, whole};

/// The traffic beside a fault. It is wound up by hand: nothing takes as long.
const BESIDE: Load = Load { pairs: 20, rate: 200, seconds: 900 };
/// The traffic after everything has settled.
const AFTERWARDS: Load = Load { pairs: 20, rate: 100, seconds: 3 };
/// How long there is traffic before anything happens, in seconds; the seed draws from it.
const BEFORE_S: std::ops::Range<f64> = 3.0..4.0;
/// Before a cell the cluster may need so long to be whole: a container that was killed often waits.
const ENTER_MAX: Duration = Duration::from_secs(360);
/// How often somebody looks whether everything is Ready, in seconds.
const LOOK_S: f64 = 0.7;
/// So often in a row everything must be: a dead container is Ready until the kubelet has noticed.
const LOOKS: u32 = 3;

/// Runs a cell. What it measured and what went wrong is in the outcome; what the soak said, and what the
/// cluster said of a failure, in files in `logs`.
///
/// # Errors
/// When somebody ended the run.
pub fn run(scene: &Scene, cell: Cell, logs: &Path) -> Result<Outcome, Interrupted> {
    let (began, name) = (Instant::now(), cell.to_string());
    let mut seen = Seen::default();
    let healing = Healing(scene);
    let played = play(scene, cell, logs, &mut seen);
    drop(healing);
    if let Err(error) = played {
        if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
            return Err(*interrupted);
        }
        seen.broken = Some(format!("{error:#}"));
    }
    let outcome =
        verdict::judge(name.clone(), cell.fault.what, seen, began.elapsed().as_secs_f64());
    if !outcome.passed {
        evidence::keep(scene, &logs.join(name));
    }
    Ok(outcome)
}

/// Ends every fault when it goes.
struct Healing<'a>(&'a Scene);

impl Drop for Healing<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.cluster.heal_all() {
            self.0.say(&format!("NOT HEALED, run `cargo xtask chaos --heal`: {error:#}"));
        }
    }
}

fn play(scene: &Scene, cell: Cell, logs: &Path, seen: &mut Seen) -> Result<()> {
    enter(scene)?;
    let victims = Victims::find(&scene.cluster)?;
    let owner = victims.owner()?;
    let traffic = Traffic::start(scene, BESIDE, &logs.join(format!("{cell}.log")))?;
    scene.pause(scene.draw(BEFORE_S))?;
    let quiet = traffic.unanswered_max();
    let crossed = cell.column == Column::Move;
    if crossed {
        let heirs: Vec<_> = victims.owners.iter().skip(1).map(|pod| pod.name.as_str()).collect();
        let moves = moves::begin(scene, &victims.shards, &owner.name, &heirs)?;
        let Moves { ordered, succeeded, unfinished, .. } = moves;
        scene
            .say(&format!("{cell}: {succeeded} of {ordered} moves are over, {unfinished} are not"));
        #[expect(clippy::cast_precision_loss, reason = "there are few shards")]
        let unfinished = unfinished as f64;
        seen.proof.push(Counter::at_least(1.0, "moves unfinished when it struck", unfinished));
    }
    let shards = victims.shards.count(&owner.name);
    scene.say(&format!("{cell}: strikes; {} on {} has {shards} shards", owner.name, owner.node));
    let Inflicted { ended, proof, killed } = faults::inflict(scene, &victims, &cell.fault.action)?;
    seen.proof.extend(proof);
    scene.say(&format!("{cell}: ended; healing"));
    heal(scene, &Fault { ended, quiet, killed: &killed, crossed }, traffic, seen)?;
    for one in &killed {
        seen.proof.extend(replaced(scene, one)?);
    }
    let later = Shards::now(&scene.cluster)?;
    let raised = victims.shards.raised(&owner.name, &later);
    seen.proof.push(match cell.fault.epochs {
        Epochs::Kept if !crossed => Counter::that("the owner kept its shards", raised == 0),
        epochs => {
            let least = if epochs == Epochs::Raised { 1.0 } else { 0.0 };
            #[expect(clippy::cast_precision_loss, reason = "there are few shards")]
            Counter::at_least(least, "shards of the owner with a higher epoch", raised as f64)
        }
    });
    if crossed {
        moves::clear(&scene.cluster)?;
    }
    Ok(())
}

/// Waits for a whole cluster.
fn enter(scene: &Scene) -> Result<()> {
    scene.cluster.heal_all()?;
    let whole = || {
        scene.wait(ENTER_MAX, 1.0, || {
            let problems = whole::problems(&scene.cluster)?;
            ensure!(problems.is_empty(), "the cluster is not whole: {}", problems.join("; "));
            Ok(())
        })
    };
    whole()?;
    victims::refresh(scene, whole)
}

/// A fault that has ended.
struct Fault<'a> {
    ended: Instant,
    quiet: u64,
    killed: &'a [Killed],
    crossed: bool,
}

/// The healing phase: traffic settles, and goes on; beside it everything becomes Ready.
fn heal(scene: &Scene, fault: &Fault<'_>, traffic: Traffic, seen: &mut Seen) -> Result<()> {
    std::thread::scope(|scope| {
        let ready = scope.spawn(|| await_ready(scene, fault));
        let settled = settle(scene, fault, traffic, seen);
        let ready = ready.join().map_err(|_| anyhow::anyhow!("the wait for Ready broke"))?;
        settled?;
        (seen.ready_s, seen.unready, seen.moves) = ready?;
        anyhow::Ok(())
    })?;
    // Now, for an API server that is back may not have heard of every edge yet.
    scene.check()?;
    seen.afterwards = Some(traffic::whole(&scene.cluster, AFTERWARDS)?);
    Ok(())
}

fn settle(scene: &Scene, fault: &Fault<'_>, traffic: Traffic, seen: &mut Seen) -> Result<()> {
    let limit = Duration::from_secs_f64(SETTLE_S_MAX);
    seen.settle_s = traffic.settle(scene, fault.ended, fault.quiet, limit)?;
    let wound_up = Instant::now();
    seen.ledger = Some(traffic.end()?);
    seen.drain_s = Some(wound_up.elapsed().as_secs_f64());
    Ok(())
}

/// When everything was Ready, what was not when nobody waited any longer, and how the moves ended.
type Readiness = (Option<f64>, Vec<String>, Option<Moves>);

fn await_ready(scene: &Scene, fault: &Fault<'_>) -> Result<Readiness> {
    let (mut since, mut looks) = (None, 0);
    loop {
        // A fault may have left the API server busy: no answer is one of the things that are not Ready.
        let asked = fault.ended.elapsed().as_secs_f64();
        let (problems, moves) = unready(scene, fault);
        if problems.is_empty() {
            since.get_or_insert(asked);
            looks += 1;
        } else {
            (since, looks) = (None, 0);
        }
        if looks == LOOKS {
            return Ok((since, problems, moves));
        }
        if asked > READY_S_MAX {
            return Ok((None, problems, moves));
        }
        scene.pause(LOOK_S)?;
    }
}

fn unready(scene: &Scene, fault: &Fault<'_>) -> (Vec<String>, Option<Moves>) {
    let mut problems =
        whole::problems(&scene.cluster).unwrap_or_else(|error| vec![format!("{error:#}")]);
    for Killed { pod, container } in fault.killed {
        match pod.container(&scene.cluster) {
            Ok(found) if found.id != *container => {}
            _ => problems.push(format!("{} has no other container yet", pod.name)),
        }
    }
    if !fault.crossed {
        return (problems, None);
    }
    let moves = moves::now(&scene.cluster);
    match &moves {
        Ok(moves) if moves.unfinished == 0 => {}
        Ok(moves) => problems.push(format!("{} moves have not ended", moves.unfinished)),
        Err(error) => problems.push(format!("{error:#}")),
    }
    (problems, moves.ok())
}

/// That a container is another one, by the machine and by the API server.
fn replaced(scene: &Scene, killed: &Killed) -> Result<[Counter; 2]> {
    let Killed { pod, container } = killed;
    let is_other = pod.container(&scene.cluster).is_ok_and(|found| found.id != *container);
    let restarts = victims::restarts(&scene.cluster, pod)?.saturating_sub(pod.restarts);
    #[expect(clippy::cast_precision_loss, reason = "there are few restarts")]
    let restarts = restarts as f64;
    Ok([
        Counter::that(format!("{} has another container", pod.name), is_other),
        Counter::at_least(1.0, format!("restarts of {}", pod.name), restarts),
    ])
}

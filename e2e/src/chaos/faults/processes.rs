//! Faults of processes: killed, standing still, slowed by their disk.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use xtask::cluster::{ContainerRef, Daemon, Signal};

use super::{Inflicted, Killed};
use crate::chaos::catalogue::{Means, Role};
use crate::chaos::proof::Counter;
use crate::chaos::scene::Scene;
use crate::chaos::victims::{Pod, Victims};

/// A process that stands still may have used so much processor time: it was about to stop.
const STILL_NS_MAX: u64 = 5_000_000;
/// More writes a second than any disk takes.
const NO_LIMIT: u32 = 10_000_000;
/// How long writes are counted before the disk is slow, in seconds.
const BEFORE_S: f64 = 3.0;
/// A limit of writes holds but for this much: the kernel counts in slices.
const LIMIT_SLACK: f64 = 1.3;
/// Where Cassandra has its commit log.
const COMMIT_LOG: &str = "/var/lib/cassandra/commitlog";
/// Within this time the traffic of a cell fills the segments that are there already, two of 16 MiB.
const FILLING_MAX: Duration = Duration::from_secs(180);
/// What Cassandra says when there is no room.
const NO_ROOM: &str = "No space left on device";
/// Longer the API server may not take to come back.
const API_MAX: Duration = Duration::from_secs(60);
/// Longer Cassandra may not take to start, on a machine that has much else to do.
const DATABASE_MAX: Duration = Duration::from_secs(120);

pub(super) fn kill(scene: &Scene, victims: &Victims, roles: &[Role]) -> Result<Inflicted> {
    let found: Result<Vec<_>> = roles
        .iter()
        .map(|role| {
            let pod = victims.of(*role)?;
            Ok((pod.clone(), pod.container(&scene.cluster)?))
        })
        .collect();
    let found = found?;
    let mut proof = Vec::new();
    for (pod, container) in &found {
        let killed = container.signal(Signal::Kill)?;
        #[expect(clippy::cast_precision_loss, reason = "a container has few processes")]
        proof.push(Counter::at_least(
            1.0,
            format!("processes of {} killed", pod.name),
            killed as f64,
        ));
    }
    if roles.contains(&Role::Cassandra) {
        await_database(scene, &found)?;
    }
    let killed = |(pod, container): (Pod, ContainerRef)| Killed { pod, container: container.id };
    Ok(Inflicted { ended: Instant::now(), proof, killed: found.into_iter().map(killed).collect() })
}

/// There is one database, and as long as it starts nothing can settle: the fault ends when it is there.
fn await_database(scene: &Scene, killed: &[(Pod, ContainerRef)]) -> Result<()> {
    for (pod, container) in killed {
        scene.wait(DATABASE_MAX, 0.2, || {
            ensure!(pod.container(&scene.cluster)?.id != container.id, "{} is dead", pod.name);
            let path = r#"-o=jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
            let ready =
                scene.cluster.kubectl(["-n", &pod.namespace, "get", "pod", &pod.name, path])?;
            ensure!(ready.trim() == "True", "{} is not Ready", pod.name);
            Ok(())
        })?;
    }
    Ok(())
}

/// Has pods stand still for a while.
pub(super) fn pause(scene: &Scene, pods: &[&Pod], by: Means, seconds: u32) -> Result<Inflicted> {
    let containers: Result<Vec<_>> = pods.iter().map(|pod| pod.container(&scene.cluster)).collect();
    let containers = containers?;
    ensure!(!containers.is_empty(), "nobody is there to stand still");
    let began = Instant::now();
    for container in &containers {
        match by {
            Means::Signal => {
                container.signal(Signal::Stop)?;
            }
            Means::Freezer => container.freeze()?,
        }
    }
    // The last of them may just have been at work.
    scene.pause(0.05)?;
    let used: Vec<_> = containers.iter().map(ContainerRef::cpu_ns).collect();
    scene.pause((f64::from(seconds) - began.elapsed().as_secs_f64()).max(0.0))?;
    let used = containers.iter().zip(used).map(|(one, before)| one.cpu_ns().saturating_sub(before));
    let still = used.filter(|used_ns| *used_ns <= STILL_NS_MAX).count();
    let stood_s = began.elapsed().as_secs_f64();
    for container in &containers {
        match by {
            Means::Signal => {
                container.signal(Signal::Continue)?;
            }
            Means::Freezer => container.thaw()?,
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "there are few containers")]
    let (still, all) = (still as f64, containers.len() as f64);
    Ok(Inflicted::now(vec![
        Counter::at_least(all, "containers that used no processor time", still),
        Counter::at_least(f64::from(seconds), "seconds that they stood still", stood_s),
    ]))
}

pub(super) fn api_server(scene: &Scene, seconds: u32) -> Result<Inflicted> {
    let cluster = &scene.cluster;
    let before = cluster.daemon_pid(Daemon::ApiServer)?;
    cluster.kill_daemon(Daemon::ApiServer)?;
    let began = Instant::now();
    let serves = cluster.kubectl(["get", "--raw=/readyz", "--request-timeout=2s"]).is_ok();
    scene.pause((f64::from(seconds) - began.elapsed().as_secs_f64()).max(0.0))?;
    cluster.start_daemon(Daemon::ApiServer)?;
    let ended = Instant::now();
    // Everything after this asks it.
    cluster.await_api(API_MAX).context("the API server does not come back")?;
    let after = cluster.daemon_pid(Daemon::ApiServer)?;
    let proof = vec![
        Counter::that("kube-apiserver answered nothing", !serves),
        Counter::that("kube-apiserver is another process", before != after),
        Counter::at_least(
            f64::from(seconds),
            "seconds that it was dead",
            (ended - began).as_secs_f64(),
        ),
    ];
    Ok(Inflicted { ended, proof, killed: Vec::new() })
}

/// Whatever is acknowledged is in segments that had their room before: there is none for anything in a new
/// one. With its process the file system without room goes.
pub(super) fn full_disk(scene: &Scene, pod: &Pod) -> Result<Inflicted> {
    let container = pod.container(&scene.cluster)?;
    container.fill(COMMIT_LOG)?;
    let began = Instant::now();
    scene.wait(FILLING_MAX, 0.05, || {
        ensure!(container.pids().is_empty(), "{} did not notice that its disk is full", pod.name);
        Ok(())
    })?;
    scene.say(&format!("{} died after {:.1} s", pod.name, began.elapsed().as_secs_f64()));
    let logs = ["-n", &pod.namespace, "logs", &pod.name, "--tail=2000", "--request-timeout=10s"];
    // Its last words are those of the container before once there is another.
    let said = scene.wait(API_MAX, 0.5, || {
        let mut said = scene.cluster.kubectl(logs).unwrap_or_default();
        said += &scene.cluster.kubectl([&logs[..], &["--previous"]].concat()).unwrap_or_default();
        ensure!(said.contains(NO_ROOM), "it says nothing of it");
        Ok(())
    });
    scene.check()?;
    let proof = vec![Counter::that(format!("{} said {NO_ROOM:?}", pod.name), said.is_ok())];
    await_database(scene, &[(pod.clone(), container.clone())])?;
    let ended = Instant::now();
    let killed = vec![Killed { pod: pod.clone(), container: container.id }];
    Ok(Inflicted { ended, proof, killed })
}

/// Limits a container's writes. More than before the limit it could not write anyway, so the limit must be
/// below that to be one.
pub(super) fn slow_disk(scene: &Scene, pod: &Pod, limit: u32, seconds: u32) -> Result<Inflicted> {
    let (container, disk) = (pod.container(&scene.cluster)?, scene.cluster.disk()?);
    let rate = |seconds: f64| -> Result<f64> {
        let (before, began) = (container.writes(&disk)?, Instant::now());
        scene.pause(seconds)?;
        let writes = container.writes(&disk)?.saturating_sub(before);
        #[expect(clippy::cast_precision_loss, reason = "fewer writes than an f64 counts exactly")]
        Ok(writes as f64 / began.elapsed().as_secs_f64())
    };
    // The kernel counts a group's writes only once there is a limit of the disk, if one that nothing meets.
    container.limit_writes(&disk, Some(NO_LIMIT))?;
    let free = rate(BEFORE_S)?;
    container.limit_writes(&disk, Some(limit))?;
    let limited = rate(seconds.into())?;
    container.limit_writes(&disk, None)?;
    let most = f64::from(limit) * LIMIT_SLACK;
    Ok(Inflicted::now(vec![
        Counter::at_least(most, "writes a second before the limit", free),
        Counter::at_least(1.0, "writes a second below it", limited),
        Counter::that(format!("no more than {most:.0} a second below it"), limited <= most),
    ]))
}

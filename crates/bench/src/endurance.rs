//! Half an hour and more of what wears a server out, and whether its memory grows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use xtask::cluster::{
    Cluster, NAMESPACE,
    soak::{Load, Report, Soak, Wiring},
};

use crate::trend::Trend;
use crate::{owners, pause};

const PAIRS: u32 = 100;
const RATE: u32 = 500;
/// Of a hundred devices so many read slowly.
const SLOW_PERCENT: u32 = 10;
/// So many devices in a second give their connection up.
const CHURN: u32 = 2;
/// From one death of an owner to the next.
const CYCLE: Duration = Duration::from_secs(90);
/// Accounts are made, and devices connected, in this time.
const TRAFFIC_MAX: Duration = Duration::from_secs(600);
/// Before this memory still grows to what it is at work: a third of the run.
const WARM_UP: u32 = 3;

/// Measures for so many minutes.
pub(crate) fn section(cluster: &Cluster, minutes: u32) -> Result<String> {
    let more = [format!("--slow={SLOW_PERCENT}"), format!("--churn={CHURN}")];
    let wiring = Wiring { more: &more, ..Wiring::default() };
    let load = Load { pairs: PAIRS, rate: RATE, seconds: minutes * 60 };
    let soak = Soak::start_wired(cluster, load, &wiring)?;
    let run = Run::watch(cluster, Duration::from_secs(u64::from(load.seconds)))?;
    let report = soak.end()?;
    ensure!(report.ok, "the ledger is not clean: {:?}", report.violations);
    run.page(minutes, &report)
}

/// What was done, and what was seen.
struct Run {
    victim: String,
    kills: u32,
    moves: u32,
    /// Bytes by pod: how far into the run, in hours, and how many.
    memory: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Run {
    /// Kills one owner over and over, and moves shards to it as soon as it is back. The memory of the
    /// pods that live on is read once in a turn, each time after the same events.
    fn watch(cluster: &Cluster, length: Duration) -> Result<Self> {
        await_traffic(cluster)?;
        let began = Instant::now();
        let all = cluster.pods("owner")?;
        let victim = all.last().context("there is no owner")?.clone();
        let mut run = Self { victim, kills: 0, moves: 0, memory: BTreeMap::new() };
        // What the last turn begins must be over before the last message is sent.
        while began.elapsed() + CYCLE * 2 < length {
            let turn = Instant::now();
            owners::kill(cluster, &run.victim)?;
            run.kills += 1;
            run.moves += move_back(cluster, &run.victim)?;
            pause(CYCLE.saturating_sub(turn.elapsed()));
            run.read(cluster, began.elapsed())?;
            eprintln!(
                "{} kills and {} moves in {:.0} s",
                run.kills,
                run.moves,
                began.elapsed().as_secs_f64()
            );
        }
        Ok(run)
    }

    fn read(&mut self, cluster: &Cluster, at: Duration) -> Result<()> {
        for role in ["owner", "edge", "controlplane"] {
            for pod in cluster.pods(role)?.into_iter().filter(|pod| *pod != self.victim) {
                #[expect(clippy::cast_precision_loss, reason = "far below what an f64 counts")]
                let bytes = cluster.memory(&pod, role)? as f64;
                let hours = at.as_secs_f64() / 3600.0;
                self.memory.entry(pod).or_default().push((hours, bytes));
            }
        }
        Ok(())
    }

    fn page(&self, minutes: u32, report: &Report) -> Result<String> {
        let mut text = format!(
            "\n## Endurance\n\n{minutes} minutes with {RATE} messages a second of {PAIRS} pairs, {SLOW_PERCENT} % of \
             the devices reading one message a second, {CHURN} devices a second coming back on a new \
             connection ({} were made again in all). {} was killed {} times, and {} shards moved back to \
             it while they were in use. Acked {}, delivered {}; lost {}, duplicated {}, reordered {}, \
             gaps {}; the generator {}.\n\nMemory of the pods that lived on, by their control groups, once in a turn of {} s; the \
             first third is warming up. Slopes by least squares, with their standard errors; of a control plane, which \
             has few megabytes, 1 % is a few pages.\n\n\
             | pod | after warming up, MB | at the end, MB | slope, % an hour |\n|---|---|---|---|\n",
            report.reconnects,
            self.victim,
            self.kills,
            self.moves,
            report.acked,
            report.delivered,
            report.lost,
            report.duplicated,
            report.reordered,
            report.gaps,
            if report.generator.bottleneck { "did not keep up" } else { "kept up" },
            CYCLE.as_secs(),
        );
        let from = f64::from(minutes) / 60.0 / f64::from(WARM_UP);
        for (pod, points) in &self.memory {
            let warm: Vec<_> = points.iter().copied().filter(|(hours, _)| *hours >= from).collect();
            let trend = Trend::of(&warm).with_context(|| format!("{pod}: too few readings"))?;
            let mb = |point: Option<&(f64, f64)>| point.map_or(0.0, |(_, bytes)| bytes / 1e6);
            let percent = 100.0 / trend.mean;
            writeln!(
                text,
                "| {pod} | {:.1} | {:.1} | {:+.1} ± {:.1} |",
                mb(warm.first()),
                mb(warm.last()),
                trend.slope * percent,
                trend.error * percent,
            )?;
        }
        Ok(text)
    }
}

/// Waits until people write: a soak may have their accounts to make.
fn await_traffic(cluster: &Cluster) -> Result<()> {
    let accepted = || cluster.metric("owner", "iris_messages_accepted_total");
    let until = Instant::now() + TRAFFIC_MAX;
    loop {
        let before = accepted()?;
        pause(Duration::from_secs(5));
        if accepted()? - before > f64::from(RATE) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "nobody writes");
    }
}

/// Moves shards to an owner until it has its share. Answers how many.
fn move_back(cluster: &Cluster, owner: &str) -> Result<u32> {
    cluster.kubectl(["-n", NAMESPACE, "delete", "irm", "--all", "--wait"])?;
    let path = r#"-o=jsonpath={range .status.ranges[*]}{.first} {.last} {.owner}{"\n"}{end}"#;
    let map = cluster.kubectl(["-n", NAMESPACE, "get", "irisshardmap", "eu", path])?;
    let elsewhere = elsewhere(&map, owner);
    let owners = cluster.pods("owner")?.len();
    let mut moved = 0;
    // Those that it does not have are more than its share by as much as the others' shares are.
    for shard in elsewhere.iter().step_by(owners) {
        let mut command = cluster.kubectl_iris()?;
        command.args(["-n", NAMESPACE, "migrate", &shard.to_string(), "--to", owner, "--wait"]);
        let output = command.output().context("cannot run kubectl-iris")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "shard {shard} did not move: {said}");
        moved += 1;
    }
    Ok(moved)
}

/// The shards of a map, given by lines of first, last and owner, that are not this owner's.
fn elsewhere(map: &str, owner: &str) -> Vec<u32> {
    let ranges = map.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (first, last) = (words.next()?.parse().ok()?, words.next()?.parse::<u32>().ok()?);
        (words.next()? != owner).then_some(first..=last)
    });
    ranges.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_elsewhere_are_those_of_the_others() {
        let map = "0 3 eu-owner-0\n4 4 eu-owner-2\n5 6 eu-owner-1\n";
        assert_eq!(elsewhere(map, "eu-owner-2"), [0, 1, 2, 3, 5, 6]);
        assert_eq!(elsewhere(map, "eu-owner-0"), [4, 5, 6]);
    }
}

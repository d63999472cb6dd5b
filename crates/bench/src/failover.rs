//! What the death of an owner with many shards costs those who write to them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use xtask::cluster::{
    Cluster,
    soak::{Load, Soak},
};

use crate::{owners, pause};

const PAIRS: u32 = 100;
/// Longer than any run: it is wound up by hand.
const SECONDS: u32 = 6 * 3600;
/// Between two deaths.
const QUIET: Duration = Duration::from_secs(5);

/// Measures so many deaths of whichever owner serves the most shards, at `rate` messages a second.
pub(crate) fn section(cluster: &Cluster, kills: u32, rate: u32) -> Result<String> {
    let soak = Soak::start(cluster, Load { pairs: PAIRS, rate, seconds: SECONDS }, None)?;
    pause(QUIET * 4);
    let (mut served, mut whole) = (Vec::new(), Vec::new());
    for n in 1..=kills {
        pause(QUIET);
        let shards = owners::shards(cluster)?;
        let largest = shards.into_iter().max_by_key(|(_, count)| *count);
        let (owner, count) = largest.context("there is no owner")?;
        eprintln!("kill {n} of {kills}: {owner} with {count} shards");
        whole.push(owners::kill(cluster, &owner)?);
        served.push(count);
    }
    pause(QUIET);
    soak.wind_up()?;
    let report = soak.end()?;
    ensure!(report.ok, "the ledger is not clean: {:?}", report.violations);
    let (gap, quiet) = (report.outage_ms, report.ack_ms);
    served.sort_unstable();
    whole.sort_unstable();
    let seconds = |took: Option<&Duration>| took.map_or(0.0, Duration::as_secs_f64);
    Ok(format!(
        "\n## The death of an owner\n\n{kills} times `kill -9` of the owner with the most shards, under {rate} \
         messages a second of {PAIRS} pairs. It served {} shards at least, {} in the median, {} at most. \
         Shards to which nobody writes come last: all were seen to be served {:.0} s after a death in the \
         median, {:.0} s at most, looking once a second. \
         A write gap is a time in which a writer had something unanswered and no answer came; counted are \
         those in which the server said \"again later\", which are those of the writers whom a death \
         touched. They count from when a message was due, so a generator that does not keep up, as the \
         machine is full while shards are taken over, only adds to them.\n\n\
         | write gaps | p50 ms | p99 ms | max ms | all acks p50 ms | acked | lost, duplicated, reordered | \
         generator kept up |\n|---|---|---|---|---|---|---|---|\n\
         | {} | {:.0} | {:.0} | {:.0} | {:.1} | {} | {}, {}, {} | {} |\n",
        served.first().unwrap_or(&0),
        served.get(served.len() / 2).unwrap_or(&0),
        served.last().unwrap_or(&0),
        seconds(whole.get(whole.len() / 2)),
        seconds(whole.last()),
        gap.count,
        gap.p50,
        gap.p99,
        gap.max,
        quiet.p50,
        report.acked,
        report.lost,
        report.duplicated,
        report.reordered,
        if report.generator.bottleneck { "no" } else { "yes" },
    ))
}

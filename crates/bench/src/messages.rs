//! What messages cost at several rates: latency, rows of the session logs, syncs of the disk.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use xtask::cluster::{
    Cluster, NAMESPACE,
    soak::{Load, Report, Soak},
};

use crate::machine::disk_syncs;

const PAIRS: u32 = 100;

const COLUMNS: &str = "\
| wanted/s | acked/s | ack p50 ms | ack p99 ms | end to end p50 ms | p99 ms | log rows per message | \
syncs/s | lost, duplicated, reordered | generator kept up |
|---|---|---|---|---|---|---|---|---|---|
";

/// Measures, one run for each rate.
pub(crate) fn section(cluster: &Cluster, rates: &[u32], seconds: u32) -> Result<String> {
    let mut text = format!(
        "\n## Messages\n\nOpen loop: each latency counts from when the message should have been \
         sent. {PAIRS} pairs, 256 bytes, {seconds} s for each rate, every message stored and \
         acknowledged by its recipient. Log rows are those of the session logs, by the owners' own \
         count; syncs are flushes of the machine's disk, by the kernel's count, those of both etcds \
         among them.\n\n{COLUMNS}",
    );
    for rate in rates {
        text.push_str(&line(cluster, *rate, seconds, None)?);
    }
    Ok(text)
}

/// Measures one owner that has every shard, and one edge that has every client; one run for each rate.
pub(crate) fn one_of_each(cluster: &Cluster, rates: &[u32], seconds: u32) -> Result<String> {
    let owners = cluster.pods("owner")?;
    let owner = owners.first().context("there is no owner")?;
    let edges = cluster.edges()?;
    let edge = edges.first().context("there is no edge")?;
    eprintln!("all shards move to {owner}");
    move_all(cluster, &["--to", owner])?;
    let lines: Result<String> =
        rates.iter().map(|rate| line(cluster, *rate, seconds, Some(edge))).collect();
    // Every shard to another owner than the one that has them all: they are spread again.
    move_all(cluster, &[])?;
    Ok(format!(
        "\n## One owner, one edge\n\nThe same with every shard at one owner and every client at \
         one edge.\n\n{COLUMNS}{}",
        lines?
    ))
}

fn move_all(cluster: &Cluster, to: &[&str]) -> Result<()> {
    cluster.kubectl(["-n", NAMESPACE, "delete", "irm", "--all", "--wait"])?;
    let mut command = cluster.kubectl_iris()?;
    command.args(["-n", NAMESPACE, "migrate", "--all", "--wait", "--timeout", "180s"]).args(to);
    let output = command.output().context("cannot run kubectl-iris")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the shards did not move: {said}");
    Ok(())
}

/// A soak to its end. A ledger that is not clean is an error: its figures would mean nothing.
pub(crate) fn soak(cluster: &Cluster, load: Load, edge: Option<&str>) -> Result<Report> {
    let report = Soak::start(cluster, load, edge)?.end()?;
    ensure!(report.ok, "the ledger is not clean: {:?}", report.violations);
    Ok(report)
}

fn line(cluster: &Cluster, rate: u32, seconds: u32, edge: Option<&str>) -> Result<String> {
    eprintln!("{rate} messages a second for {seconds} s");
    let before = Count::now(cluster)?;
    let report = soak(cluster, Load { pairs: PAIRS, rate, seconds }, edge)?;
    let after = Count::now(cluster)?;
    let mut line = String::new();
    writeln!(
        line,
        "| {rate} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {:.3} | {:.0} | {}, {}, {} | {} |",
        report.rate.acked,
        report.ack_ms.p50,
        report.ack_ms.p99,
        report.e2e_ms.p50,
        report.e2e_ms.p99,
        (after.rows - before.rows) / (after.messages - before.messages).max(1.0),
        (after.syncs - before.syncs) as f64 / f64::from(seconds),
        report.lost,
        report.duplicated,
        report.reordered,
        if report.generator.bottleneck { "no" } else { "yes" },
    )?;
    Ok(line)
}

/// What the owners and the kernel counted so far.
struct Count {
    rows: f64,
    messages: f64,
    syncs: u64,
}

impl Count {
    fn now(cluster: &Cluster) -> Result<Self> {
        Ok(Self {
            rows: cluster.metric("owner", "iris_log_blocks_total")?,
            messages: cluster.metric("owner", "iris_messages_accepted_total")?,
            syncs: disk_syncs()?,
        })
    }
}

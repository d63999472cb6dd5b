//! Many times more than the cluster can do, and what remains of what it can.

use std::fmt::Write as _;

use anyhow::Result;
use xtask::cluster::{
    Cluster,
    soak::{Load, Report},
};

use crate::messages::soak;

const PAIRS: u32 = 100;
/// How much too much.
const TIMES: u32 = 10;
const SECONDS: u32 = 20;
/// Looks at the recovery, one after another, each so long.
const AFTER: [u32; 3] = [10; 3];

/// Measures the most the cluster does of `rates`, ten times that, and what it does right afterwards.
pub(crate) fn section(cluster: &Cluster, rates: &[u32]) -> Result<String> {
    let mut text = format!(
        "\n## Overload\n\n{PAIRS} pairs, open loop. The most that was acknowledged at any rate is the peak; \
         then {TIMES} times as much is wanted, and right after that nine tenths of the peak.\n\n\
         | wanted/s | for s | acked/s | delivered/s | of the peak | ack p50 ms | p99 ms | told to retry | \
         lost, duplicated, reordered |\n|---|---|---|---|---|---|---|---|---|\n"
    );
    let mut peak = 0.0_f64;
    for rate in rates {
        let report = run(cluster, *rate, SECONDS)?;
        peak = peak.max(report.rate.delivered);
        line(&mut text, (*rate, SECONDS), &report, None)?;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
    let (over, under) = ((peak * f64::from(TIMES)) as u32, (peak * 0.9) as u32);
    let report = run(cluster, over, SECONDS * 2)?;
    line(&mut text, (over, SECONDS * 2), &report, Some(peak))?;
    for seconds in AFTER {
        let report = run(cluster, under, seconds)?;
        line(&mut text, (under, seconds), &report, Some(peak))?;
    }
    Ok(text)
}

fn run(cluster: &Cluster, rate: u32, seconds: u32) -> Result<Report> {
    eprintln!("{rate} messages a second for {seconds} s");
    soak(cluster, Load { pairs: PAIRS, rate, seconds }, None)
}

fn line(
    text: &mut String,
    (rate, seconds): (u32, u32),
    report: &Report,
    peak: Option<f64>,
) -> Result<()> {
    let of = peak.map_or_else(String::new, |peak| {
        format!("{:.0} %", report.rate.delivered / peak.max(1.0) * 100.0)
    });
    writeln!(
        text,
        "| {rate} | {seconds} | {:.0} | {:.0} | {of} | {:.1} | {:.1} | {} | {}, {}, {} |",
        report.rate.acked,
        report.rate.delivered,
        report.ack_ms.p50,
        report.ack_ms.p99,
        report.told_to_retry,
        report.lost,
        report.duplicated,
        report.reordered,
    )?;
    Ok(())
}

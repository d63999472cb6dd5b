//! A group of as many members as there may be.

use anyhow::{Context as _, Result, ensure};
use xtask::cluster::{
    Cluster,
    soak::{Load, Soak, Wiring},
};

/// Beside the group, so that the soak has somebody who writes.
const BESIDE: Load = Load { pairs: 1, rate: 1, seconds: 60 };

/// Measures a group of `size` members of whom `online` are there, at `rate` messages a second.
pub(crate) fn section(cluster: &Cluster, size: u32, online: u32, rate: u32) -> Result<String> {
    eprintln!("a group of {size}, {online} of them there");
    let more = [
        "--groups=1".to_owned(),
        format!("--group-size={size}"),
        format!("--group-online={online}"),
        format!("--group-rate={rate}"),
    ];
    let soak = Soak::start_wired(cluster, BESIDE, &Wiring { more: &more, ..Wiring::default() })?;
    let report = soak.end()?;
    ensure!(report.ok, "the ledger is not clean: {:?}", report.violations);
    let group = report.groups.context("the soak says nothing of its group")?;
    Ok(format!(
        "\n## A group of {size}\n\n{online} members are there; the others have accounts and are not. \
         {rate} messages a second for {} s. A delivery counts from when the message should have been \
         sent until a member who is there has it.\n\n\
         | messages | deliveries | p50 ms | p99 ms | last ms | lost, duplicated, reordered, gaps | \
         generator kept up |\n|---|---|---|---|---|---|---|\n\
         | {} | {} | {:.0} | {:.0} | {:.0} | {}, {}, {}, {} | {} |\n",
        BESIDE.seconds,
        group.messages,
        group.deliveries,
        group.e2e_ms.p50,
        group.e2e_ms.p99,
        group.e2e_ms.max,
        group.lost,
        group.duplicated,
        group.reordered,
        group.gaps,
        if report.generator.bottleneck { "no" } else { "yes" },
    ))
}

//! A group of as many members as there may be.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use xtask::cluster::{
    Cluster,
    soak::{Load, Wiring},
};

use crate::pause;
use crate::traffic::Traffic;

/// Beside the group, so that the soak has somebody who writes.
const BESIDE: Load = Load { pairs: 1, rate: 1, seconds: 60 };
/// For so long of that what the owners write is counted.
const COUNTED: Duration = Duration::from_secs(40);
/// A hundred thousand accounts are made in this time, and taken in.
const MADE_MAX: Duration = Duration::from_secs(3 * 3600);

/// Measures a group of `size` members of whom `online` are there, at `rate` messages a second.
pub(crate) fn section(cluster: &Cluster, size: u32, online: u32, rate: u32) -> Result<String> {
    eprintln!("a group of {size}, {online} of them there");
    let more = [
        "--groups=1".to_owned(),
        format!("--group-size={size}"),
        format!("--group-online={online}"),
        format!("--group-rate={rate}"),
    ];
    let wiring = Wiring { more: &more, ..Wiring::default() };
    let traffic = Traffic::start(cluster, BESIDE, &wiring, MADE_MAX)?;
    let (before, began) = (Count::now(cluster)?, Instant::now());
    pause(COUNTED);
    let (after, counted) = (Count::now(cluster)?, began.elapsed());
    let report = traffic.end()?;
    ensure!(report.ok, "the ledger is not clean: {:?}", report.violations);
    let group = report.groups.context("the soak says nothing of its group")?;
    Ok(format!(
        "\n## A group of {size}\n\n{online} members are there; the others have accounts and are not. \
         {rate} messages a second for {} s. A delivery counts from when the message should have been \
         sent until a member who is there has it.\n\n\
         In {:.0} s of that the group took {:.0} messages, for which {:.0} places in inboxes were given. All owners \
         wrote {:.0} entries to their logs meanwhile, those of one pair beside the group and of the members' cursors \
         among them.\n\n\
         | messages | deliveries | p50 ms | p99 ms | last ms | lost, duplicated, reordered, gaps | \
         generator kept up |\n|---|---|---|---|---|---|---|\n\
         | {} | {} | {:.0} | {:.0} | {:.0} | {}, {}, {}, {} | {} |\n",
        BESIDE.seconds,
        counted.as_secs_f64(),
        after.messages - before.messages,
        after.places - before.places,
        after.entries - before.entries,
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

/// What the owners counted so far.
struct Count {
    messages: f64,
    places: f64,
    entries: f64,
}

impl Count {
    fn now(cluster: &Cluster) -> Result<Self> {
        Ok(Self {
            messages: cluster.metric("owner", "iris_group_messages_total")?,
            places: cluster.metric("owner", "iris_group_places_total")?,
            entries: cluster.metric("owner", "iris_log_entries_total")?,
        })
    }
}

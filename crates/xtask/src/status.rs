//! `status`: the nodes, the pods, what each place uses of the machine, and where the logs are.
//!
//! Never changes anything.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::Serialize;

use crate::cluster::{Cluster, cgroup::Cgroup, plan::Place, state::Backend};

/// How long processor time is watched.
const WATCH: Duration = Duration::from_secs(2);

/// What a place uses.
#[derive(Debug, Serialize)]
pub(crate) struct Usage {
    /// The place, with `pods` or `daemons` for what it is.
    pub(crate) place: String,
    /// Processor time, in thousandths of one processor.
    pub(crate) cpu_milli: u64,
    /// Resident memory of all processes, in MiB; what they share counts in each.
    pub(crate) memory_mib: u64,
}

/// Watches for a moment what each place of the local cluster uses.
pub(crate) fn usage(cluster: &Cluster) -> Result<Vec<Usage>> {
    let mut groups: Vec<(String, Cgroup)> = Vec::new();
    for place in cluster.local()?.plan.places() {
        groups.push((format!("{place} daemons"), Cgroup::daemons(place)));
        if matches!(place, Place::Node(_)) {
            groups.push((format!("{place} pods"), Cgroup::pods(place)));
        }
    }
    let began = Instant::now();
    let before: Vec<u64> = groups.iter().map(|(_, group)| group.cpu_ns()).collect();
    std::thread::sleep(WATCH);
    let elapsed = began.elapsed().as_nanos().max(1);
    let used = groups.into_iter().zip(before).map(|((place, group), before)| {
        let spent = u128::from(group.cpu_ns().saturating_sub(before));
        let cpu_milli = u64::try_from(spent * 1000 / elapsed).unwrap_or(u64::MAX);
        Usage { place, cpu_milli, memory_mib: resident_mib(&group) }
    });
    // The client's namespace has daemons only while a test runs some there.
    Ok(used.filter(|usage| usage.memory_mib > 0).collect())
}

/// The whole report for people.
pub(crate) fn report(cluster: &Cluster) -> Result<String> {
    let mut text = cluster.kubectl(["get", "nodes", "-o", "wide"])?;
    text.push('\n');
    text += &cluster.kubectl(["get", "pods", "--all-namespaces", "-o", "wide"])?;
    if let Backend::Local { .. } = cluster.state().backend {
        let _ = writeln!(text, "\n{:<18}{:>12}{:>12}", "USED BY", "CPU (m)", "MEMORY (MiB)");
        let usage = usage(cluster)?;
        for Usage { place, cpu_milli, memory_mib } in &usage {
            let _ = writeln!(text, "{place:<18}{cpu_milli:>12}{memory_mib:>12}");
        }
        let cpu: u64 = usage.iter().map(|usage| usage.cpu_milli).sum();
        let memory: u64 = usage.iter().map(|usage| usage.memory_mib).sum();
        let _ = writeln!(text, "{:<18}{cpu:>12}{memory:>12}", "all");
    }
    let _ = writeln!(text, "\nkubeconfig  {}", cluster.kubeconfig().display());
    let _ = writeln!(text, "logs        {}", cluster.logs().display());
    Ok(text)
}

fn resident_mib(group: &Cgroup) -> u64 {
    let resident = |pid: &i32| -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    group.processes().iter().filter_map(resident).sum::<u64>() / 1024
}

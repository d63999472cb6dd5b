//! What the kernel of a pod's network namespace counts of TCP: proof from the receiving end.

use std::fs;

use anyhow::{Context as _, Result};

use crate::chaos::scene::Scene;
use crate::chaos::victims::Pod;

/// Segments that came a second time, as told to their sender.
pub(super) const DUPLICATES: [&str; 2] = ["TCPDSACKOldSent", "TCPDSACKOfoSent"];
/// Segments that came before those that they follow.
pub(super) const OUT_OF_ORDER: [&str; 1] = ["TCPOFOQueue"];

/// The sum of counters in a pod's network namespace.
pub(super) fn count(scene: &Scene, pod: &Pod, names: &[&str]) -> Result<u64> {
    let pids = pod.container(&scene.cluster)?.pids();
    let pid = pids.first().with_context(|| format!("{} has no process", pod.name))?;
    let file = format!("/proc/{pid}/net/netstat");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    names.iter().map(|name| counter(&text, name).with_context(|| format!("no {name}"))).sum()
}

/// Lines come in pairs, names and numbers: `TcpExt: A B` and `TcpExt: 1 2`.
fn counter(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let mut pairs = names.split(' ').zip(numbers.split(' '));
        if let Some((_, number)) = pairs.find(|(found, _)| *found == name) {
            return number.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::counter;

    #[test]
    fn a_counter_is_found_by_its_name() {
        let text =
            "TcpExt: SyncookiesSent TCPOFOQueue\nTcpExt: 3 17\nIpExt: InNoRoutes\nIpExt: 4\n";
        assert_eq!(counter(text, "TCPOFOQueue"), Some(17));
        assert_eq!(counter(text, "InNoRoutes"), Some(4));
        assert_eq!(counter(text, "TCPOFO"), None);
    }
}

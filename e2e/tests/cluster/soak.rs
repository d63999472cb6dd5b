//! `iris soak` beside a fault.

use std::process::{Child, Stdio};

use serde::Deserialize;
use xtask::cluster::Cluster;

/// What a soak says.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Report {
    pub(crate) ok: bool,
    pub(crate) violations: Vec<String>,
    pub(crate) offered: u64,
    pub(crate) acked: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) gaps: u64,
    pub(crate) told_to_retry: u64,
    pub(crate) reconnects: u64,
    pub(crate) longest_wait_ms: f64,
    pub(crate) write_gap_ms: Percentiles,
    pub(crate) interruption_ms: Percentiles,
    #[allow(dead_code, reason = "printed")]
    pub(crate) ack_ms: Percentiles,
    pub(crate) generator: Generator,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Generator {
    pub(crate) bottleneck: bool,
}

/// Runs again, at most twice, while the generator itself was late: such a run measured the machine. Its
/// ledger counts all the same.
pub(crate) fn measured(run: impl Fn() -> Report) -> Report {
    for _ in 0..2 {
        let report = run();
        if !report.generator.bottleneck {
            return report;
        }
        println!("the generator was late: once more");
    }
    let report = run();
    assert!(!report.generator.bottleneck, "the machine has no time for a measurement: {report:?}");
    report
}

/// A soak under way. It ends with the test that started it: the next one has the same accounts.
pub(crate) struct Soak(Option<Child>);

impl Drop for Soak {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Soak {
    /// Starts one over every edge of the cluster.
    pub(crate) fn start(cluster: &Cluster, pairs: u32, rate: u32, seconds: u32) -> Self {
        let mut command = cluster.iris().unwrap();
        let (pairs, rate, duration) = (
            format!("--pairs={pairs}"),
            format!("--rate={rate}"),
            format!("--duration={seconds}s"),
        );
        // Accounts are made once for all tests: hashing a thousand passwords takes a while.
        let accounts = cluster.logs().join("soak-accounts.json");
        let accounts = format!("--accounts-file={}", accounts.display());
        command.args(["soak", "--json", "--settle=60s", &pairs, &rate, &duration, &accounts]);
        Self(Some(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()))
    }

    /// Waits for its end, and checks that nothing was lost, duplicated or reordered.
    pub(crate) fn end(mut self) -> Report {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let report: Report = serde_json::from_str(text.trim())
            .unwrap_or_else(|error| panic!("{error}: {text} ({})", output.status));
        println!("{report:?}");
        assert!(report.ok, "{:?}", report.violations);
        let Report { lost, duplicated, reordered, gaps, .. } = report;
        assert_eq!((lost, duplicated, reordered, gaps), (0, 0, 0, 0));
        assert_eq!(report.delivered, report.acked);
        assert!(report.acked > 0 && report.offered >= report.acked);
        report
    }
}

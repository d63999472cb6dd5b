//! `iris soak` beside a fault.

use xtask::cluster::{Cluster, soak};

pub(crate) use xtask::cluster::soak::Report;

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

/// A soak under way.
pub(crate) struct Soak(soak::Soak);

impl Soak {
    /// Starts one over every edge of the cluster.
    pub(crate) fn start(cluster: &Cluster, pairs: u32, rate: u32, seconds: u32) -> Self {
        Self(soak::Soak::start(cluster, soak::Load { pairs, rate, seconds }, None).unwrap())
    }

    /// Waits for its end, and checks that nothing was lost, duplicated or reordered.
    pub(crate) fn end(self) -> Report {
        let report = self.0.end().unwrap();
        println!("{report:?}");
        assert!(report.ok, "{:?}", report.violations);
        let Report { lost, duplicated, reordered, gaps, .. } = report;
        assert_eq!((lost, duplicated, reordered, gaps), (0, 0, 0, 0));
        assert_eq!(report.delivered, report.acked);
        assert!(report.acked > 0 && report.offered >= report.acked);
        report
    }
}

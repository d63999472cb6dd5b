//! `iris soak` beside a fault.

use xtask::cluster::{Cluster, soak};

pub(crate) use xtask::cluster::soak::Report;

/// How fast this machine is here and now, while nothing is broken. On a busy one every wait is longer.
pub(crate) struct Pace {
    /// What 99 of 100 acks take, in milliseconds.
    quiet_ms: f64,
}

impl Pace {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self { quiet_ms: Soak::start(cluster, 50, 500, 8).end().ack_ms.p99 }
    }

    /// Holds what was measured against what is promised, both in milliseconds. A machine that others use
    /// too stops for seconds at times, so what fails here is off by a factor; `IRIS_E2E_STRICT=1` holds
    /// a quiet machine to the promise itself.
    pub(crate) fn hold(&self, what: &str, measured: f64, promised: f64) {
        let strict = std::env::var_os("IRIS_E2E_STRICT").is_some_and(|value| value == "1");
        let (times, waits) = if strict { (1.0, 3.0) } else { (4.0, 10.0) };
        let bound = times * promised + waits * self.quiet_ms;
        let quiet = self.quiet_ms;
        println!(
            "{what}: {measured:.1} ms; promised {promised} ms, of quiet acks 99 of 100 take {quiet:.1} ms"
        );
        assert!(measured <= bound, "{what}: {measured:.1} ms are more than {bound:.1} ms");
    }
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

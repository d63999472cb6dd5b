//! `iris soak`, the generator, and what it says.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use xtask::cluster::Cluster;

/// The part of the ledger that is shown.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) rate: Rate,
    pub(crate) ack_ms: Percentiles,
    pub(crate) e2e_ms: Percentiles,
    pub(crate) generator: Generator,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Rate {
    pub(crate) acked: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Generator {
    /// It was late with sends: its own latency is in the figures.
    pub(crate) bottleneck: bool,
}

/// A soak under way.
pub(crate) struct Soak(Child);

impl Soak {
    /// Starts one, with the accounts that earlier runs of this size made; over every edge, or one.
    pub(crate) fn start(
        cluster: &Cluster,
        (pairs, rate, seconds): (u32, u32, u32),
        edge: Option<&str>,
    ) -> Result<Self> {
        let accounts = cluster.logs().join(format!("bench-{pairs}.json"));
        let mut command: Command = cluster.iris()?;
        command.args(["soak", "--json", "--connect-timeout=180s"]).args([
            format!("--pairs={pairs}"),
            format!("--rate={rate}"),
            format!("--duration={seconds}s"),
            format!("--accounts-file={}", accounts.display()),
        ]);
        if let Some(edge) = edge {
            command.env("IRIS_SERVER", edge);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        Ok(Self(child.context("cannot start iris")?))
    }

    /// Waits for its end. A ledger that is not clean is an error: its figures would mean nothing.
    pub(crate) fn end(self) -> Result<Report> {
        let output = self.0.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "the soak ended with {}: {text}", output.status);
        serde_json::from_str(text.trim()).with_context(|| format!("the ledger: {text}"))
    }
}

//! `iris soak` against the cluster: the traffic of scenarios and measurements, and its ledger.
//!
//! Never judges: who started it says what the ledger must be.

use std::{
    os::unix::process::CommandExt as _,
    process::{Child, ChildStderr, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, kill_process};
use serde::{Deserialize, Serialize};

use super::Cluster;

/// How often one that shall give up is told so, and how many times.
const GIVING_UP: Duration = Duration::from_millis(500);
const GIVING_UP_MAX: u32 = 120;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Pairs of people who write to each other.
    pub pairs: u32,
    /// Messages a second, of all pairs together.
    pub rate: u32,
    /// For how long.
    pub seconds: u32,
}

/// The ledger and the latencies, as `iris soak --json` says them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// What is wrong.
    pub violations: Vec<String>,
    /// Messages that should have been sent by then.
    pub offered: u64,
    /// Messages whose sender was told that they are safe.
    pub acked: u64,
    /// Messages that their recipient got.
    pub delivered: u64,
    /// Acknowledged, and never delivered.
    pub lost: u64,
    /// Delivered more than once.
    pub duplicated: u64,
    /// Delivered before one that was sent earlier.
    pub reordered: u64,
    /// Places of an inbox that never came.
    pub gaps: u64,
    /// Sends without an answer at the end.
    pub undecided: u64,
    /// Writers who were not told of everything that arrived.
    pub receipts_missing: u64,
    /// Sends that were answered with "again later".
    pub told_to_retry: u64,
    /// Connections that were made again.
    pub reconnects: u64,
    /// Messages a second, as it was.
    pub rate: Rate,
    /// The longest time in which a client that waited heard nothing.
    pub longest_wait_ms: f64,
    /// Intervals in which a conversation has a pending send and no ack.
    pub write_gap_ms: Percentiles,
    /// Those of them that people notice.
    pub interruption_ms: Percentiles,
    /// Those in which the server said "again later", as when an owner dies or changes.
    pub outage_ms: Percentiles,
    /// From when a message should have been sent to its acknowledgement.
    pub ack_ms: Percentiles,
    /// From when a message should have been sent to its delivery.
    pub e2e_ms: Percentiles,
    /// How the generator did.
    pub generator: Generator,
    /// Groups, where there were any.
    pub groups: Option<Groups>,
}

/// What became of messages to groups.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Groups {
    /// Messages that were sent.
    pub messages: u64,
    /// Arrivals at members, each counted once.
    pub deliveries: u64,
    /// Accepted, and not with a member who is there.
    pub lost: u64,
    /// At a member again, or at a second place.
    pub duplicated: u64,
    /// Behind a later place.
    pub reordered: u64,
    /// Times that a member saw places skipped.
    pub gaps: u64,
    /// From when a message should have been sent to its delivery.
    pub e2e_ms: Percentiles,
}

/// Messages a second.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// Acknowledged ones.
    pub acked: f64,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Percentiles {
    /// Of how many.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// One of a hundred is worse.
    pub p99: f64,
    /// The worst.
    pub max: f64,
}

/// The generator itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Generator {
    /// It was late with sends: its own latency is in the figures.
    pub bottleneck: bool,
}

/// Where a soak connects, and who is told how it goes.
#[derive(Debug)]
pub struct Wiring<'a> {
    /// One edge instead of all.
    pub edge: Option<&'a str>,
    /// The name of the file that keeps its accounts. Two soaks at once have not the same.
    pub accounts: &'a str,
    /// How often it says on its standard error how it goes, in milliseconds; that is then
    /// [`Soak::words`]'s to read instead of the terminal's.
    pub told_every_ms: Option<u32>,
    /// More options of `iris soak`.
    pub more: &'a [String],
}

impl Default for Wiring<'_> {
    fn default() -> Self {
        Self { edge: None, accounts: "soak-accounts.json", told_every_ms: None, more: &[] }
    }
}

/// A soak under way. It ends with whoever started it: the next one has the same accounts.
#[derive(Debug)]
pub struct Soak(Option<Child>);

impl Soak {
    /// Starts one with the accounts that earlier ones made; over every edge, or over one.
    pub fn start(cluster: &Cluster, load: Load, edge: Option<&str>) -> Result<Self> {
        Self::start_wired(cluster, load, &Wiring { edge, ..Wiring::default() })
    }

    /// The same, with a choice of wiring.
    pub fn start_wired(cluster: &Cluster, load: Load, wiring: &Wiring<'_>) -> Result<Self> {
        let mut command = cluster.iris()?;
        // Accounts are made once for all: hashing a thousand passwords takes a while.
        let accounts = cluster.logs().join(wiring.accounts);
        command.args(["soak", "--json", "--settle=60s", "--connect-timeout=180s"]).args([
            format!("--pairs={}", load.pairs),
            format!("--rate={}", load.rate),
            format!("--duration={}s", load.seconds),
            format!("--accounts-file={}", accounts.display()),
        ]);
        command.args(wiring.more);
        if let Some(edge) = wiring.edge {
            command.env("IRIS_SERVER", edge);
        }
        if let Some(every) = wiring.told_every_ms {
            command.arg(format!("--progress={every}ms")).stderr(Stdio::piped());
            // An interrupt from the keyboard is for whoever watches it, who then ends it.
            command.process_group(0);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        Ok(Self(Some(child.context("cannot start iris")?)))
    }

    /// What it says on its standard error, where the wiring asked for that; once.
    pub fn words(&mut self) -> Option<ChildStderr> {
        self.0.as_mut()?.stderr.take()
    }

    /// Has it send nothing more: it waits for what is under way, and ends.
    pub fn wind_up(&self) -> Result<()> {
        let child = self.0.as_ref().context("it ended before")?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no process")?;
        // It is our child and not waited for, so the number is still its own.
        match kill_process(pid, rustix::process::Signal::INT) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).context("cannot interrupt iris"),
        }
    }

    /// Has it end without what is under way, as people do who turn to something else.
    pub fn give_up(mut self) -> Result<()> {
        for _ in 0..GIVING_UP_MAX {
            // The first has it send nothing more, the next wait for nothing more.
            self.wind_up()?;
            thread::sleep(GIVING_UP);
            let child = self.0.as_mut().context("it ended before")?;
            if child.try_wait()?.is_some() {
                self.0 = None;
                return Ok(());
            }
        }
        bail!("the soak does not end")
    }

    /// Waits for its end. One that says nothing that can be read is an error; a ledger that is not clean
    /// says so itself.
    pub fn end(mut self) -> Result<Report> {
        let child = self.0.take().context("it ended before")?;
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(text.trim())
            .with_context(|| format!("the soak ended with {}, and said: {text}", output.status))
    }
}

impl Drop for Soak {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

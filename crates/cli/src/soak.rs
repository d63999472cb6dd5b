//! `iris soak`: traffic at a fixed rate and a ledger of every message.

mod board;
mod drive;
mod groups;
pub mod latency;
pub mod ledger;
mod message;
mod people;
mod progress;
mod report;
mod schedule;
mod store;
mod waits;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::connect::Context;
use crate::duration;
use crate::failure::Failure;
use crate::profile::Server;

pub(crate) use board::{named, told};

const ABOUT: &str = "\
Traffic at a fixed rate, and a ledger of every message: does the server lose anything?

Pairs of accounts are made, and both members of each pair write to each other. The loop is open: each \
message is due at a fixed time whatever the server does, and every latency counts from when the message \
was due, so that a server that stalls cannot hide it. Every message carries its number; the ledger \
compares what was acknowledged with what arrived.

The run fails (exit status 1) when anything was lost, duplicated, reordered, skipped, damaged or left \
without an answer, when a device gave up, and when there was no traffic.

  lost         acknowledged, and not delivered until the end
  duplicated   delivered more than once to the application
  reordered    delivered after a message that was sent later
  gaps         numbers of an inbox that the server skipped
  write_gap    an interval in which one member had something unanswered and no ack came
  interruption a write gap of 100 ms and more
  outage       a write gap in which the server said \"again later\", as when an owner dies or changes

With --groups there are groups of these accounts, too, whose members write to them. Every message must \
reach every member who is there exactly once, at the same place for all of them, and no place may be \
skipped. A member who is not there needs an account, so a run makes as many as its largest group has; \
--accounts-file keeps them. An account is in at most 1,024 groups, and each run adds its own: take a new \
file then.

With --slow some devices only read, and slowly, so that messages pile up for them; once all is sent, they \
read as fast as the others, and nothing may be missing. How long messages took to them does not count. \
With --churn devices give their connections up and come back.";

const EXAMPLES: &str = "\
Examples:
  iris soak --pairs 50 --rate 500 --duration 60s --server edge-0:8443,edge-1:8443 --json
  iris soak --rate 5000 --pairs 100 --accounts-file accounts.json    (reuses the accounts next time)
  iris soak --groups 20 --group-size 50 --group-rate 100 --json | jq .groups
  iris soak --groups 1 --group-size 6000 --group-online 40 --group-rate 20 --accounts-file large.json
  iris soak --duration 30m --pairs 100 --rate 500 --slow 10 --churn 2
  iris soak --json | jq '{lost, duplicated, reordered, write_gap_ms}'";

/// `iris soak`.
#[derive(Args, Debug, Clone)]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
pub struct SoakArgs {
    /// Pairs of devices that write to each other
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub pairs: u32,
    /// Messages in a second, of all pairs together
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    pub rate: f64,
    /// Groups, besides the pairs, whose members write to them
    #[arg(
        long,
        default_value_t = 0,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(0..=10_000),
        help_heading = "Groups"
    )]
    pub groups: u32,
    /// Members of each group; above 5,000 it is a large one
    #[arg(
        long,
        default_value_t = 10,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        help_heading = "Groups"
    )]
    pub group_size: u32,
    /// Members of each group that are there and write; the others only exist [default: all]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=20_000),
        help_heading = "Groups"
    )]
    pub group_online: Option<u32>,
    /// Messages in a second, to all groups together
    #[arg(long, default_value_t = 10.0, value_name = "RATE", value_parser = rate, help_heading = "Groups")]
    pub group_rate: f64,
    /// Of a hundred devices of the pairs, how many only read, and slowly
    #[arg(
        long,
        default_value_t = 0,
        value_name = "PERCENT",
        value_parser = clap::value_parser!(u32).range(0..=50),
        conflicts_with = "groups",
        help_heading = "Trouble"
    )]
    pub slow: u32,
    /// How long a slow device takes for a message
    #[arg(
        long,
        default_value = "1s",
        value_name = "DURATION",
        value_parser = duration::parse,
        help_heading = "Trouble"
    )]
    pub slow_pause: Duration,
    /// How many devices in a second give their connection up and come back
    #[arg(long, value_name = "RATE", value_parser = rate, help_heading = "Trouble")]
    pub churn: Option<f64>,
    /// For how long to send
    #[arg(long, default_value = "60s", value_parser = duration::parse)]
    pub duration: Duration,
    /// Bytes of each message, at least 32
    #[arg(
        long,
        default_value_t = 256,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1..=65_536)
    )]
    pub payload: u32,
    /// For how long at most to wait, after the last message was sent, for what is under way
    #[arg(long, default_value = "30s", value_parser = duration::parse)]
    pub settle: Duration,
    /// For how long at most to wait until every device is connected
    #[arg(long, default_value = "60s", value_parser = duration::parse)]
    pub connect_timeout: Duration,
    /// Accounts that are made, or devices that connect, at the same time
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,
    /// Keep the accounts in this file, and use those that are in it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub accounts_file: Option<PathBuf>,
    /// How often to tell on standard error how it goes; 0s for never
    #[arg(long, default_value = "5s", value_parser = duration::parse, value_name = "DURATION")]
    pub progress: Duration,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("not a number: {text:?}"))?;
    if (0.001..=1_000_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("a rate is between 0.001 and 1000000 messages in a second".to_owned())
    }
}

pub(crate) async fn run(context: &mut Context, args: SoakArgs) -> Result<(), Failure> {
    let server = Server::default().merged(&context.global)?;
    let report = Box::pin(drive::run(&mut context.output, &server, &args)).await?;
    context.output.result(&report.for_people(), &report)?;
    if report.ok { Ok(()) } else { Err(Failure::told()) }
}

//! `iris probe`: what a server must refuse, tried one by one.

mod check;
mod frames;
mod jwt;
mod person;
mod tls;
mod tokens;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use iris_client::EdgeAddr;
use serde::Serialize;

use crate::connect::{Context, connector};
use crate::duration;
use crate::failure::Failure;
use crate::output::table;
use crate::profile::Server;

use check::{Check, Verdict};
use person::Person;

const ABOUT: &str = "\
Hostile connections, forged tokens, bad frames: does the server refuse what it must?

Each check says what it expects and what it saw. The probe makes accounts of its own, and ends with a \
message that must still arrive. Exit status 1 when anything differs.

Tokens with a wrong audience and expired tokens must bear a true signature to prove anything: for these \
checks name the cluster's signing key with --signing-key (PEM, PKCS#8). Without it they are skipped.";

const EXAMPLES: &str = "\
Examples:
  iris probe --server localhost:8443 --ca ca.crt
  iris probe --json | jq '.checks[] | select(.verdict != \"ok\")'
  iris probe --signing-key signing.pem --only token";

/// `iris probe`.
#[derive(Args, Debug)]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
pub struct ProbeArgs {
    /// The key that signs the cluster's tokens, to forge tokens that only their claims betray
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub signing_key: Option<PathBuf>,
    /// Only checks whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// For how long to wait for each answer
    #[arg(long, default_value = "5s", value_parser = duration::parse)]
    pub patience: Duration,
    /// Also the checks that take longer, such as a client that never says HELLO
    #[arg(long)]
    pub slow: bool,
    /// How many connections to make with each kind of bad input
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub repeat: u32,
}

/// What all checks share.
struct Probe {
    edge: EdgeAddr,
    connector: iris_client::Connector,
    args: ProbeArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    server: String,
    failed: usize,
    skipped: usize,
    checks: &'a [Check],
}

pub(crate) async fn run(context: &mut Context, args: ProbeArgs) -> Result<(), Failure> {
    let server = Server::default().merged(&context.global)?;
    let connector = connector(&server)?;
    let edge = connector.edges()[0].clone();
    let probe = Probe { edge, connector, args };
    let mut checks = Vec::new();
    tls::run(&probe, &mut checks).await;
    let person = Person::register(&probe.connector).await?;
    tokens::run(&probe, &person, &mut checks).await?;
    frames::run(&probe, &person, &mut checks).await?;
    frames::still_serves(&probe, &mut checks).await;
    tell(context, &probe, &checks)
}

fn tell(context: &mut Context, probe: &Probe, checks: &[Check]) -> Result<(), Failure> {
    let count = |wanted| checks.iter().filter(|check| check.verdict == wanted).count();
    let (failed, skipped) = (count(Verdict::Differs), count(Verdict::Skipped));
    let rows: Vec<_> = checks.iter().map(Check::row).collect();
    let mut text = table(&["", "CHECK", "EXPECTED", "SEEN"], &rows);
    let ok = count(Verdict::Ok);
    text.push_str(&format!("\n{ok} as expected, {failed} different, {skipped} skipped"));
    let ok = failed == 0 && ok > 0;
    let server = probe.edge.to_string();
    let report = Report { ok, server, failed, skipped, checks };
    context.output.result(&text, &report)?;
    if ok { Ok(()) } else { Err(Failure::told()) }
}

impl Probe {
    fn wants(&self, name: &str) -> bool {
        self.args.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }
}

//! `iris dev`: a whole region in one process, for people who write clients.
//!
//! The same control plane, owner and edge as in a cluster, on loopback, over an embedded store and
//! coordination in memory. What was acknowledged is on this machine's disk and survives a restart. Never
//! for production: one process is one failure domain.

mod files;
mod region;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, ValueHint};
use iris_runtime::telemetry::{self, LogFormat};
use serde_json::json;

use crate::connect::Context;
use crate::failure::Failure;

use files::Files;
use region::Region;

const EXAMPLES: &str = "\
Examples:
  iris dev                          a server on localhost:8443; Control-C ends it, its data stays
  iris dev --fresh                  forget everything first
  iris dev --port 9443 --dir /tmp/iris-dev
  RUST_LOG=info iris dev            with its logs

In another terminal, the commands that it prints:
  iris register alice --server localhost:8443 --ca ~/.local/state/iris-dev/ca.crt";

/// `iris dev`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DevArgs {
    /// The port for clients
    #[arg(long, default_value_t = 8443)]
    pub port: u16,
    /// The address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub listen: IpAddr,
    /// Further names or addresses that the certificate is for; a new certificate is made for them
    #[arg(long, value_name = "NAME")]
    pub hostname: Vec<String>,
    /// Where everything is kept [default: $XDG_STATE_HOME/iris-dev or ~/.local/state/iris-dev]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// Forget everything first: accounts, messages, keys, the certificate
    #[arg(long)]
    pub fresh: bool,
    /// Shards of a new server
    #[arg(long, default_value_t = 16, value_parser = shards)]
    pub shards: u32,
}

fn shards(text: &str) -> Result<u32, String> {
    let shards = text.parse().ok().filter(|n: &u32| n.is_power_of_two() && *n <= 65_536);
    shards.ok_or_else(|| "shards are a power of two, up to 65536".to_owned())
}

pub(crate) async fn run(context: &mut Context, args: DevArgs) -> Result<(), Failure> {
    if std::env::var_os("RUST_LOG").is_some() {
        telemetry::init(LogFormat::Text);
    }
    let files = Files::open(&args)?;
    let region = Region::start(&args, &files).await?;
    region.ready().await?;
    let (server, ca) = (region.address(), files.ca().display().to_string());
    let at = format!("--server {server} --ca {ca}");
    let text = format!(
        "Iris serves at {server}; everything is in {}. Control-C ends it.\n\nTry, in two other \
         terminals:\n  iris register alice {at} && iris chat bob --as alice\n  iris register bob {at} \
         && iris chat alice --as bob",
        files.directory().display(),
    );
    let value = json!({
        "server": server,
        "ca": files.ca(),
        "directory": files.directory(),
        "signing_key": files.signing(),
    });
    context.output.result(&text, &value)?;
    tokio::select! {
        signal = tokio::signal::ctrl_c() => signal?,
        () = terminated() => {}
        () = region.ended() => {
            return Err(Failure::new("a part of the server ended")
                .hint("start it again with RUST_LOG=info to see why"));
        }
    }
    region.stop().await;
    Ok(())
}

/// Ends when the process is asked to end, as service managers do.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_a_power_of_two() {
        assert_eq!(shards("16"), Ok(16));
        for bad in ["0", "3", "131072", "x"] {
            assert!(shards(bad).is_err(), "{bad}");
        }
    }
}

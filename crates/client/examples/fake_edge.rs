//! The edge of the SDK's tests as a program: for measuring load generators, never for people.
//!
//! `fake-edge PORT CA_FILE` listens on localhost and writes the certificate to trust to CA_FILE.

#[path = "../tests/support.rs"]
mod support;

use std::path::PathBuf;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(port), Some(ca)) = (arguments.next(), arguments.next()) else {
        return Err("usage: fake-edge PORT CA_FILE".into());
    };
    let edge = support::FakeEdge::start_at(port.parse()?, false);
    std::fs::write(PathBuf::from(ca), edge.ca_pem())?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}

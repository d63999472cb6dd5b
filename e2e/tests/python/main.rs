//! A client that was written from docs/protocol.md alone, on a region whose owners die.
//!
//! Never skips: where Python or its packages are missing, it says what to install.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says where it failed")]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use iris_coord::memory::MemoryCoord;
use iris_e2e::region::{Region, Shape};
use iris_runtime::telemetry::{self, LogFormat};
use iris_store::embedded::EmbeddedStore;
use serde_json::Value;
use tokio::time::sleep;

/// Debian's own, since its packages are for no other.
const PYTHON: &str = "/usr/bin/python3";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/ledger.py");
/// The script has 60 seconds, of which each takes some.
const DEATHS_MAX: u32 = 3;

/// Ends the script with the test.
struct Ledger(Child);

impl Drop for Ledger {
    fn drop(&mut self) {
        // It may be gone already.
        let _killed = self.0.kill().and_then(|()| self.0.wait()).is_ok();
    }
}

fn check_packages() {
    let succeeds = |program: &str, args: &[&str]| {
        let command = Command::new(program).args(args).output();
        command.is_ok_and(|output| output.status.success())
    };
    let packages = succeeds(PYTHON, &["-c", "import google.protobuf, cryptography"]);
    assert!(
        packages && succeeds("protoc", &["--version"]),
        "apt-get install python3 python3-protobuf python3-cryptography protobuf-compiler"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_written_from_the_page_loses_nothing() {
    check_packages();
    telemetry::init(LogFormat::Text);
    let files = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedStore::open(files.path()).await.unwrap());
    let shape = Shape::default();
    let mut region = Region::start(shape, store, Arc::new(MemoryCoord::new())).await.unwrap();
    region.operator().all_served().await.unwrap();
    region.ready().await.unwrap();

    let printed = files.path().join("ledger.json");
    let mut command = Command::new(PYTHON);
    command.arg("-B").arg(SCRIPT).args(["--messages=400", "--seconds=10"]).stdin(Stdio::null());
    command.args(["--server", &region.edges[0].address]).arg("--ca").arg(region.ca());
    command.stdout(std::fs::File::create(&printed).unwrap());
    let mut ledger = Ledger(command.spawn().unwrap());
    let mut deaths = 0;
    let status = loop {
        sleep(Duration::from_secs(1)).await;
        if let Some(status) = ledger.0.try_wait().unwrap() {
            break status;
        }
        if deaths < DEATHS_MAX {
            let dead = region.owners.remove(0);
            dead.kill().await;
            region.start_owner(&dead.pod).await.unwrap();
            region.operator().all_served().await.unwrap();
            deaths += 1;
        }
    };
    let printed = std::fs::read_to_string(&printed).unwrap();
    assert!(status.success(), "{status}: {printed}");
    let facts: Value = serde_json::from_str(&printed).unwrap();
    assert!(facts["owner_changes"].as_u64() > Some(0), "no owner died under it: {facts}");
    region.stop().await;
}

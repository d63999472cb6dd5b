//! Every shard moves, under traffic.

use serde_json::Value;

use crate::soak::{Pace, Report, Soak};
use crate::stage::{NAMESPACE, Stage, pause};

fn kubectl_iris(stage: &Stage, args: &[&str]) -> String {
    let output = stage.kubectl_iris().unwrap().args(args).output().unwrap();
    let (out, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {out} {error}");
    out.into_owned()
}

#[test]
fn every_shard_moves_once_at_500_messages_a_second() {
    let stage = Stage::enter();
    let pace = Pace::of(&stage);
    let report = every_shard_moves(&stage);
    pace.hold("write gap, 99 of 100", report.write_gap_ms.p99, 250.0);
}

fn every_shard_moves(stage: &Stage) -> Report {
    stage.kubectl(["-n", NAMESPACE, "delete", "irm", "--all", "--wait"]).unwrap();
    let soak = Soak::start(stage, 50, 500, 60);
    pause(10.0);
    kubectl_iris(stage, &["-n", NAMESPACE, "migrate", "--all", "--wait", "--timeout", "120s"]);
    let get = ["-n", NAMESPACE, "get", "irm", "-o", "json"];
    let moved: Value = serde_json::from_str(&stage.kubectl(get).unwrap()).unwrap();
    let mut shards: Vec<u64> = Vec::new();
    for migration in moved["items"].as_array().unwrap() {
        if migration["status"]["result"] == "Succeeded" {
            shards.push(migration["spec"]["shard"].as_u64().unwrap());
        } else {
            // It was ordered again.
            println!("{}", migration["status"]);
        }
    }
    shards.sort_unstable();
    assert_eq!(shards, (0..64).collect::<Vec<u64>>());
    soak.end()
}

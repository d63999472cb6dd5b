//! Parts that die, freeze or are cut off, under traffic.

use std::time::{Duration, Instant};

use xtask::cluster::{Daemon, Link, Signal};

use crate::soak::{Pace, Soak};
use crate::stage::{NAMESPACE, Stage, pause};

#[test]
fn five_owners_are_killed() {
    let stage = Stage::enter();
    let pace = Pace::of(&stage);
    let soak = Soak::start(&stage, 50, 500, 60);
    pause(5.0);
    for _ in 0..5 {
        let owners = stage.pods("owner").unwrap();
        // One that was killed answers nothing until it is back.
        let served = |pod: &String| stage.metrics(pod).map_or(0.0, |m| m.sum("iris_owner_shards"));
        // The one that serves most: shards stay with their heirs, so a killed one is soon without any.
        let pod = owners.iter().max_by(|a, b| served(a).total_cmp(&served(b))).unwrap();
        let shards = served(pod);
        println!("{pod} is killed with {shards} shards");
        assert!(shards > 0.0, "{pod} serves nothing");
        stage.kill_container(NAMESPACE, pod, "owner", Signal::Kill).unwrap();
        pause(10.0);
    }
    let report = soak.end();
    assert!(report.interruption_ms.max > 0.0, "nobody noticed: {report:?}");
    pace.hold("interruption, half of them", report.interruption_ms.p50, 1_500.0);
    pace.hold("the longest write gap", report.write_gap_ms.max, 5_000.0);
}

#[test]
fn cassandra_is_killed_and_comes_back() {
    let stage = Stage::enter();
    let pace = Pace::of(&stage);
    let soak = Soak::start(&stage, 50, 500, 60);
    pause(10.0);
    stage.kill_container(NAMESPACE, "cassandra-0", "cassandra", Signal::Kill).unwrap();
    let report = soak.end();
    assert!(report.told_to_retry > 0, "{report:?}");
    pace.hold("the longest wait for any answer", report.longest_wait_ms, 2_000.0);
}

#[test]
fn nobody_sees_that_the_control_planes_are_away() {
    let stage = Stage::enter();
    let pace = Pace::of(&stage);
    let soak = Soak::start(&stage, 50, 500, 80);
    pause(5.0);
    let (operators, controls) = (stage.operators(), stage.pods("controlplane").unwrap());
    for pod in &operators {
        stage.freeze("iris-system", pod, "operator").unwrap();
    }
    for pod in &controls {
        stage.freeze(NAMESPACE, pod, "controlplane").unwrap();
    }
    stage.signal_daemon(Daemon::ApiServer, Signal::Stop).unwrap();
    pause(10.0);
    stage
        .kubectl(["get", "--raw", "/readyz", "--request-timeout=5s"])
        .expect_err("the API server still answers");
    pause(45.0);
    stage.signal_daemon(Daemon::ApiServer, Signal::Continue).unwrap();
    for pod in &controls {
        stage.thaw(NAMESPACE, pod, "controlplane").unwrap();
    }
    for pod in &operators {
        stage.thaw("iris-system", pod, "operator").unwrap();
    }
    let report = soak.end();
    assert_eq!(report.reconnects, 0, "{report:?}");
    pace.hold("the longest write gap", report.write_gap_ms.max, 1_000.0);
    stage.healed();
}

#[test]
fn two_of_three_nodes_are_cut_off_and_come_back() {
    let stage = Stage::enter();
    let nodes = stage.nodes().unwrap();
    let soak = Soak::start(&stage, 20, 200, 60);
    pause(10.0);
    for node in &nodes[1..] {
        stage.node_link(*node, Link::Down).unwrap();
    }
    pause(20.0);
    let healed = Instant::now();
    for node in &nodes[1..] {
        stage.node_link(*node, Link::Up).unwrap();
    }
    let report = soak.end();
    assert!(report.write_gap_ms.max >= 5_000.0, "the nodes were not cut off: {report:?}");
    stage.healed();
    assert!(healed.elapsed() < Duration::from_secs(180));
}

//! A broken specification is explained, and breaks nothing that runs.

use std::time::{Duration, Instant};

use crate::stage::{NAMESPACE, Stage, pause};

/// All seven pods of the quickstart, each with its uid and its restarts.
fn pods(stage: &Stage) -> String {
    let path = "-o=jsonpath={range .items[*]}{.metadata.uid} \
                {.status.containerStatuses[*].restartCount}{'\\n'}{end}";
    let get = [
        "-n",
        NAMESPACE,
        "get",
        "pods",
        "-l",
        "iris.dev/cluster=chat,iris.dev/role in \
        (owner,edge,controlplane)",
        path,
    ];
    let pods = stage.kubectl(get).unwrap();
    assert_eq!(pods.lines().count(), 7, "{pods}");
    pods
}

fn explained(stage: &Stage, object: &str, words: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let text = stage.kubectl(["-n", NAMESPACE, "describe", object]).unwrap();
        if words.iter().all(|word| text.contains(word)) {
            return;
        }
        assert!(Instant::now() < deadline, "{object} never says {words:?}: {text}");
        pause(1.0);
    }
}

fn patch(stage: &Stage, object: &str, patch: &str) -> Result<String, String> {
    let args = ["-n", NAMESPACE, "patch", object, "--type=merge", "-p", patch];
    stage.kubectl(args).map_err(|error| format!("{error:#}"))
}

#[test]
fn a_wrong_address_of_cassandra_is_explained_and_restarts_nothing() {
    let stage = Stage::enter();
    let before = pods(&stage);
    let wrong = r#"{"spec":{"cassandra":{"contactPoints":["nowhere.invalid:9042"]}}}"#;
    patch(&stage, "iriscluster/chat", wrong).unwrap();
    explained(&stage, "iriscluster/chat", &["nowhere.invalid", "contactPoints"]);
    assert_eq!(pods(&stage), before);
    let right = r#"{"spec":{"cassandra":{"contactPoints":["cassandra.iris:9042"]}}}"#;
    patch(&stage, "iriscluster/chat", right).unwrap();
    stage
        .wait(NAMESPACE, "iriscluster/chat", "condition=Stalled=False", Duration::from_secs(120))
        .unwrap();
    assert_eq!(pods(&stage), before);
}

#[test]
fn a_missing_secret_is_explained_and_restarts_nothing() {
    let stage = Stage::enter();
    let before = pods(&stage);
    let wrong = r#"{"spec":{"cassandra":{"credentialsSecretRef":{"name":"forgotten"}}}}"#;
    patch(&stage, "iriscluster/chat", wrong).unwrap();
    explained(&stage, "iriscluster/chat", &["Secret", "forgotten"]);
    let right = r#"{"spec":{"cassandra":{"credentialsSecretRef":{"name":"cassandra"}}}}"#;
    patch(&stage, "iriscluster/chat", right).unwrap();
    stage
        .wait(NAMESPACE, "iriscluster/chat", "condition=Stalled=False", Duration::from_secs(120))
        .unwrap();
    assert_eq!(pods(&stage), before);
}

#[test]
fn the_number_of_shards_cannot_be_changed() {
    let stage = Stage::enter();
    let refused = patch(&stage, "iriscluster/chat", r#"{"spec":{"shardCount":128}}"#);
    let words = refused.err().unwrap_or_default();
    assert!(words.contains("shardCount"), "{words}");
}

//! `kubectl iris` against a real API server. No operator runs: what it would report is written here.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, outside their functions, some of them for other tests"
)]

#[path = "../../../operator/tests/kubernetes/server.rs"]
mod server;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use iris_crds::{IrisCluster, IrisRegion, IrisShardMap, IrisShardMigration};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// The token of the server's administrator.
const ADMIN: &str = "the-admin-of-the-test";

/// A namespace with a region of three owners and eight shards.
struct World {
    client: Client,
    namespace: String,
    kubeconfig: PathBuf,
    _files: tempfile::TempDir,
}

impl World {
    async fn new(namespace: &str) -> Self {
        let server = server::server().await;
        let files = tempfile::tempdir().unwrap();
        let kubeconfig = files.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "clusters": [{"name": "test", "cluster": {
                "server": server.url, "insecure-skip-tls-verify": true,
            }}],
            "users": [{"name": "admin", "user": {"token": ADMIN}}],
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let namespace = server.namespace(namespace).await;
        let world = Self { client: server.admin(), namespace, kubeconfig, _files: files };
        world.populate().await;
        world
    }

    fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn put<K>(&self, name: &str, spec: Value, status: Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        let api: Api<K> = self.api();
        let (version, kind) = (K::api_version(&()), K::kind(&()));
        let object = json!({
            "apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec,
        });
        let object: K = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
        let status = json!({"status": status});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }

    async fn populate(&self) {
        let well = |kinds: &[(&str, &str)]| {
            let of = |(kind, status): &(&str, &str)| {
                json!({
                    "type": kind, "status": status, "reason": "R", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
                })
            };
            kinds.iter().map(of).collect::<Vec<_>>()
        };
        let good = || well(&[("Available", "True"), ("Stalled", "False")]);
        let spec = json!({
            "profile": "Development", "shardCount": 8, "ackPolicy": "HomeRegion",
            "cassandra": {
                "contactPoints": ["cassandra:9042"], "keyspace": "iris",
                "credentialsSecretRef": {"name": "cassandra"},
            },
        });
        self.put::<IrisCluster>("chat", spec, json!({"conditions": good()})).await;
        let spec = json!({
            "clusterRef": {"name": "chat"}, "cassandraDatacenter": "dc1",
            "etcd": {"endpoints": ["http://etcd:2379"]},
        });
        let instance = |name: &str, state: &str, shards: u32| json!({"name": name, "state": state, "shards": shards, "updated": true});
        let status = json!({
            "conditions": good(), "replicas": 3, "readyReplicas": 3, "edges": 2,
            "shards": {"total": 8, "serving": 8, "released": 0, "moving": 0, "takeover": 0,
                       "unclaimed": 0, "troubled": 0},
            "instances": [
                instance("owner-0", "Serving", 4),
                instance("owner-1", "Serving", 4),
                instance("owner-2", "Silent", 0),
            ],
        });
        self.put::<IrisRegion>("eu", spec, status).await;
        let range = |first: u32, last: u32, owner: &str| json!({"first": first, "last": last, "owner": owner, "epoch": 2, "phase": "Serving"});
        let status = json!({
            "conditions": well(&[("Covered", "True"), ("Stalled", "False")]),
            "ranges": [range(0, 3, "owner-0"), range(4, 7, "owner-1")],
        });
        self.put::<IrisShardMap>("eu", json!({"regionRef": {"name": "eu"}}), status).await;
    }

    /// Runs `kubectl iris` with these words. Answers whether it succeeded, its result and its notes.
    async fn run(&self, line: &str) -> (bool, Value, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-iris"));
        command.args(line.split_whitespace()).args(["--json", "-n", &self.namespace]);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let result = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.success(), result, String::from_utf8(output.stderr).unwrap())
    }

    async fn moves(&self) -> Vec<IrisShardMigration> {
        let api: Api<IrisShardMigration> = self.api();
        api.list(&ListParams::default()).await.unwrap().items
    }

    /// Ends one move after the other, as the operator would. Answers how many were under way at most.
    async fn operate(&self, wanted: usize, fail: u32) -> usize {
        let api: Api<IrisShardMigration> = self.api();
        let mut most = 0;
        loop {
            let moves = self.moves().await;
            let ended = |one: &&IrisShardMigration| {
                one.status.as_ref().is_some_and(|status| status.result.is_some())
            };
            if moves.iter().filter(ended).count() == wanted {
                return most;
            }
            let under_way: Vec<_> = moves.iter().filter(|one| !ended(one)).collect();
            most = most.max(under_way.len());
            if let Some(one) = under_way.first() {
                let result = if one.spec.shard == fail { "Failed" } else { "Succeeded" };
                let status = json!({"status": {
                    "journalSeq": 1, "step": result, "result": result,
                    "committedEpoch": 3, "fence": {"millis": 12, "releasedBlock": 1, "refused": 0},
                }});
                let name = one.name_any();
                api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
                    .await
                    .unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_says_what_is_there_and_what_is_wrong() {
    let world = World::new("cli-status").await;
    let (ok, status, notes) = world.run("status").await;
    assert!(ok, "{notes}");
    assert_eq!(status["regions"][0]["name"], "eu");
    assert_eq!(status["regions"][0]["owners"].as_array().unwrap().len(), 3);
    let problems = status["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0]["object"], "owner/owner-2");
    assert!(!world.run("status --check").await.0, "something is wrong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shard_is_moved_once_and_watched_to_its_end() {
    let world = World::new("cli-all").await;
    let (ok, plan, notes) = world.run("migrate --all --dry-run").await;
    assert!(ok, "{notes}");
    assert_eq!(plan["moves"].as_array().unwrap().len(), 8);
    assert!(world.moves().await.is_empty(), "nothing was ordered");
    let order = world.run("migrate --all --wait --parallel 3 --timeout 60s");
    let ((ok, report, notes), most) = tokio::join!(order, world.operate(8, u32::MAX));
    assert!(ok, "{report} {notes}");
    assert_eq!((&report["moved"], &report["failed"]), (&8.into(), &0.into()), "{report}");
    assert_eq!(report["write_pause_ms"]["count"], 8);
    assert!((1..=3).contains(&most), "{most} under way");
    for one in world.moves().await {
        assert_ne!(one.spec.source.owner, one.spec.target.owner);
        assert_ne!(one.spec.target.owner, "owner-2", "a silent owner gets nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_fails_or_does_not_end_is_told() {
    let world = World::new("cli-failure").await;
    let order = world.run("migrate 3 --to owner-1 --wait --timeout 60s");
    let ((ok, report, _), _) = tokio::join!(order, world.operate(1, 3));
    assert!(!ok);
    assert_eq!((&report["failed"], &report["moved"]), (&1.into(), &0.into()), "{report}");
    let (ok, report, notes) = world.run("migrate 5 --to owner-0 --wait --timeout 1s").await;
    assert!(!ok);
    assert_eq!(report["unfinished"], 1, "{report}");
    assert!(notes.contains("--timeout"), "{notes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_move_is_ordered_and_aborted() {
    let world = World::new("cli-one").await;
    let (ok, ordered, notes) = world.run("migrate 6 --to owner-0").await;
    assert!(ok, "{notes}");
    assert_eq!(ordered["ordered"][0], "m-6-e2-1");
    let (ok, again, notes) = world.run("migrate 6 --to owner-0").await;
    assert!(ok, "{notes}");
    assert_eq!(again["ordered"][0], "m-6-e2-2", "another order has another name");
    let (ok, aborted, notes) = world.run("abort m-6-e2-1").await;
    assert!(ok, "{notes}");
    assert_eq!(aborted["aborting"], "m-6-e2-1");
    let found = world.moves().await;
    let outcome = found.iter().find(|one| one.name_any() == "m-6-e2-1").unwrap().spec.outcome;
    assert_eq!(format!("{outcome:?}"), "Abort");
    for (line, expected) in [
        ("abort m-9-e9-9", "there is no move"),
        ("abort 7", "no move of shard 7"),
        ("migrate 9 --to owner-0", "0 to 7"),
        ("migrate 0 --to owner-0", "already"),
        ("migrate 0 --to owner-2", "owner-0, owner-1"),
        ("migrate --all --region us", "no shard map of region us"),
        ("status --context nowhere", "get-contexts"),
    ] {
        let (ok, _, told) = world.run(line).await;
        assert!(!ok && told.contains(expected), "{line}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_approved_paused_and_reversed() {
    let world = World::new("cli-verbs").await;
    let (ok, _, notes) = world.run("migrate 6 --to owner-0 --manual --soak 10m").await;
    assert!(ok, "{notes}");
    let api: Api<IrisShardMigration> = world.api();
    let name = "m-6-e2-1";
    let status = async |status: Value| {
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(name, &PatchParams::default(), &patch).await.unwrap()
    };
    let found = api.get(name).await.unwrap();
    assert_eq!((found.spec.soak.seconds, found.spec.approval.plan_hash), (600, None));
    let (ok, _, told) = world.run("approve 6").await;
    assert!(!ok && told.contains("no plan yet"), "{told}");
    let hash = format!("b3:{}", "a".repeat(64));
    status(json!({"journalSeq": 1, "step": "Planned", "plan": {"hash": hash}})).await;
    let other = format!("approve 6 --plan b3:{}", "b".repeat(64));
    let (ok, _, told) = world.run(&other).await;
    assert!(!ok && told.contains(&hash), "{told}");
    let (ok, approved, notes) = world.run(&format!("approve {name} --plan {hash}")).await;
    assert!(ok, "{notes}");
    assert_eq!((&approved["approved"], &approved["plan"]), (&name.into(), &hash.as_str().into()));
    assert_eq!(api.get(name).await.unwrap().spec.approval.plan_hash, Some(hash));
    let (ok, paused, _) = world.run("pause 6").await;
    assert!(ok && paused["paused"] == name, "{paused}");
    assert!(api.get(name).await.unwrap().spec.paused);
    assert!(world.run("resume 6").await.0);
    assert!(!api.get(name).await.unwrap().spec.paused);
    let (ok, _, told) = world.run("reverse 6").await;
    assert!(!ok, "nobody has claimed it: {told}");
    status(json!({"journalSeq": 2, "step": "Soaking", "committedEpoch": 3})).await;
    let (ok, reversed, told) = world.run("reverse 6").await;
    assert!(ok && reversed["reversing"] == name, "{told}");
    assert!(world.run("migrate 5 --to owner-0").await.0);
    let (ok, _, told) = world.run("approve 5").await;
    assert!(!ok && told.contains("Automatic"), "{told}");
}

/// The map is written a few seconds after a move has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_ended_is_known_before_the_map_is_written() {
    let world = World::new("cli-behind").await;
    assert!(world.run("migrate 6 --to owner-0").await.0);
    world.operate(1, u32::MAX).await;
    let (ok, ordered, notes) = world.run("migrate 6 --to owner-1").await;
    assert!(ok, "{notes}");
    assert_eq!(ordered["ordered"][0], "m-6-e3-1");
    let (ok, _, told) = world.run("migrate 6 --to owner-0").await;
    assert!(!ok && told.contains("already"), "{told}");
}

//! From the quickstart to everything that it stands for, and what people are told on the way.

use std::time::Duration;

use iris_crds::conditions::State;
use iris_crds::{IrisCluster, IrisEdgePool, IrisRegion, IrisShardMap};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;

use crate::control_plane::OWNERS;
use crate::operator::World;
use crate::server::eventually;

const JOB_LABEL: &str = "iris.dev/role=schema";

async fn schema_job(world: &World, not: &str) -> Job {
    let api = world.api::<Job>();
    eventually("there is a schema job", Duration::from_secs(40), async || {
        let jobs = api.list(&ListParams::default().labels(JOB_LABEL)).await.unwrap().items;
        let fresh = |job: &&Job| {
            job.uid().as_deref() != Some(not) && job.metadata.deletion_timestamp.is_none()
        };
        jobs.iter().find(fresh).cloned()
    })
    .await
}

/// Reports the end of a Job as its controller would.
async fn end(world: &World, job: &Job, well: bool, words: &str) {
    let now = "2026-01-01T00:00:00Z";
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "Reported", "message": words,
               "lastProbeTime": now, "lastTransitionTime": now})
    };
    let status = if well {
        json!({"startTime": now, "completionTime": now, "succeeded": 1,
               "conditions": [condition("SuccessCriteriaMet"), condition("Complete")]})
    } else {
        json!({"startTime": now, "failed": 1,
               "conditions": [condition("FailureTarget"), condition("Failed")]})
    };
    world.report::<Job>(&job.name_any(), status).await;
}

pub async fn schema_applied(world: &World) {
    let job = schema_job(world, "").await;
    end(world, &job, true, "").await;
    world.condition::<IrisCluster>("chat", "SchemaApplied", State::True, &[]).await;
}

async fn parts(world: &World) -> (Deployment, StatefulSet, Deployment) {
    let control = world.there::<Deployment>("eu-controlplane").await;
    let owners = world.there::<StatefulSet>("eu-owner").await;
    (control, owners, world.there::<Deployment>("eu-public-edge").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_comes_up_and_says_what_it_waits_for() {
    let world = World::new("bringup").await;
    world.apply_quickstart().await;
    let words = ["SecretMissing", "/cassandra is not there", "username, password"];
    world.condition::<IrisCluster>("chat", "Stalled", State::True, &words).await;
    world
        .condition::<IrisRegion>("eu", "Stalled", State::True, &["SecretMissing", "cassandra"])
        .await;
    let jobs = world.api::<Job>().list(&ListParams::default()).await.unwrap();
    assert!(jobs.items.is_empty(), "nothing reaches for the database without credentials");
    world.secret("cassandra", &["username", "password"]).await;

    // The database does not answer: its job says so, and nothing is rolled out.
    let job = schema_job(&world, "").await;
    end(&world, &job, false, "cannot reach cassandra.iris:9042").await;
    let words = ["cannot reach cassandra.iris:9042", "spec.cassandra", "Nothing is rolled out"];
    world.condition::<IrisCluster>("chat", "SchemaApplied", State::False, &words).await;
    let none = world.api::<Deployment>().list(&ListParams::default()).await.unwrap();
    assert!(none.items.iter().all(|found| found.name_any() == "iris-operator"));
    let again = schema_job(&world, &job.uid().unwrap()).await;
    end(&world, &again, true, "").await;
    world.condition::<IrisCluster>("chat", "SchemaApplied", State::True, &[]).await;

    // etcd's certificate is asked for by name, too.
    let words = ["SecretMissing", "/etcd-client-tls is not there", "spec.etcd.tls.secretRef"];
    world.condition::<IrisRegion>("eu", "Stalled", State::True, &words).await;
    world.secret("etcd-client-tls", &["ca.crt", "tls.crt", "tls.key"]).await;
    let (control, owners, edges) = parts(&world).await;
    let replicas = |found: Option<i32>| found.unwrap();
    assert_eq!(replicas(control.spec.unwrap().replicas), 2);
    assert_eq!(replicas(edges.spec.unwrap().replicas), 2);
    let owners = owners.spec.unwrap();
    assert_eq!(replicas(owners.replicas), 3);
    assert_eq!(owners.update_strategy.unwrap().type_.as_deref(), Some("OnDelete"));
    for name in ["eu-controlplane", "eu-owner", "eu-public-edge"] {
        world.there::<Service>(name).await;
        world.there::<PodDisruptionBudget>(name).await;
    }
    for name in ["chat-default", "chat-owner", "chat-edge", "chat-controlplane", "chat-schema"] {
        world.there::<NetworkPolicy>(name).await;
    }
    for name in ["chat-ca", "chat-jwt", "chat-client-ca", "eu-public-listener"] {
        world.there::<Secret>(name).await;
    }
    let config = world.there::<ConfigMap>("eu-config").await.data.unwrap();
    let settings: iris_runtime::config::Settings =
        serde_json::from_str(&config["config.json"]).unwrap();
    assert_eq!((settings.shard_count, settings.owners), (64, 3));
    assert_eq!(settings.issuer, world.issuer);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_builds_is_admitted_where_only_restricted_pods_are() {
    let world = World::with_quickstart("restricted").await;
    let job = schema_job(&world, "").await;
    schema_applied(&world).await;
    let (control, owners, edges) = parts(&world).await;
    let templates = [
        ("schema", job.spec.unwrap().template),
        ("control", control.spec.unwrap().template),
        ("owner", owners.spec.unwrap().template),
        ("edge", edges.spec.unwrap().template),
    ];
    let dry = PostParams { dry_run: true, field_manager: None };
    for (name, template) in templates {
        let mut pod = Pod {
            metadata: template.metadata.unwrap_or_default(),
            spec: template.spec,
            status: None,
        };
        pod.metadata.name = Some(name.to_owned());
        let made = world.api::<Pod>().create(&dry, &pod).await;
        assert!(made.is_ok(), "{name}: {made:?}");
        // And it is the standard that admits it: with one right more it is not.
        let container = &mut pod.spec.as_mut().unwrap().containers[0];
        container.security_context.as_mut().unwrap().allow_privilege_escalation = Some(true);
        let refused = world.api::<Pod>().create(&dry, &pod).await.unwrap_err();
        assert!(refused.to_string().contains("PodSecurity"), "{name}: {refused}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_spec_is_refused_or_explained_and_restarts_nothing() {
    let world = World::with_quickstart("wrong").await;
    schema_applied(&world).await;
    let before = parts(&world).await;
    let generations = |parts: &(Deployment, StatefulSet, Deployment)| {
        (parts.0.metadata.generation, parts.1.metadata.generation, parts.2.metadata.generation)
    };

    let refused =
        world.patch::<IrisCluster>("chat", json!({"spec": {"shardCount": 128}})).await.unwrap_err();
    assert!(refused.to_string().contains("shardCount"), "{refused}");

    let point = |address: &str| json!({"spec": {"cassandra": {"contactPoints": [address]}}});
    world.patch::<IrisCluster>("chat", point("nowhere.iris:9042")).await.unwrap();
    let done: Vec<_> = world.api::<Job>().list(&ListParams::default()).await.unwrap().items;
    let job = schema_job(&world, &done[0].uid().unwrap()).await;
    end(&world, &job, false, "nowhere.iris: no such host").await;
    let words = ["nowhere.iris: no such host", "contactPoints"];
    world.condition::<IrisCluster>("chat", "SchemaApplied", State::False, &words).await;
    world.condition::<IrisRegion>("eu", "Reconciling", State::True, &["no such host"]).await;
    assert_eq!(generations(&parts(&world).await), generations(&before));
    // As it was: nothing has to be done again.
    world.patch::<IrisCluster>("chat", point("cassandra.iris:9042")).await.unwrap();
    world.condition::<IrisCluster>("chat", "SchemaApplied", State::True, &[]).await;
    world.condition::<IrisRegion>("eu", "Reconciling", State::True, &["ComingUp"]).await;
    assert_eq!(generations(&parts(&world).await), generations(&before));

    // Pins that make no sense are explained, and none is taken over.
    let taken = world.control.state.lock().placements.len();
    let pin = json!({"first": 60, "last": 70, "owner": "eu-owner-0"});
    let pins = json!({"spec": {"placement": {"pins": [pin]}}});
    world.patch::<IrisShardMap>("eu", pins).await.unwrap();
    let words = ["InvalidPlacement", "60-70", "the cluster has the shards 0-63"];
    world.condition::<IrisShardMap>("eu", "Stalled", State::True, &words).await;
    assert!(world.control.state.lock().placements[taken..].iter().all(|p| p.pins.is_empty()));
    let pin = json!({"first": 60, "last": 63, "owner": "eu-owner-0"});
    let pins = json!({"spec": {"placement": {"pins": [pin]}}});
    world.patch::<IrisShardMap>("eu", pins).await.unwrap();
    world.condition::<IrisShardMap>("eu", "Placed", State::True, &[]).await;
    eventually("the pin is taken over", Duration::from_secs(10), async || {
        let state = world.control.state.lock();
        let pins = &state.placements.last()?.pins;
        (pins.len() == 1 && pins[0].last_shard == 63).then_some(())
    })
    .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_told_and_what_is_deleted_goes() {
    let world = World::with_quickstart("told").await;
    schema_applied(&world).await;
    parts(&world).await;
    // As the controllers of workloads would report them.
    let ready = json!({"observedGeneration": 1, "replicas": 2, "readyReplicas": 2,
                       "updatedReplicas": 2, "availableReplicas": 2});
    world.report::<Deployment>("eu-controlplane", ready.clone()).await;
    world.report::<Deployment>("eu-public-edge", ready).await;
    let owners = json!({"observedGeneration": 1, "replicas": 3, "readyReplicas": 3,
                        "updatedReplicas": 3, "currentRevision": "a", "updateRevision": "a"});
    world.report::<StatefulSet>("eu-owner", owners).await;
    world.condition::<IrisRegion>("eu", "Available", State::True, &["all 64 shards"]).await;
    world.condition::<IrisCluster>("chat", "Available", State::True, &[]).await;
    world.condition::<IrisEdgePool>("eu-public", "Available", State::True, &["2 of 2"]).await;
    let region = world.api::<IrisRegion>().get("eu").await.unwrap().status.unwrap();
    let names: Vec<_> = region.instances.iter().map(|one| one.name.clone()).collect();
    assert_eq!(names, OWNERS);
    let map = world.api::<IrisShardMap>().get("eu").await.unwrap().status.unwrap();
    assert_eq!(map.summary.as_deref(), Some("64/64"));
    assert_eq!(map.owners.iter().map(|owner| owner.count).sum::<u32>(), 64);

    // What moves by itself is shown.
    world.control.state.lock().shards.get_mut(&9).unwrap().owner = "eu-owner-1".to_owned();
    world
        .until("eu", "the shard is shown where it is", |map: &IrisShardMap| {
            let status = map.status.clone().unwrap_or_default();
            let share = status.owners.iter().find(|share| share.owner == "eu-owner-1").cloned();
            share.is_some_and(|share| share.shards.contains('9'))
        })
        .await;

    // A pool goes with what belongs to it, and a part that somebody deletes comes back.
    let deletion = DeleteParams::default();
    world.api::<Service>().delete("eu-owner", &deletion).await.unwrap();
    world.there::<Service>("eu-owner").await;
    world.api::<IrisEdgePool>().delete("eu-public", &deletion).await.unwrap();
    eventually("the edges are gone", Duration::from_secs(40), async || {
        let edges = world.api::<Deployment>().get_opt("eu-public-edge").await.unwrap();
        edges.is_none().then_some(())
    })
    .await;
    world.there::<StatefulSet>("eu-owner").await;
    world.api::<IrisRegion>().delete("eu", &deletion).await.unwrap();
    world.api::<IrisCluster>().delete("chat", &deletion).await.unwrap();
    eventually("the rest is gone", Duration::from_secs(40), async || {
        let set = world.api::<StatefulSet>().get_opt("eu-owner").await.unwrap();
        let keys = world.api::<Secret>().get_opt("chat-ca").await.unwrap();
        let account = world.api::<ServiceAccount>().get_opt("eu-owner").await.unwrap();
        (set.is_none() && keys.is_none() && account.is_none()).then_some(())
    })
    .await;
    world.end().await;
}

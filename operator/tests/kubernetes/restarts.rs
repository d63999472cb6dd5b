//! Owners of an older template: restarted one after the other, by evictions that a real API server judges.

use std::time::Duration;

use iris_crds::IrisRegion;
use iris_crds::conditions::State;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::PostParams;
use serde_json::json;

use crate::control_plane::OWNERS;
use crate::operator::World;
use crate::resources::schema_applied;
use crate::server::eventually;

/// The operator looks every three seconds while owners restart.
const LOOKS: Duration = Duration::from_secs(8);

/// Makes an owner's pod of a template, as the StatefulSet's controller would, and reports it ready.
async fn pod(world: &World, name: &str, revision: &str) -> String {
    let set = world.there::<StatefulSet>("eu-owner").await;
    let template = set.spec.unwrap().template;
    let mut pod =
        Pod { metadata: template.metadata.unwrap_or_default(), spec: template.spec, status: None };
    pod.metadata.name = Some(name.to_owned());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert("controller-revision-hash".to_owned(), revision.to_owned());
    let made = world.api::<Pod>().create(&PostParams::default(), &pod).await.unwrap();
    let ready = json!({"type": "Ready", "status": "True"});
    world.report::<Pod>(name, json!({"phase": "Running", "conditions": [ready]})).await;
    made.uid().unwrap()
}

async fn updated(world: &World, count: u32) {
    let status = json!({"observedGeneration": 1, "replicas": 3, "readyReplicas": 3,
                        "updatedReplicas": count, "currentRevision": "a", "updateRevision": "b"});
    world.report::<StatefulSet>("eu-owner", status).await;
}

/// As the controller of disruptions would after everything is healthy again.
async fn one_may_go(world: &World) {
    let status = json!({"observedGeneration": 1, "disruptionsAllowed": 1, "disruptedPods": null,
                        "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3});
    world.report::<PodDisruptionBudget>("eu-owner", status).await;
}

async fn gone(world: &World, name: &str) {
    eventually(&format!("{name} is gone"), Duration::from_secs(40), async || {
        world.api::<Pod>().get_opt(name).await.unwrap().is_none().then_some(())
    })
    .await;
}

async fn stays(world: &World, name: &str, why: &str) {
    tokio::time::sleep(LOOKS).await;
    assert!(world.api::<Pod>().get_opt(name).await.unwrap().is_some(), "{name} was ended: {why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_of_an_older_template_restart_one_after_the_other() {
    let world = World::with_quickstart("restarts").await;
    schema_applied(&world).await;
    world.there::<ServiceAccount>("eu-owner").await;
    world.there::<PodDisruptionBudget>("eu-owner").await;
    let control = world.there::<Deployment>("eu-controlplane").await;
    for name in OWNERS {
        let uid = pod(&world, name, "a").await;
        world.control.state.lock().uids.insert(name.to_owned(), uid);
    }
    updated(&world, 0).await;
    let ready = |updated: u32| {
        json!({"observedGeneration": control.metadata.generation, "replicas": 2,
               "readyReplicas": 2, "updatedReplicas": updated, "availableReplicas": 2})
    };
    world.report::<Deployment>("eu-controlplane", ready(1)).await;
    one_may_go(&world).await;
    let words = ["0 of 3 owners have restarted", "1 of 2 control planes are new"];
    world.condition::<IrisRegion>("eu", "Progressing", State::True, &words).await;
    stays(&world, OWNERS[0], "the control plane was not complete").await;

    world.report::<Deployment>("eu-controlplane", ready(2)).await;
    gone(&world, OWNERS[0]).await;
    stays(&world, OWNERS[1], "another one was away").await;

    let uid = pod(&world, OWNERS[0], "b").await;
    updated(&world, 1).await;
    let words = ["1 of 3 owners have restarted", "not heard of eu-owner-0"];
    world.condition::<IrisRegion>("eu", "Progressing", State::True, &words).await;
    stays(&world, OWNERS[1], "the first one serves nothing yet").await;

    // Everything is well, but the budget was used up by the first one.
    world.control.state.lock().uids.insert(OWNERS[0].to_owned(), uid);
    let words = ["eu-owner-1 may not end yet"];
    world.condition::<IrisRegion>("eu", "Progressing", State::True, &words).await;
    assert!(world.api::<Pod>().get_opt(OWNERS[1]).await.unwrap().is_some());
    one_may_go(&world).await;
    gone(&world, OWNERS[1]).await;
    assert!(world.api::<Pod>().get_opt(OWNERS[2]).await.unwrap().is_some());
    world.end().await;
}

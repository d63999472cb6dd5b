//! Certificates, as pods get them: by the token of a pod that exists, and by no other.

use std::time::Duration;

use iris_operator::vault::text_of;
use iris_runtime::clock::SystemClock;
use iris_runtime::identity::{self, Source};
use iris_runtime::task::Tasks;
use iris_runtime::tls::Role;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::ResourceExt;
use kube::api::PostParams;
use serde_json::json;

use crate::operator::World;

async fn pod(world: &World, name: &str, account: &str) -> Pod {
    let pod = json!({
        "metadata": {"name": name},
        "spec": {
            "serviceAccountName": account,
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532,
                                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "one", "image": "none", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        },
    });
    let pod = serde_json::from_value(pod).unwrap();
    world.api::<Pod>().create(&PostParams::default(), &pod).await.unwrap()
}

async fn token(world: &World, account: &str, audience: &str, pod: &Pod) -> String {
    let request = json!({"spec": {
        "audiences": [audience],
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.name_any(), "uid": pod.uid()},
    }});
    let request: TokenRequest = serde_json::from_value(request).unwrap();
    let api = world.api::<ServiceAccount>();
    let token = api.create_token_request(account, &PostParams::default(), &request).await.unwrap();
    token.status.unwrap().token
}

/// Asks as a pod does; nothing if there is no certificate within a while.
async fn acquire(world: &World, token: &str, cluster: &str) -> Option<iris_runtime::tls::Identity> {
    let files = tempfile::tempdir().unwrap();
    let trust = world.there::<ConfigMap>("chat-trust").await.data.unwrap()["ca.crt"].clone();
    std::fs::write(files.path().join("ca.crt"), trust).unwrap();
    std::fs::write(files.path().join("token"), token).unwrap();
    let source = Source {
        issuer: world.issuer.clone(),
        namespace: world.namespace.clone(),
        cluster: cluster.to_owned(),
        trust: files.path().join("ca.crt"),
        token: files.path().join("token"),
        cache: files.path().join("cache"),
    };
    std::fs::create_dir(&source.cache).unwrap();
    let tasks = Tasks::new();
    let acquired = identity::acquire(source, SystemClock::shared(), &tasks);
    let found = tokio::time::timeout(Duration::from_secs(3), acquired).await.ok();
    tasks.stop();
    tasks.ended().await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_gets_the_certificate_of_what_it_is_and_of_nothing_else() {
    let world = World::with_quickstart("certificates").await;
    world.there::<ServiceAccount>("eu-owner").await;
    let owner = pod(&world, "eu-owner-0", "eu-owner").await;
    let good = token(&world, "eu-owner", "iris-issuer", &owner).await;
    let identity = acquire(&world, &good, "chat").await.unwrap();
    let material = identity.current();
    let name = material.name();
    assert_eq!((name.role, name.pod.as_str()), (Role::Owner, "eu-owner-0"));
    assert_eq!((name.cluster.as_str(), &name.namespace), ("chat", &world.namespace));

    let api_server = token(&world, "eu-owner", "https://kubernetes.default.svc", &owner).await;
    assert!(acquire(&world, &api_server, "chat").await.is_none(), "made for another audience");
    let stranger = pod(&world, "stranger", "iris-operator").await;
    let other = token(&world, "iris-operator", "iris-issuer", &stranger).await;
    assert!(acquire(&world, &other, "chat").await.is_none(), "an account that stands for no role");
    assert!(acquire(&world, "not a token", "chat").await.is_none());
    // The API server remembers for ten seconds what it said of a token, so this one is new to it.
    let unused = token(&world, "eu-owner", "iris-issuer", &owner).await;
    let deletion = kube::api::DeleteParams { grace_period_seconds: Some(0), ..Default::default() };
    world.api::<Pod>().delete("eu-owner-0", &deletion).await.unwrap();
    assert!(acquire(&world, &unused, "chat").await.is_none(), "of a pod that is gone");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_replaced_when_people_ask_and_no_other_time() {
    let world = World::with_quickstart("keys").await;
    let before = text_of(&world.there::<Secret>("chat-jwt").await);
    let authority = text_of(&world.there::<Secret>("chat-ca").await);
    let rotate = json!({"spec": {"auth": {"rotation": 1}}});
    world.patch::<iris_crds::IrisCluster>("chat", rotate).await.unwrap();
    world
        .until("chat", "the next key is published", |cluster: &iris_crds::IrisCluster| {
            let keys = cluster.status.as_ref().and_then(|status| status.keys.as_ref());
            keys.is_some_and(|keys| keys.published.len() == 2)
        })
        .await;
    let after = text_of(&world.there::<Secret>("chat-jwt").await);
    assert_eq!(before["kid"], after["kid"], "it is believed everywhere before it signs");
    assert_ne!(before["jwks.json"], after["jwks.json"]);
    assert_eq!(text_of(&world.there::<Secret>("chat-ca").await), authority);
    world.end().await;
}

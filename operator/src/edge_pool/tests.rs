use iris_crds::cluster::AdoptedImages;
use iris_crds::common::Time;
use iris_crds::conditions::{self, State};
use iris_runtime::config::Settings;
use serde_json::json;

use super::report::{Facts, report};
use super::*;
use crate::cluster::tests::built_in;
use crate::gate::ReadyCluster;
use crate::region::tests::{ready, region};

fn pool(spec: serde_json::Value) -> IrisEdgePool {
    let mut object = json!({
        "apiVersion": "iris.dev/v1alpha1",
        "kind": "IrisEdgePool",
        "metadata": {"name": "eu-public", "namespace": "iris", "uid": "u-3", "generation": 1},
        "spec": {"regionRef": {"name": "eu"}, "drain": {"connectionsPerSecond": 100, "timeoutSeconds": 120}},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn with<T>(
    pool: &IrisEdgePool,
    ready: &ReadyCluster,
    build: impl Fn(build::Builder<'_>) -> T,
) -> T {
    let (region, owner, built_in) = (region(), Owner::of(pool), built_in());
    build(build::Builder { ready, region: &region, pool, owner: &owner, built_in: &built_in })
}

#[test]
fn edges_let_their_clients_go_before_they_end() {
    let pool = pool(json!({}));
    let (deployment, _) = with(&pool, &ready(), |b| b.deployment(None).unwrap());
    let spec = deployment.spec.unwrap();
    let rolling = spec.strategy.unwrap().rolling_update.unwrap();
    let zero = k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(0);
    assert_eq!(rolling.max_unavailable, Some(zero));
    let pod = spec.template.spec.unwrap();
    assert_eq!(pod.termination_grace_period_seconds, Some(140));
    let container = &pod.containers[0];
    assert_eq!(container.args.as_deref(), Some(&["edge".to_owned()][..]));
    let stop = container.lifecycle.clone().unwrap().pre_stop.unwrap();
    assert_eq!(stop.sleep.unwrap().seconds, 5);
    let map = with(&pool, &ready(), |b| b.config().unwrap());
    let told: Settings = serde_json::from_str(&map.data.unwrap()["config.json"]).unwrap();
    assert_eq!((told.drain.connections_per_second, told.drain.timeout_seconds), (100, 120));
}

#[test]
fn edges_have_no_key_that_signs_and_no_way_to_the_database() {
    let (deployment, _) = with(&pool(json!({})), &ready(), |b| b.deployment(None).unwrap());
    let volumes = deployment.spec.unwrap().template.spec.unwrap().volumes.unwrap();
    let names: Vec<_> = volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["config", "trust", "issuer-token", "identity", "jwt", "listener"]);
    let jwt = volumes.iter().find(|volume| volume.name == "jwt").unwrap();
    assert_eq!(jwt.config_map.as_ref().unwrap().name, "chat-jwks");
    let listener = volumes.iter().find(|volume| volume.name == "listener").unwrap();
    let secret = listener.secret.as_ref().unwrap().secret_name.as_deref();
    assert_eq!(secret, Some("eu-public-listener"));
    let own = pool(json!({"listener": {"certificateSecretRef": {"name": "mine"}}}));
    let (deployment, _) = with(&own, &ready(), |b| b.deployment(None).unwrap());
    let volumes = deployment.spec.unwrap().template.spec.unwrap().volumes.unwrap();
    let listener = volumes.iter().find(|volume| volume.name == "listener").unwrap();
    assert_eq!(listener.secret.as_ref().unwrap().secret_name.as_deref(), Some("mine"));
}

#[test]
fn an_autoscaler_keeps_the_number_that_it_chose() {
    let scaled = pool(json!({"autoscale": {"min": 2, "max": 9, "connectionsPerPod": 1000}}));
    let at = |replicas: i32| {
        let mut live = Deployment::default();
        live.spec.get_or_insert_default().replicas = Some(replicas);
        let (deployment, _) = with(&scaled, &ready(), |b| b.deployment(Some(&live)).unwrap());
        deployment.spec.unwrap().replicas
    };
    assert_eq!((at(5), at(1), at(50)), (Some(5), Some(2), Some(9)));
    let autoscaler = with(&scaled, &ready(), |b| b.autoscaler()).unwrap().spec.unwrap();
    let pods = autoscaler.metrics.unwrap().remove(0).pods.unwrap();
    assert_eq!(pods.metric.name, "iris_edge_connections");
    assert_eq!(pods.target.average_value.unwrap().0, "1000");
    let fixed = pool(json!({"replicas": 4}));
    assert!(with(&fixed, &ready(), |b| b.autoscaler()).is_none());
    let (deployment, _) = with(&fixed, &ready(), |b| b.deployment(None).unwrap());
    assert_eq!(deployment.spec.unwrap().replicas, Some(4));
}

#[test]
fn the_service_is_what_people_asked_for() {
    let service =
        with(&pool(json!({"listener": {"port": 8444}})), &ready(), |b| b.service()).spec.unwrap();
    let port = service.ports.unwrap().remove(0);
    assert_eq!((port.port, service.type_.as_deref()), (8444, Some("ClusterIP")));
    assert_eq!(service.external_traffic_policy, None, "refused by the API server for a ClusterIP");
    let balanced =
        pool(json!({"service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}}));
    let service = with(&balanced, &ready(), |b| b.service()).spec.unwrap();
    assert_eq!(service.external_traffic_policy.as_deref(), Some("Local"));
}

#[test]
fn another_image_is_rolled_out_and_another_number_is_not() {
    let template = |pool: &IrisEdgePool, image: &str| {
        let images = AdoptedImages { dataplane: image.to_owned(), ..ready().images };
        let ready = ReadyCluster { images, ..ready() };
        let (deployment, _) = with(pool, &ready, |b| b.deployment(None).unwrap());
        deployment.spec.unwrap().template
    };
    let before = template(&pool(json!({})), "d:1");
    assert_eq!(template(&pool(json!({"replicas": 7})), "d:1"), before);
    assert_ne!(template(&pool(json!({})), "d:2"), before);
}

fn seen(ready: i32, wanted: i32) -> Seen {
    let deployment = json!({
        "metadata": {"generation": 1},
        "spec": {"replicas": wanted, "selector": {}, "template": {}},
        "status": {"observedGeneration": 1, "replicas": wanted, "readyReplicas": ready, "updatedReplicas": wanted},
    });
    Seen {
        deployment: Some(serde_json::from_value(deployment).unwrap()),
        service: None,
        autoscaler: None,
        troubles: vec!["eu-public-edge-x: CrashLoopBackOff".to_owned()],
        connections: Some(3),
    }
}

fn judged(seen: &Seen, certificate: Certificate, now_s: u64) -> iris_crds::IrisEdgePoolStatus {
    let (pool, cluster) = (pool(json!({})), crate::cluster::tests::cluster());
    let facts = Facts { cluster: &cluster, pool: &pool, seen };
    let applied = Ok(Applied { waiting: None, certificate });
    report(&facts, &applied, Time::from_unix(now_s)).0
}

#[test]
fn a_pool_says_how_many_edges_and_until_when_they_are_believed() {
    let own = Certificate { not_after_s: 10_000_000, provided: false };
    let none = judged(&seen(0, 2), own.clone(), 1);
    let available = conditions::find(&none.conditions, "Available").unwrap();
    assert_eq!(available.status, State::False);
    assert!(available.message.contains("0 of 2") && available.message.contains("CrashLoop"));
    let some = judged(&seen(1, 2), own.clone(), 1);
    assert!(conditions::holds(&some.conditions, "Available"));
    assert!(conditions::holds(&some.conditions, "Degraded"));
    let all = judged(&seen(2, 2), own, 1);
    assert!(!conditions::holds(&all.conditions, "Reconciling"));
    let theirs = Certificate { not_after_s: 2_000_000, provided: true };
    let soon = judged(&seen(2, 2), theirs.clone(), 1_000_000);
    let ready = conditions::find(&soon.conditions, "CertificateReady").unwrap();
    assert_eq!((ready.status, ready.reason.as_str()), (State::True, "CertificateEndsSoon"));
    let over = judged(&seen(2, 2), theirs, 2_000_000);
    let ready = conditions::find(&over.conditions, "CertificateReady").unwrap();
    assert_eq!((ready.status, ready.reason.as_str()), (State::False, "CertificateExpired"));
}

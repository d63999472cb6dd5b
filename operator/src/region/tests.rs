use std::collections::BTreeMap;

use iris_crds::cluster::{AdoptedImages, Profile};
use iris_crds::common::Time;
use iris_crds::conditions::{self, State};
use iris_proto::control::{OwnerState, RegionState, SessionInfo, ShardPhase, ShardState};
use iris_runtime::config::Settings;
use serde_json::json;

use super::observe::{Seen, Workload};
use super::report::{Facts, report};
use super::restart::{OwnerPod, Turn};
use super::*;
use crate::cluster::tests::{built_in, cluster};

pub(crate) fn region() -> IrisRegion {
    let object = json!({
        "apiVersion": "iris.dev/v1alpha1",
        "kind": "IrisRegion",
        "metadata": {"name": "eu", "namespace": "iris", "uid": "u-2", "generation": 1},
        "spec": {
            "clusterRef": {"name": "chat"},
            "cassandraDatacenter": "dc1",
            "etcd": {"endpoints": ["https://etcd.iris:2379"], "tls": {"secretRef": {"name": "etcd-client-tls"}}},
            "owners": {"replicas": 3},
            "controlPlane": {"replicas": 2},
        },
    });
    serde_json::from_value(object).unwrap()
}

pub(crate) fn ready() -> ReadyCluster {
    let images = AdoptedImages {
        dataplane: "dataplane:1".to_owned(),
        control_plane: "controlplane:1".to_owned(),
        request: 0,
    };
    ReadyCluster { cluster: Arc::new(cluster()), images }
}

fn with<T>(
    region: &IrisRegion,
    ready: &ReadyCluster,
    build: impl Fn(build::Builder<'_>) -> T,
) -> T {
    let (owner, built_in) = (Owner::of(region), built_in());
    build(build::Builder { ready, region, owner: &owner, built_in: &built_in })
}

#[test]
fn kubernetes_never_restarts_owners_and_they_come_up_together() {
    let (set, waiting) = with(&region(), &ready(), |b| b.owners(None).unwrap());
    assert_eq!(waiting, None);
    let spec = set.spec.unwrap();
    assert_eq!(spec.update_strategy.unwrap().type_.as_deref(), Some("OnDelete"));
    assert_eq!(spec.pod_management_policy.as_deref(), Some("Parallel"));
    assert_eq!((spec.replicas, spec.service_name.as_deref()), (Some(3), Some("eu-owner")));
    let pod = spec.template.spec.unwrap();
    assert_eq!(pod.containers[0].args.as_deref(), Some(&["owner".to_owned()][..]));
    assert_eq!(pod.service_account_name.as_deref(), Some("eu-owner"));
    let volumes: Vec<_> = pod.volumes.unwrap().into_iter().map(|volume| volume.name).collect();
    assert_eq!(
        volumes,
        ["config", "trust", "issuer-token", "identity", "cassandra", "etcd-tls", "jwt"]
    );
}

#[test]
fn the_control_plane_signs_no_tokens_and_never_has_fewer_pods() {
    let (deployment, _) = with(&region(), &ready(), |b| b.control_plane(None).unwrap());
    let spec = deployment.spec.unwrap();
    let strategy = spec.strategy.unwrap().rolling_update.unwrap();
    assert_eq!(
        strategy.max_unavailable,
        Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(0))
    );
    let volumes = spec.template.spec.unwrap().volumes.unwrap();
    assert!(volumes.iter().all(|volume| volume.name != "jwt"));
}

#[test]
fn a_pod_reads_the_settings_that_people_gave() {
    let map = with(&region(), &ready(), |b| b.config().unwrap());
    let text = &map.data.unwrap()["config.json"];
    let told: Settings = serde_json::from_str(text).unwrap();
    assert_eq!((told.shard_count, told.owners, told.cluster.as_str()), (64, 3, "chat"));
    assert_eq!(told.control_plane, "eu-controlplane.iris.svc:7444");
    assert_eq!(told.issuer, "iris-operator.iris-system.svc:7445");
    assert_eq!(told.etcd.prefix, "/iris/iris/chat/eu/");
    assert_eq!(told.etcd.tls_path.unwrap().to_str(), Some("/etc/iris/etcd-tls"));
    assert_eq!(told.cassandra.credentials_path.unwrap().to_str(), Some("/etc/iris/cassandra"));
    assert_eq!((told.cassandra.datacenter.as_str(), told.cassandra.tls_path), ("dc1", None));
}

#[test]
fn scaling_restarts_nobody_and_a_limit_does() {
    let template = |region: &IrisRegion, ready: &ReadyCluster| {
        let (set, _) = with(region, ready, |b| b.owners(None).unwrap());
        set.spec.unwrap().template
    };
    let before = template(&region(), &ready());
    let mut larger = region();
    larger.spec.owners.replicas = 5;
    assert_eq!(template(&larger, &ready()), before);
    let mut cluster = cluster();
    cluster.spec.limits.connections_per_edge = 1;
    let limited = ReadyCluster { cluster: Arc::new(cluster), ..ready() };
    assert_ne!(template(&region(), &limited), before);
}

#[test]
fn what_only_the_operator_changes_waits_and_says_what_it_is() {
    let (set, _) = with(&region(), &ready(), |b| b.owners(None).unwrap());
    let live = set.metadata.annotations.clone().unwrap();
    // A newer operator that serves elsewhere.
    let (region, ready, owner) = (region(), ready(), Owner::of(&region()));
    let moved = crate::context::BuiltIn { issuer: "elsewhere:7445".to_owned(), ..built_in() };
    let builder =
        build::Builder { ready: &ready, region: &region, owner: &owner, built_in: &moved };
    let (kept, waiting) = builder.owners(Some(&live)).unwrap();
    assert_eq!(kept.spec, set.spec);
    assert!(waiting.unwrap().contains("iris.dev/settings"));
    // People ask for it.
    let mut asked = cluster();
    asked.spec.update_policy.request = 1;
    let asked = ReadyCluster { cluster: Arc::new(asked), ..ready };
    let builder =
        build::Builder { ready: &asked, region: &region, owner: &owner, built_in: &moved };
    let (rolled, waiting) = builder.owners(Some(&live)).unwrap();
    assert!(rolled.spec != set.spec && waiting.is_none());
}

#[test]
fn production_refuses_single_replicas_in_words() {
    let mut cluster = cluster();
    cluster.spec.profile = Profile::Production;
    let production = ReadyCluster { cluster: Arc::new(cluster), ..ready() };
    assert!(validate(&production, &region()).is_ok());
    let mut single = region();
    single.spec.control_plane.replicas = 1;
    let refused = validate(&production, &single).unwrap_err();
    assert_eq!(refused.category(), "TooFewReplicas");
    assert!(refused.to_string().contains("spec.controlPlane.replicas is 1"), "{refused}");
    assert!(validate(&ready(), &single).is_ok(), "development accepts it");
    let mut many = region();
    many.spec.owners.replicas = 65;
    assert_eq!(validate(&ready(), &many).unwrap_err().category(), "MoreOwnersThanShards");
}

fn workload(ready: u32, wanted: u32) -> Workload {
    Workload { wanted, running: wanted, ready, updated: wanted }
}

fn seen(state: Result<RegionState, String>) -> Seen {
    Seen {
        control_plane: workload(2, 2),
        owners: workload(3, 3),
        troubles: Vec::new(),
        state,
        pods: BTreeMap::new(),
    }
}

fn described(serving: u32) -> RegionState {
    let shard = |shard| ShardState {
        shard,
        epoch: 1,
        pod: "eu-owner-0".to_owned(),
        phase: if shard < serving { ShardPhase::Serving } else { ShardPhase::Unclaimed }.into(),
        ..ShardState::default()
    };
    let owner = |n: u32| OwnerState {
        info: Some(SessionInfo { pod: format!("eu-owner-{n}"), ..SessionInfo::default() }),
        shards: 20,
        ..OwnerState::default()
    };
    RegionState {
        leader: "eu-controlplane-x".to_owned(),
        leader_term: 3,
        shard_count: 64,
        shards: (0..64).map(shard).collect(),
        owners: [10, 2, 0].map(owner).into(),
        edges: 2,
        ..RegionState::default()
    }
}

fn condition(seen: &Seen, cluster: &IrisCluster, kind: &str) -> (State, String, String) {
    let region = region();
    let facts = Facts { cluster, region: &region, seen, turn: &Turn::Nobody };
    let (status, _) = report(&facts, &Ok(Applied::default()), Time::from_unix(1));
    let found = conditions::find(&status.conditions, kind).unwrap().clone();
    (found.status, found.reason, found.message)
}

#[test]
fn a_region_is_available_when_every_shard_is_served() {
    let (state, reason, _) = condition(&seen(Ok(described(64))), &cluster(), "Available");
    assert_eq!((state, reason.as_str()), (State::True, "Serving"));
    let (state, reason, message) = condition(&seen(Ok(described(63))), &cluster(), "Available");
    assert_eq!((state, reason.as_str()), (State::False, "ShardsUnserved"));
    assert!(message.contains("63 of 64"), "{message}");
    let region = region();
    let seen = seen(Ok(described(64)));
    let cluster = cluster();
    let facts = Facts { cluster: &cluster, region: &region, seen: &seen, turn: &Turn::Nobody };
    let (status, settled) = report(&facts, &Ok(Applied::default()), Time::from_unix(1));
    assert!(settled);
    let names: Vec<_> = status.instances.iter().map(|instance| instance.name.as_str()).collect();
    assert_eq!(names, ["eu-owner-0", "eu-owner-2", "eu-owner-10"]);
    let summary = status.summary.unwrap();
    assert_eq!((summary.owners.as_str(), summary.serving.as_str()), ("3/3", "64/64"));
}

#[test]
fn a_region_whose_owners_restart_is_on_its_way_and_says_who_is_next() {
    let (cluster, region) = (cluster(), region());
    let mut seen = seen(Ok(described(64)));
    seen.pods.insert("eu-owner-0".to_owned(), OwnerPod::default());
    let turn = Turn::Waits("eu-owner-2 is not ready".to_owned());
    let facts = Facts { cluster: &cluster, region: &region, seen: &seen, turn: &turn };
    let (status, settled) = report(&facts, &Ok(Applied::default()), Time::from_unix(1));
    assert!(!settled, "it is looked at again soon");
    let told = |kind| conditions::find(&status.conditions, kind).unwrap().clone();
    let progressing = told("Progressing");
    assert_eq!(progressing.status, State::True);
    assert!(progressing.message.contains("eu-owner-2 is not ready"), "{}", progressing.message);
    assert_eq!(told("RequiresUpdate").status, State::False, "nobody has to do anything");
    let updated =
        |name: &str| status.instances.iter().find(|one| one.name == name).unwrap().updated;
    assert!(!updated("eu-owner-0") && updated("eu-owner-2"));
}

#[test]
fn silence_is_not_well_being() {
    let silent = seen(Err("the control plane of region eu does not answer".to_owned()));
    let (state, reason, _) = condition(&silent, &cluster(), "Available");
    assert_eq!((state, reason.as_str()), (State::Unknown, "ControlPlaneSilent"));
    assert_eq!(condition(&silent, &cluster(), "StoreFit").0, State::Unknown);
    let mut nothing = seen(Err("no control plane pod exists yet".to_owned()));
    (nothing.control_plane, nothing.owners) = (workload(0, 2), workload(0, 3));
    nothing.troubles = vec!["eu-owner-0: ImagePullBackOff".to_owned()];
    let (state, reason, message) = condition(&nothing, &cluster(), "Available");
    assert_eq!((state, reason.as_str()), (State::False, "ControlPlaneNotReady"));
    assert!(message.contains("0/2") && message.contains("ImagePullBackOff"), "{message}");
}

#[test]
fn production_does_not_accept_a_store_that_loses_what_it_acknowledged() {
    let mut state = described(64);
    state.store_problems = vec!["commitlog_sync is periodic".to_owned()];
    let mut production = cluster();
    production.spec.profile = Profile::Production;
    let (available, reason, message) =
        condition(&seen(Ok(state.clone())), &production, "Available");
    assert_eq!((available, reason.as_str()), (State::False, "StoreUnfit"));
    assert!(message.contains("periodic"));
    assert_eq!(condition(&seen(Ok(state.clone())), &cluster(), "Available").0, State::True);
    let (degraded, _, message) = condition(&seen(Ok(state)), &cluster(), "Degraded");
    assert!(degraded == State::True && message.contains("periodic"), "{message}");
}

#[test]
fn a_look_that_finds_nothing_new_writes_nothing_new() {
    let (cluster, mut region) = (cluster(), region());
    let seen = seen(Ok(described(64)));
    let facts = Facts { cluster: &cluster, region: &region, seen: &seen, turn: &Turn::Nobody };
    let (first, _) = report(&facts, &Ok(Applied::default()), Time::from_unix(100));
    assert_eq!(first.described_at, Some(Time::from_unix(100)));
    region.status = Some(first.clone());
    let facts = Facts { cluster: &cluster, region: &region, seen: &seen, turn: &Turn::Nobody };
    let (second, _) = report(&facts, &Ok(Applied::default()), Time::from_unix(200));
    assert_eq!(second, first);
}

use iris_crds::common::Amount;

use super::*;

fn labels() -> Labels {
    Labels::of_region("chat", "eu", Some(iris_runtime::tls::Role::Owner))
}

fn build(resources: &Resources, overlay: &PodOverlay) -> Result<PodTemplateSpec, Error> {
    let (labels, images) = (labels(), Images::default());
    let mut mounts = Mount::for_identity("eu-config".to_owned(), "chat-trust".to_owned());
    mounts.push(Mount::secret("cassandra", "cassandra".to_owned(), CASSANDRA_PATH));
    template(&Plan {
        labels: &labels,
        service_account: "eu-owner".to_owned(),
        image: "dataplane:1".to_owned(),
        images: &images,
        args: vec!["owner".to_owned()],
        ports: vec![("peer", ports::PEER)],
        mounts,
        env: vec![],
        resources,
        fallback: Fallback { cpu: "100m", memory: "128Mi", memory_max: "1Gi" },
        overlay,
        grace_s: 300,
        linger_s: Some(5),
        settings: "digest".to_owned(),
    })
}

fn built() -> PodSpec {
    build(&Resources::default(), &PodOverlay::default()).unwrap().spec.unwrap()
}

#[test]
fn pods_meet_the_restricted_standard() {
    let spec = built();
    let pod = spec.security_context.clone().unwrap();
    assert_eq!((pod.run_as_non_root, pod.run_as_user), (Some(true), Some(65532)));
    assert_eq!(pod.seccomp_profile.unwrap().type_, "RuntimeDefault");
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert!(spec.host_network.is_none() && spec.host_pid.is_none());
    let container = spec.containers[0].security_context.clone().unwrap();
    assert_eq!(container.allow_privilege_escalation, Some(false));
    assert_eq!(container.read_only_root_filesystem, Some(true));
    assert_eq!(container.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
}

#[test]
fn files_are_where_the_runtime_looks_and_reach_pods_without_a_restart() {
    let spec = built();
    let mounts = spec.containers[0].volume_mounts.clone().unwrap();
    let at = |path: &str| mounts.iter().find(|mount| mount.mount_path == path).cloned();
    for directory in
        ["/etc/iris/config", "/etc/iris/trust", "/var/run/secrets/iris.dev/issuer", CASSANDRA_PATH]
    {
        assert_eq!(at(directory).unwrap().read_only, Some(true), "{directory}");
    }
    assert_eq!(at(IDENTITY_CACHE).unwrap().read_only, Some(false));
    assert!(mounts.iter().all(|mount| mount.sub_path.is_none()), "a subPath is never updated");
    let volumes = spec.volumes.unwrap();
    let token = volumes.iter().find_map(|volume| volume.projected.clone()).unwrap();
    let token = token.sources.unwrap()[0].service_account_token.clone().unwrap();
    assert_eq!((token.audience.as_deref(), token.path.as_str()), (Some("iris-issuer"), "token"));
    let memory = volumes.iter().find_map(|volume| volume.empty_dir.clone()).unwrap();
    assert_eq!(memory.medium.as_deref(), Some("Memory"));
}

#[test]
fn probes_ask_the_admin_port_over_https() {
    let container = built().containers.remove(0);
    for (probe, path) in [
        (container.startup_probe, "/livez"),
        (container.liveness_probe, "/livez"),
        (container.readiness_probe, "/readyz"),
    ] {
        let action = probe.unwrap().http_get.unwrap();
        assert_eq!(action.path.as_deref(), Some(path));
        assert_eq!(action.scheme.as_deref(), Some("HTTPS"));
        assert_eq!(action.port, IntOrString::Int(9443));
    }
    let names: Vec<_> = container.env.unwrap().into_iter().map(|variable| variable.name).collect();
    let wanted =
        ["IRIS_POD_NAME", "IRIS_POD_UID", "IRIS_POD_IP", "IRIS_NODE", "IRIS_ZONE", "IRIS_CORES"];
    assert_eq!(names, wanted);
}

#[test]
fn what_people_say_adds_and_does_not_replace() {
    let overlay = PodOverlay {
        labels: [
            ("team".to_owned(), "chat".to_owned()),
            ("iris.dev/role".to_owned(), "x".to_owned()),
        ]
        .into(),
        env: vec![iris_crds::common::EnvVar {
            name: "RUST_LOG".to_owned(),
            value: "debug".to_owned(),
        }],
        affinity: Some(serde_json::json!({"podAntiAffinity": {}})),
        ..PodOverlay::default()
    };
    let template = build(&Resources::default(), &overlay).unwrap();
    let labels = template.metadata.unwrap().labels.unwrap();
    assert_eq!((labels["team"].as_str(), labels["iris.dev/role"].as_str()), ("chat", "owner"));
    let env = template.spec.unwrap().containers[0].env.clone().unwrap();
    assert_eq!(env.last().unwrap().name, "RUST_LOG");
    let nonsense = PodOverlay {
        affinity: Some(serde_json::json!({"nodeAffinity": 3})),
        ..PodOverlay::default()
    };
    let refused = build(&Resources::default(), &nonsense).unwrap_err();
    assert_eq!(refused.category(), "InvalidTemplate");
}

#[test]
fn a_limit_of_peoples_is_never_below_a_request_of_ours() {
    let amount = |text: &str| Amount(text.to_owned());
    let small = Resources {
        limits: [("memory".to_owned(), amount("64Mi")), ("cpu".to_owned(), amount("50m"))].into(),
        ..Resources::default()
    };
    let spec = build(&small, &PodOverlay::default()).unwrap().spec.unwrap();
    let resources = spec.containers[0].resources.clone().unwrap();
    assert_eq!(resources.requests, None);
    let large = Resources {
        requests: [("memory".to_owned(), amount("8Gi"))].into(),
        ..Resources::default()
    };
    let spec = build(&large, &PodOverlay::default()).unwrap().spec.unwrap();
    let resources = spec.containers[0].resources.clone().unwrap();
    assert_eq!(resources.limits, None, "a fallback limit below the request would be refused");
}

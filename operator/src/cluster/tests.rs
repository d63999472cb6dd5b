use serde_json::json;

use super::*;

pub(crate) fn cluster() -> IrisCluster {
    let object = json!({
        "apiVersion": "iris.dev/v1alpha1",
        "kind": "IrisCluster",
        "metadata": {"name": "chat", "namespace": "iris", "uid": "u-1", "generation": 1},
        "spec": {
            "profile": "Development",
            "shardCount": 64,
            "cassandra": {
                "contactPoints": ["cassandra.iris:9042"],
                "keyspace": "iris",
                "credentialsSecretRef": {"name": "cassandra"},
            },
        },
    });
    serde_json::from_value(object).unwrap()
}

pub(crate) fn built_in() -> BuiltIn {
    BuiltIn {
        namespace: "iris-system".to_owned(),
        pod_label: ("app.kubernetes.io/name".to_owned(), "iris-operator".to_owned()),
        issuer: "iris-operator.iris-system.svc:7445".to_owned(),
        dataplane: "dataplane:1".to_owned(),
        control_plane: "controlplane:1".to_owned(),
    }
}

#[test]
fn the_secrets_that_pods_mount_are_asked_for() {
    let needs = needs(&cluster());
    assert_eq!(needs.len(), 1);
    assert_eq!(
        (needs[0].name.as_str(), needs[0].keys),
        ("cassandra", &["username", "password"][..])
    );
}

#[test]
fn a_newer_operator_does_not_bring_newer_images_unasked() {
    let mut cluster = cluster();
    let first = adopt(&cluster, &built_in());
    assert_eq!(
        (first.dataplane.as_str(), first.control_plane.as_str()),
        ("dataplane:1", "controlplane:1")
    );
    cluster.status =
        Some(iris_crds::IrisClusterStatus { images: Some(first.clone()), ..Default::default() });
    let newer = BuiltIn { dataplane: "dataplane:2".to_owned(), ..built_in() };
    let kept = adopt(&cluster, &newer);
    assert_eq!(kept, first);
    let waiting = waiting_images(&cluster, &kept, &newer);
    assert_eq!(waiting, ["the data plane's image: dataplane:1 -> dataplane:2"]);
    // Let through once.
    cluster.spec.update_policy.request = 1;
    let taken = adopt(&cluster, &newer);
    assert_eq!((taken.dataplane.as_str(), taken.request), ("dataplane:2", 1));
    assert!(waiting_images(&cluster, &taken, &newer).is_empty());
}

#[test]
fn an_image_that_people_name_is_used_and_nothing_waits_for_it() {
    let mut cluster = cluster();
    cluster.spec.images.dataplane = Some("mine:3".to_owned());
    let used = adopt(&cluster, &built_in());
    assert_eq!(used.dataplane, "mine:3");
    assert!(waiting_images(&cluster, &used, &built_in()).is_empty());
}

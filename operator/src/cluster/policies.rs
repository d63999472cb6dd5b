//! Who may connect to whom: nobody, but for what the architecture needs. The policies select pods of
//! this cluster only; what else lives in the namespace is not touched.

use std::collections::BTreeSet;

use iris_crds::IrisCluster;
use iris_runtime::config::ports;
use iris_runtime::tls::Role;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::Found;
use crate::apply::Owner;
use crate::context::{BuiltIn, Context};
use crate::error::Error;
use crate::names::{CLUSTER_LABEL, Labels, ROLE_LABEL, SCHEMA_ROLE};

const DNS: u16 = 53;

/// Applies the policies, or removes them where people have others.
pub(super) async fn keep(
    context: &Context,
    cluster: &IrisCluster,
    found: &Found,
    owner: &Owner,
    labels: &Labels,
) -> Result<(), Error> {
    let backends = Backends::of(cluster, found);
    for policy in build(cluster, &backends, owner, labels, &context.built_in) {
        if cluster.spec.network_policies.enabled {
            context.applier.apply(owner, &policy).await?;
        } else {
            context.applier.remove::<NetworkPolicy>(owner, &policy.name_any()).await?;
        }
    }
    Ok(())
}

/// The ports of what is outside of Iris. Its addresses are not known: they may be anywhere.
#[derive(Debug, Default)]
struct Backends {
    cassandra: BTreeSet<u16>,
    etcd: BTreeSet<u16>,
}

impl Backends {
    fn of(cluster: &IrisCluster, found: &Found) -> Self {
        let contact_points = cluster.spec.cassandra.contact_points.iter();
        let endpoints = found.regions.iter().flat_map(|region| &region.spec.etcd.endpoints);
        Self {
            cassandra: contact_points.filter_map(|point| port_of(point)).collect(),
            etcd: endpoints.filter_map(|url| port_of(url.trim_end_matches('/'))).collect(),
        }
    }
}

fn port_of(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

fn build(
    cluster: &IrisCluster,
    backends: &Backends,
    owner: &Owner,
    labels: &Labels,
    built_in: &BuiltIn,
) -> Vec<NetworkPolicy> {
    let name = cluster.name_any();
    let policy = |suffix: &str, role: Option<&str>, spec: Rules| NetworkPolicy {
        metadata: owner.part(format!("{name}-{suffix}"), labels),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods(&name, role)),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(spec.ingress),
            egress: Some(spec.egress),
        }),
    };
    let peer = |role: Role| within(&name, role.as_str());
    let operator = operator(built_in);
    let metrics = &cluster.spec.network_policies.metrics_from_namespaces;
    let readers = metrics.iter().map(|namespace| namespace_peer(namespace));
    let readers: Vec<_> = readers.chain([operator.clone()]).collect();
    let admin = from(readers, &[ports::ADMIN]);
    let issuer = to(vec![operator.clone()], &[ports::ISSUER]);
    let (owners, control) = (peer(Role::Owner), peer(Role::ControlPlane));
    let mut policies = vec![
        policy("default", None, Rules { ingress: vec![], egress: vec![dns()] }),
        policy(
            Role::Owner.as_str(),
            Some(Role::Owner.as_str()),
            Rules {
                ingress: vec![
                    from(vec![owners.clone(), peer(Role::Edge), control.clone()], &[ports::PEER]),
                    admin.clone(),
                ],
                egress: vec![
                    to(vec![owners.clone()], &[ports::PEER]),
                    to(vec![control.clone()], &[ports::CONTROL]),
                    issuer.clone(),
                    outside(backends.cassandra.iter().chain(&backends.etcd)),
                ],
            },
        ),
        policy(
            Role::Edge.as_str(),
            Some(Role::Edge.as_str()),
            Rules {
                ingress: vec![from(vec![], &[ports::CLIENT]), admin.clone()],
                egress: vec![
                    to(vec![owners.clone()], &[ports::PEER]),
                    to(vec![control.clone()], &[ports::CONTROL]),
                    issuer.clone(),
                ],
            },
        ),
        policy(
            Role::ControlPlane.as_str(),
            Some(Role::ControlPlane.as_str()),
            Rules {
                ingress: vec![
                    from(
                        vec![owners.clone(), peer(Role::Edge), control.clone(), operator],
                        &[ports::CONTROL],
                    ),
                    admin,
                ],
                egress: vec![
                    to(vec![owners], &[ports::PEER]),
                    to(vec![control], &[ports::CONTROL]),
                    issuer,
                    outside(backends.cassandra.iter().chain(&backends.etcd)),
                ],
            },
        ),
    ];
    let schema = Rules { ingress: vec![], egress: vec![outside(backends.cassandra.iter())] };
    policies.push(policy(SCHEMA_ROLE, Some(SCHEMA_ROLE), schema));
    policies
}

struct Rules {
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
}

fn pods(cluster: &str, role: Option<&str>) -> LabelSelector {
    let labels = [(CLUSTER_LABEL, Some(cluster)), (ROLE_LABEL, role)];
    let labels =
        labels.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
    LabelSelector { match_labels: Some(labels.collect()), match_expressions: None }
}

fn within(cluster: &str, role: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(pods(cluster, Some(role))),
        ..NetworkPolicyPeer::default()
    }
}

fn namespace_selector(namespace: &str) -> LabelSelector {
    let label = ("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
    LabelSelector { match_labels: Some([label].into()), match_expressions: None }
}

fn namespace_peer(namespace: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(namespace_selector(namespace)),
        ..NetworkPolicyPeer::default()
    }
}

fn operator(built_in: &BuiltIn) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(namespace_selector(&built_in.namespace)),
        pod_selector: Some(LabelSelector {
            match_labels: Some([built_in.pod_label.clone()].into()),
            match_expressions: None,
        }),
        ip_block: None,
    }
}

fn from(peers: Vec<NetworkPolicyPeer>, numbers: &[u16]) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: Some(peers).filter(|peers| !peers.is_empty()),
        ports: Some(numbers.iter().map(|number| port(*number, "TCP")).collect()),
    }
}

fn to(peers: Vec<NetworkPolicyPeer>, numbers: &[u16]) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(peers),
        ports: Some(numbers.iter().map(|number| port(*number, "TCP")).collect()),
    }
}

fn outside<'a>(numbers: impl Iterator<Item = &'a u16>) -> NetworkPolicyEgressRule {
    let ports = numbers.map(|number| port(*number, "TCP")).collect();
    NetworkPolicyEgressRule { to: None, ports: Some(ports) }
}

fn dns() -> NetworkPolicyEgressRule {
    let ports = vec![port(DNS, "UDP"), port(DNS, "TCP")];
    NetworkPolicyEgressRule { to: None, ports: Some(ports) }
}

fn port(number: u16, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{built_in, cluster};
    use super::*;

    fn policies() -> Vec<NetworkPolicy> {
        let cluster = cluster();
        let backends = Backends { cassandra: [9042].into(), etcd: [2379].into() };
        let owner = Owner::of(&cluster);
        build(&cluster, &backends, &owner, &Labels::of_cluster("chat"), &built_in())
    }

    fn of(role: &str) -> NetworkPolicySpec {
        let name = format!("chat-{role}");
        let found = policies().into_iter().find(|policy| policy.name_any() == name);
        found.unwrap().spec.unwrap()
    }

    fn numbers(ports: Option<Vec<NetworkPolicyPort>>) -> Vec<i32> {
        let ports = ports.unwrap_or_default().into_iter();
        ports
            .map(|port| match port.port {
                Some(IntOrString::Int(number)) => number,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn every_policy_denies_what_it_does_not_name() {
        for policy in policies() {
            let spec = policy.spec.unwrap();
            assert_eq!(spec.policy_types.unwrap(), ["Ingress", "Egress"]);
            let labels = spec.pod_selector.unwrap().match_labels.unwrap();
            assert_eq!(
                labels[CLUSTER_LABEL], "chat",
                "other pods of the namespace are not selected"
            );
            for rule in spec.egress.unwrap() {
                assert!(
                    !rule.ports.unwrap_or_default().is_empty(),
                    "a rule without ports allows all"
                );
            }
        }
        assert!(of("default").ingress.unwrap().is_empty());
    }

    #[test]
    fn only_edges_are_open_to_everybody_and_they_reach_no_database() {
        let open = |role| {
            let ingress = of(role).ingress.unwrap().into_iter();
            ingress
                .filter(|rule| rule.from.is_none())
                .flat_map(|rule| numbers(rule.ports))
                .collect::<Vec<_>>()
        };
        assert_eq!(open("edge"), [8443]);
        for role in ["owner", "controlplane", "schema"] {
            assert!(open(role).is_empty(), "{role}");
        }
        let reached: Vec<_> =
            of("edge").egress.unwrap().into_iter().flat_map(|rule| numbers(rule.ports)).collect();
        assert_eq!(reached, [7443, 7444, 7445]);
        let schema: Vec<_> =
            of("schema").egress.unwrap().into_iter().flat_map(|rule| numbers(rule.ports)).collect();
        assert_eq!(schema, [9042]);
    }

    #[test]
    fn ports_come_from_what_people_wrote() {
        assert_eq!(port_of("cassandra.iris:9042"), Some(9042));
        assert_eq!(port_of("https://etcd.iris:2379"), Some(2379));
        assert_eq!(port_of("[2001:db8::1]:9142"), Some(9142));
        assert_eq!(port_of("nowhere"), None);
    }
}

//! `IrisEdgePool`: the edges that clients of a region connect to.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{
    LocalRef, NAME_MESSAGE, NAME_RULE, PodOverlay, Resources, Time, condition_list, rules,
};
use crate::conditions::Condition;

/// The edges that clients of a region connect to.
#[derive(CustomResource, Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "iris.dev",
    version = "v1alpha1",
    kind = "IrisEdgePool",
    plural = "irisedgepools",
    singular = "irisedgepool",
    shortname = "irep",
    category = "iris",
    namespaced,
    status = "IrisEdgePoolStatus",
    derive = "PartialEq",
    doc = "The edges that clients of a region connect to, and the Service in front of them.",
    validation = Rule::new(NAME_RULE).message(NAME_MESSAGE),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    selectable = ".spec.regionRef.name",
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.regionRef.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Conns", type_ = "integer", json_path = ".status.connections"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.address"),
    printcolumn(
        name = "Available", type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Available\")].status"
    ),
    printcolumn(
        name = "Stalled", type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Stalled\")].status"
    ),
    printcolumn(
        name = "Update", type_ = "string",
        json_path = ".status.conditions[?(@.type==\"RequiresUpdate\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Certificate", type_ = "date", priority = "1",
        description = "When the certificate that clients see ends",
        json_path = ".status.certificateNotAfter"
    ),
    printcolumn(
        name = "Why", type_ = "string", priority = "1",
        json_path = ".status.conditions[?(@.type==\"Available\")].message"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("!(has(self.replicas) && has(self.autoscale))",
     "say either replicas or autoscale: with autoscale the number follows the load"),
])))]
pub struct IrisEdgePoolSpec {
    /// The region whose shards clients are led to.
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self == oldSelf",
         "a pool stays with its region: make a new one instead"),
    ])))]
    pub region_ref: LocalRef,
    /// How many edges; 2 when neither this nor `autoscale` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub replicas: Option<u32>,
    /// Lets the number of edges follow their connections. The cluster needs a metrics adapter that
    /// serves the pod metric `iris_edge_connections`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<Autoscale>,
    /// Where clients connect.
    #[serde(default)]
    pub listener: Listener,
    /// The Service in front of the edges.
    #[serde(default)]
    pub service: EdgeService,
    /// How clients are sent to other edges when one ends.
    #[serde(default)]
    pub drain: Drain,
    /// What each edge asks for and may use.
    #[serde(default)]
    pub resources: Resources,
    /// Laid over the pods.
    #[serde(default)]
    pub template: PodOverlay,
    /// While true the operator changes nothing of this pool. What runs goes on running.
    #[serde(default)]
    pub paused: bool,
}

/// How the number of edges follows the load.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("self.min <= self.max",
     "autoscale.min must not exceed autoscale.max"),
])))]
pub struct Autoscale {
    /// At least so many.
    #[schemars(range(min = 1, max = 10_000))]
    pub min: u32,
    /// At most so many.
    #[schemars(range(min = 1, max = 10_000))]
    pub max: u32,
    /// Connections that each should have at the mean.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections_per_pod: u32,
}

/// Where clients connect.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Listener {
    /// The Service's port.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// A Secret with `tls.crt` and `tls.key`. Without one the operator makes a certificate, signed by
    /// a certificate authority of the cluster's that clients find in ConfigMap `<cluster>-client-ca`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_secret_ref: Option<LocalRef>,
    /// Host names and addresses that the operator's certificate is for, beside those of the Service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,
}

impl Default for Listener {
    fn default() -> Self {
        Self { port: 443, certificate_secret_ref: None, hostnames: Vec::new() }
    }
}

/// The Service in front of the edges.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("!has(self.nodePort) || self.type != 'ClusterIP'",
     "nodePort needs service.type NodePort or LoadBalancer"),
    ("!has(self.loadBalancerClass) || self.type == 'LoadBalancer'",
     "loadBalancerClass needs service.type LoadBalancer"),
])))]
pub struct EdgeService {
    /// `ClusterIP`, `NodePort` or `LoadBalancer`.
    #[serde(rename = "type")]
    pub kind: ServiceType,
    /// Annotations, such as those of a cloud's load balancers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
    /// Which implementation makes the load balancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// The port on every node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub node_port: Option<u16>,
    /// Whether connections may go to edges of other nodes (`Cluster`), or keep the client's address
    /// (`Local`).
    pub external_traffic_policy: TrafficPolicy,
}

/// How a Service is reached.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// From within the Kubernetes cluster.
    #[default]
    ClusterIP,
    /// By a port of every node.
    NodePort,
    /// By a load balancer.
    LoadBalancer,
}

/// Whether connections may go to edges of other nodes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// They may.
    #[default]
    Cluster,
    /// They keep the client's address and stay on the node.
    Local,
}

/// How clients are sent to other edges when one ends.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Drain {
    /// Connections that an edge that ends sends away in a second.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_second: u32,
    /// When it closes the rest.
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: u32,
}

impl Default for Drain {
    fn default() -> Self {
        Self { connections_per_second: 200, timeout_seconds: 120 }
    }
}

/// What the operator found.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct IrisEdgePoolStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Available, Progressing, Degraded, RequiresUpdate, CertificateReady, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition_list")]
    pub conditions: Vec<Condition>,
    /// Pods that exist.
    pub replicas: u32,
    /// Pods that are ready.
    pub ready_replicas: u32,
    /// Pods that run the template that is wanted now.
    pub updated_replicas: u32,
    /// The selector of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Ready of wanted, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Connections of clients, where the edges could be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// `host:port` that clients connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// When the certificate that clients see ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<Time>,
}

//! `IrisRegion`: a failure domain with its own control plane, owners, etcd and datacenter.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{
    LocalRef, NAME_MESSAGE, NAME_RULE, PodOverlay, Resources, Time, TlsRef, condition_list, rules,
};
use crate::conditions::Condition;

/// A failure domain of a cluster.
#[derive(CustomResource, Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "iris.dev",
    version = "v1alpha1",
    kind = "IrisRegion",
    plural = "irisregions",
    singular = "irisregion",
    shortname = "irr",
    category = "iris",
    namespaced,
    status = "IrisRegionStatus",
    derive = "PartialEq",
    doc = "A failure domain of a cluster: its own control plane and owners of shards, its own etcd, \
           and a datacenter of the database.",
    validation = Rule::new(NAME_RULE).message(NAME_MESSAGE),
    scale(
        spec_replicas_path = ".spec.owners.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    selectable = ".spec.clusterRef.name",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Owners", type_ = "string", json_path = ".status.summary.owners"),
    printcolumn(name = "Control", type_ = "string", json_path = ".status.summary.controlPlane"),
    printcolumn(
        name = "Serving", type_ = "string", description = "Shards that are served, of all",
        json_path = ".status.summary.serving"
    ),
    printcolumn(name = "Edges", type_ = "integer", json_path = ".status.edges"),
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
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader", priority = "1"),
    printcolumn(
        name = "Datacenter", type_ = "string", json_path = ".spec.cassandraDatacenter",
        priority = "1"
    ),
    printcolumn(
        name = "Why", type_ = "string", priority = "1",
        json_path = ".status.conditions[?(@.type==\"Available\")].message"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct IrisRegionSpec {
    /// The cluster that the region is of.
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self == oldSelf",
         "a region stays with its cluster: make a new one instead"),
    ])))]
    pub cluster_ref: LocalRef,
    /// The database's datacenter of this region.
    #[schemars(length(min = 1, max = 128))]
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self == oldSelf",
         "a region stays with its datacenter: its data is there"),
    ])))]
    pub cassandra_datacenter: String,
    /// The region's etcd.
    pub etcd: Etcd,
    /// Decides who owns what.
    #[serde(default)]
    pub control_plane: ControlPlane,
    /// Serve the shards.
    #[serde(default)]
    pub owners: Owners,
    /// Other regions of the cluster, by how they are reached. This version serves one region alone
    /// and says so while there are peers here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub peers: Vec<Peer>,
    /// While true the operator changes nothing of this region. What runs goes on running.
    #[serde(default)]
    pub paused: bool,
}

/// A region's etcd.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("!has(self.tls) || self.endpoints.all(e, e.startsWith('https://'))",
     "with etcd.tls every endpoint must begin with https://"),
])))]
pub struct Etcd {
    /// URLs of its members, or of a Service in front of them. Several regions may share an etcd: each
    /// keeps to keys of its own.
    // The bound is what lets an API server estimate the rule's cost.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 260)))]
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self.all(e, e.matches('^https?://[^/\\\\s]+:[0-9]{1,5}/?$'))",
         "each endpoint must be a URL with a port, for example https://etcd.data.svc:2379"),
    ])))]
    pub endpoints: Vec<String>,
    /// TLS to etcd; its Secret needs `ca.crt`, `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsRef>,
}

/// The region's control plane.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ControlPlane {
    /// How many; one of them leads.
    #[schemars(range(min = 1, max = 5))]
    pub replicas: u32,
    /// What each asks for and may use.
    pub resources: Resources,
    /// Laid over its pods.
    pub template: PodOverlay,
}

impl Default for ControlPlane {
    fn default() -> Self {
        Self { replicas: 2, resources: Resources::default(), template: PodOverlay::default() }
    }
}

/// The region's owners.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Owners {
    /// How many serve the shards.
    #[schemars(range(min = 1, max = 512))]
    pub replicas: u32,
    /// What each asks for and may use.
    pub resources: Resources,
    /// How long an owner that ends may take to hand its shards to others.
    #[schemars(range(min = 10, max = 3600))]
    pub grace_seconds: u32,
    /// Laid over their pods.
    pub template: PodOverlay,
}

impl Default for Owners {
    fn default() -> Self {
        Self {
            replicas: 3,
            resources: Resources::default(),
            grace_seconds: 300,
            template: PodOverlay::default(),
        }
    }
}

/// Another region.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its name.
    #[schemars(length(min = 1, max = 40))]
    pub region: String,
    /// `host:port` of its peer endpoint.
    #[schemars(length(min = 3, max = 260))]
    pub endpoint: String,
}

/// What the operator found.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct IrisRegionStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Available, Progressing, Degraded, RequiresUpdate, StoreFit, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition_list")]
    pub conditions: Vec<Condition>,
    /// Owner pods that exist.
    pub replicas: u32,
    /// Owner pods that are ready.
    pub ready_replicas: u32,
    /// The selector of owner pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Counts for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<RegionSummary>,
    /// The control plane's leader, by its own account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// The leader's term.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_term: Option<u64>,
    /// When the control plane last answered. It is refreshed with other changes, not by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub described_at: Option<Time>,
    /// Edges that follow the map.
    pub edges: u32,
    /// Shards by what they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<ShardCounts>,
    /// The owners, one by one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub instances: Vec<Instance>,
    /// The database's version, as the control plane reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_version: Option<String>,
}

/// Counts for people, as `ready/wanted`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct RegionSummary {
    /// Owners.
    pub owners: String,
    /// Control plane pods.
    pub control_plane: String,
    /// Shards that are served.
    pub serving: String,
}

/// Shards by what they do.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ShardCounts {
    /// All of them.
    pub total: u32,
    /// Served.
    pub serving: u32,
    /// Released by one owner and not yet claimed by the next.
    pub released: u32,
    /// On the move.
    pub moving: u32,
    /// Taken over from an owner that died.
    pub takeover: u32,
    /// Never claimed.
    pub unclaimed: u32,
    /// With trouble; the shard map says which.
    pub troubled: u32,
}

/// An owner.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// The pod.
    pub name: String,
    /// What it does: `Serving`, `Idle` (no shards), `Cordoned`, `Silent` (the control plane does not
    /// hear it), `TakenOver` (its shards went to others), `Absent` (the control plane does not know it).
    pub state: String,
    /// Shards that it serves.
    pub shards: u32,
    /// The node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The node's zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether it runs the template that is wanted now.
    pub updated: bool,
}

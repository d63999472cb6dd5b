//! `IrisCluster`: what all regions of one messaging platform share.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{LocalRef, NAME_MESSAGE, NAME_RULE, Time, TlsRef, condition_list, rules};
use crate::conditions::Condition;

/// What all regions of one messaging platform share: its shards, its database, its keys, and the
/// images that run.
#[derive(CustomResource, Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "iris.dev",
    version = "v1alpha1",
    kind = "IrisCluster",
    plural = "irisclusters",
    singular = "iriscluster",
    shortname = "iris",
    category = "iris",
    namespaced,
    status = "IrisClusterStatus",
    derive = "PartialEq",
    doc = "A messaging platform: its shards, its database, its keys, and the images that run. \
           Regions, edge pools and shard maps of the same namespace refer to it.",
    validation = Rule::new(NAME_RULE).message(NAME_MESSAGE),
    printcolumn(name = "Shards", type_ = "integer", json_path = ".spec.shardCount"),
    printcolumn(name = "Regions", type_ = "string", json_path = ".status.summary.regions"),
    printcolumn(name = "Owners", type_ = "string", json_path = ".status.summary.owners"),
    printcolumn(name = "Edges", type_ = "string", json_path = ".status.summary.edges"),
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
        description = "Whether an update waits to be let through; see spec.updatePolicy",
        json_path = ".status.conditions[?(@.type==\"RequiresUpdate\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Profile", type_ = "string", json_path = ".spec.profile", priority = "1"),
    printcolumn(
        name = "Why", type_ = "string", priority = "1",
        json_path = ".status.conditions[?(@.type==\"Available\")].message"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct IrisClusterSpec {
    /// How many shards accounts are spread over: a power of two from 1 to 65536. It is fixed when the
    /// cluster is created, because every account's shard follows from it.
    #[schemars(range(min = 1, max = 65536))]
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self in [1,2,4,8,16,32,64,128,256,512,1024,2048,4096,8192,16384,32768,65536]",
         "shardCount must be a power of two from 1 to 65536"),
        ("self == oldSelf",
         "shardCount is fixed when the cluster is created: every account's shard follows from it. \
                Shards move between owners with IrisShardMigration; a different count needs a new cluster"),
    ])))]
    pub shard_count: u32,
    /// What the cluster is for. `Production` refuses what cannot keep its promises: fewer than three
    /// copies of the data, a commit log that acknowledges before it is on disk, single replicas.
    /// `Development` accepts them and says so.
    #[serde(default)]
    pub profile: Profile,
    /// The database that holds everything durable.
    pub cassandra: Cassandra,
    /// What an acknowledgement promises. It is fixed when the cluster is created.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self == oldSelf",
         "ackPolicy is fixed when the cluster is created: what was acknowledged under one policy cannot be promised under another"),
    ])))]
    pub ack_policy: AckPolicy,
    /// The certificates of the pods.
    #[serde(default)]
    pub tls: Tls,
    /// The keys that sign the tokens of accounts.
    #[serde(default)]
    pub auth: Auth,
    /// How long messages are kept.
    #[serde(default)]
    pub retention: Retention,
    /// Bounds of each edge, and of who sends.
    #[serde(default)]
    pub limits: Limits,
    /// What runs.
    #[serde(default)]
    pub images: Images,
    /// What may restart pods.
    #[serde(default)]
    pub update_policy: UpdatePolicy,
    /// Who may connect to the pods.
    #[serde(default)]
    pub network_policies: NetworkPolicies,
    /// While true the operator changes nothing of this cluster and of all that refers to it. What
    /// runs goes on running, and moves that have begun end by themselves.
    #[serde(default)]
    pub paused: bool,
}

/// What a cluster is for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Refuses what cannot keep its promises.
    #[default]
    Production,
    /// Accepts single replicas and says so.
    Development,
}

/// What an acknowledgement promises.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckPolicy {
    /// A quorum of the home region's replicas has it.
    #[default]
    HomeRegion,
    /// A quorum of all replicas of three regions has it.
    MajorityOfRegions,
    /// A quorum of every region's replicas has it.
    AllRegions,
}

/// The database.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Cassandra {
    /// `host:port` of some nodes; the rest is found through them.
    // The bound is what lets an API server estimate the rule's cost.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 260)))]
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self.all(p, p.matches('^(\\\\[[0-9a-fA-F:]+\\\\]|[^:/\\\\s]+):[0-9]{1,5}$'))",
         "each contact point must be host:port, for example cassandra.data.svc:9042"),
    ])))]
    pub contact_points: Vec<String>,
    /// The keyspace. The operator's schema job makes it.
    #[serde(default = "default_keyspace")]
    #[schemars(regex(pattern = "^[a-z][a-z0-9_]{0,47}$"))]
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self == oldSelf",
         "keyspace is fixed when the cluster is created: another keyspace is another platform"),
    ])))]
    pub keyspace: String,
    /// A Secret with `username` and `password`; none for a database without authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalRef>,
    /// TLS to the database; none for plain connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsRef>,
}

/// The certificates of the pods. Durations are whole seconds.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("self.rotateAfterSeconds + self.settleSeconds + self.leafSeconds < self.caSeconds",
     "caSeconds must be longer than rotateAfterSeconds + settleSeconds + leafSeconds: otherwise the certificate authority would end before its successor has taken over"),
])))]
pub struct Tls {
    /// How long a pod's certificate is valid. Pods renew theirs after two thirds of it.
    #[schemars(range(min = 60, max = 2_592_000))]
    pub leaf_seconds: u32,
    /// How long the cluster's certificate authority is valid.
    #[schemars(range(min = 120, max = 630_720_000))]
    pub ca_seconds: u32,
    /// When the certificate authority is replaced, counted from its creation.
    #[schemars(range(min = 10, max = 630_720_000))]
    pub rotate_after_seconds: u32,
    /// How long a new certificate authority, or a new certificate for clients, is only trusted before
    /// it is used: until every pod has seen it.
    #[schemars(range(min = 1, max = 86_400))]
    pub settle_seconds: u32,
    /// How long certificates for clients are valid that the operator makes for edge pools without one.
    #[schemars(range(min = 60, max = 31_536_000))]
    pub client_leaf_seconds: u32,
    /// Raise this number to replace the certificate authority now.
    #[schemars(range(min = 0, max = 1_000_000))]
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self >= oldSelf",
         "rotation can only be raised"),
    ])))]
    pub rotation: u32,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            leaf_seconds: 86_400,
            ca_seconds: 315_360_000,
            rotate_after_seconds: 157_680_000,
            settle_seconds: 300,
            client_leaf_seconds: 7_776_000,
            rotation: 0,
        }
    }
}

/// The keys that sign the tokens of accounts. Durations are whole seconds.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Auth {
    /// `iss` of every token; by default `https://iris.dev/<namespace>/<cluster>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub token_issuer: Option<String>,
    /// When the signing key is replaced, counted from when it began to sign.
    #[schemars(range(min = 10, max = 315_360_000))]
    pub rotate_after_seconds: u32,
    /// How long a new key is only published before it signs: until every pod has seen it.
    #[schemars(range(min = 1, max = 86_400))]
    pub settle_seconds: u32,
    /// How long a key that no longer signs is still published: the longest life of a token.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub retire_after_seconds: u32,
    /// Raise this number to replace the signing key now.
    #[schemars(range(min = 0, max = 1_000_000))]
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self >= oldSelf",
         "rotation can only be raised"),
    ])))]
    pub rotation: u32,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            token_issuer: None,
            rotate_after_seconds: 7_776_000,
            settle_seconds: 300,
            retire_after_seconds: 2_592_000,
            rotation: 0,
        }
    }
}

/// How long messages are kept.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Retention {
    /// Days that a message waits for a device that does not come.
    #[schemars(range(min = 1, max = 3650))]
    pub undelivered_days: u32,
    /// Days that a message stays after every device has it; 0 keeps none.
    #[schemars(range(min = 0, max = 3650))]
    pub history_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { undelivered_days: 30, history_days: 30 }
    }
}

/// Bounds of each edge, and of who sends.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// TLS handshakes that an edge admits in a second.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub handshakes_per_second: u32,
    /// Connections that an edge serves.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections_per_edge: u32,
    /// Accounts that may be registered in a second, by edge.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub registrations_per_second: u32,
    /// Messages that a device may send in a second, over time; its account twice as many. Whoever was
    /// silent may be four seconds ahead.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub sends_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes_per_second: 2_000,
            connections_per_edge: 18_000,
            registrations_per_second: 50,
            sends_per_second: 500,
        }
    }
}

/// What runs. An image that is not named here is the one that the operator came with when the cluster
/// was created; see `updatePolicy` for when a newer one is taken.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Images {
    /// The image of owners, edges and the schema job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub dataplane: Option<String>,
    /// The image of the control plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub control_plane: Option<String>,
    /// `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: PullPolicy,
    /// Secrets for a registry that asks for a password.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub pull_secrets: Vec<LocalRef>,
}

/// When images are pulled.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// Unless the node has it.
    #[default]
    IfNotPresent,
    /// Never: the node must have it.
    Never,
}

/// What may restart pods. What people change in a spec is rolled out; what only an upgrade of the
/// operator would change waits, and `RequiresUpdate` says what it is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdatePolicy {
    /// When changes that come from the operator alone are rolled out.
    pub operator_changes: OperatorChanges,
    /// Raise this number to roll out what waits now, once.
    #[schemars(range(min = 0, max = 1_000_000))]
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self >= oldSelf",
         "request can only be raised"),
    ])))]
    pub request: u32,
}

/// When changes that come from the operator alone are rolled out.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OperatorChanges {
    /// When somebody raises `updatePolicy.request`.
    #[default]
    OnRequest,
    /// At once.
    Always,
}

/// Who may connect to the pods. Nothing may but what the platform needs.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicies {
    /// Whether the operator makes NetworkPolicies for the pods of this cluster.
    pub enabled: bool,
    /// Namespaces whose pods may read metrics from the admin port.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub metrics_from_namespaces: Vec<String>,
}

impl Default for NetworkPolicies {
    fn default() -> Self {
        Self { enabled: true, metrics_from_namespaces: Vec::new() }
    }
}

/// What the operator found.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct IrisClusterStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Available, Progressing, Degraded, RequiresUpdate, SchemaApplied, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition_list")]
    pub conditions: Vec<Condition>,
    /// Counts for people: ready of wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// The images that pods of this cluster use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<AdoptedImages>,
    /// The schema in the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaStatus>,
    /// The certificate authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pki: Option<PkiStatus>,
    /// The keys of tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyStatus>,
}

/// Counts for people, as `ready/wanted`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// Regions.
    pub regions: String,
    /// Owners of all regions.
    pub owners: String,
    /// Edges of all pools.
    pub edges: String,
}

/// The images that pods of a cluster use.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AdoptedImages {
    /// Of owners, edges and the schema job.
    pub dataplane: String,
    /// Of the control plane.
    pub control_plane: String,
    /// `updatePolicy.request` when they were taken.
    #[serde(default)]
    pub request: u32,
}

/// The schema in the database.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct SchemaStatus {
    /// What was applied last: a digest of the image and of how the database is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
    /// What is wanted now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// Tries at what is wanted that failed.
    pub failures: u32,
    /// Why the last one failed, in the job's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// When the last one failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_at: Option<Time>,
}

/// The certificate authority.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PkiStatus {
    /// Where a rotation stands: `Stable`, `Published` (the next one is trusted but does not issue
    /// yet), `Switched` (it issues; the one before is still trusted).
    pub step: String,
    /// SHA-256 of the certificate that issues now.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: Time,
    /// How many certificates are trusted.
    pub trusted: u32,
    /// `tls.rotation` as it was last acted on.
    pub rotation: u32,
}

/// The keys of tokens.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KeyStatus {
    /// The id of the key that signs.
    pub signing: String,
    /// The ids of all keys that are published.
    pub published: Vec<String>,
    /// `auth.rotation` as it was last acted on.
    pub rotation: u32,
}

fn default_keyspace() -> String {
    "iris".to_owned()
}

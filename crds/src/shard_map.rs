//! `IrisShardMap`: which owner serves which shard, and what people want of that.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{LocalRef, NAME_MESSAGE, NAME_RULE, Time, condition_list, rules};
use crate::conditions::Condition;

/// Which owner of a region serves which shard.
#[derive(CustomResource, Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "iris.dev",
    version = "v1alpha1",
    kind = "IrisShardMap",
    plural = "irisshardmaps",
    singular = "irisshardmap",
    shortname = "irsm",
    category = "iris",
    namespaced,
    status = "IrisShardMapStatus",
    derive = "PartialEq",
    doc = "Which owner of a region serves which shard: what people want of it in the spec, and the \
           map as it is in the status. The map always covers every shard.",
    validation = Rule::new(NAME_RULE).message(NAME_MESSAGE),
    selectable = ".spec.regionRef.name",
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.regionRef.name"),
    printcolumn(name = "Serving", type_ = "string", json_path = ".status.summary"),
    printcolumn(
        name = "Covered", type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Covered\")].status"
    ),
    printcolumn(
        name = "Imbalance", type_ = "integer",
        description = "By how much the largest owner exceeds the mean, in percent",
        json_path = ".status.imbalancePercent"
    ),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.rebalance.mode"),
    printcolumn(
        name = "Proposed", type_ = "integer", description = "Moves that would even out the load",
        json_path = ".status.proposed"
    ),
    printcolumn(
        name = "Stalled", type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Stalled\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Why", type_ = "string", priority = "1",
        json_path = ".status.conditions[?(@.type==\"Covered\")].message"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct IrisShardMapSpec {
    /// The region whose map this is. A region has one map.
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self == oldSelf",
         "a map stays with its region: make a new one instead"),
    ])))]
    pub region_ref: LocalRef,
    /// What placement must keep to.
    #[serde(default)]
    pub placement: Placement,
    /// Whether shards that are served well may move for the sake of balance.
    #[serde(default)]
    pub rebalance: Rebalance,
}

/// What placement must keep to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Placement {
    /// Shards that must be with an owner.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub pins: Vec<Pin>,
    /// Owners (pods) that keep what they have and get nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512), inner(length(min = 1, max = 63)))]
    pub cordoned: Vec<String>,
}

/// Neighbouring shards that must be with an owner.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("self.first <= self.last",
     "a pin's first shard must not exceed its last"),
])))]
pub struct Pin {
    /// The lowest shard.
    #[schemars(range(min = 0, max = 65_535))]
    pub first: u32,
    /// The highest shard.
    #[schemars(range(min = 0, max = 65_535))]
    pub last: u32,
    /// The owner: a pod.
    #[schemars(length(min = 1, max = 63))]
    pub owner: String,
}

/// Whether shards that are served well may move for the sake of balance.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Rebalance {
    /// Whether to propose moves, or to make them.
    pub mode: Mode,
}

/// Whether to propose moves, or to make them.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Neither.
    Off,
    /// The status lists moves that would even out the load; people make them.
    #[default]
    Propose,
    /// Moves are made within the budgets. This version does not do that, and says so; it proposes.
    Auto,
}

/// What the operator found.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct IrisShardMapStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Covered, Placed, RebalanceServed, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition_list")]
    pub conditions: Vec<Condition>,
    /// Served of all, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// By how much the owner with the most shards exceeds the mean, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imbalance_percent: Option<u32>,
    /// The owners with what they serve.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub owners: Vec<OwnerShare>,
    /// The map: neighbouring shards of one owner and epoch together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub ranges: Vec<MapRange>,
    /// Whether `ranges` leaves out what would not fit; `owners` is complete.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Shards with trouble, at most 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub troubles: Vec<Trouble>,
    /// How many moves would even out the load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposed: Option<u32>,
    /// The first of them, at most 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub proposals: Vec<Proposal>,
    /// The generation of the spec that the control plane has taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placed_generation: Option<i64>,
    /// When the control plane last answered. It is refreshed with other changes, not by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub described_at: Option<Time>,
}

/// What an owner serves.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OwnerShare {
    /// The pod.
    pub owner: String,
    /// How many shards.
    pub count: u32,
    /// Which, as ranges: `0-20,22`.
    pub shards: String,
}

/// Neighbouring shards of one owner and epoch.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MapRange {
    /// The lowest shard.
    pub first: u32,
    /// The highest shard.
    pub last: u32,
    /// The pod; none while nobody serves them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Their epoch.
    pub epoch: u32,
    /// `Serving`, `Unclaimed`, `Released`, `Moving` or `Takeover`.
    pub phase: String,
}

/// What is wrong with a shard.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// Which shard.
    pub shard: u32,
    /// In its owner's words.
    pub message: String,
}

/// A move that would help to even out the load.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// Which shard.
    pub shard: u32,
    /// From which pod.
    pub from: String,
    /// The epoch that the move would start from.
    pub epoch: u32,
    /// To which pod.
    pub to: String,
}

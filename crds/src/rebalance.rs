//! `IrisRebalance`: a set of moves, planned together and approved together.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{LocalRef, NAME_MESSAGE, NAME_RULE, condition_list, rules};
use crate::conditions::Condition;
use crate::migration::Approval;

/// A set of moves.
#[derive(CustomResource, Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "iris.dev",
    version = "v1alpha1",
    kind = "IrisRebalance",
    plural = "irisrebalances",
    singular = "irisrebalance",
    shortname = "irrb",
    category = "iris",
    namespaced,
    status = "IrisRebalanceStatus",
    derive = "PartialEq",
    doc = "A set of moves, planned together and approved together: to empty an owner, to even out the \
           load, or as listed. This version keeps the object and says in its conditions that it does \
           not act on it; single shards move with IrisShardMigration.",
    validation = Rule::new(NAME_RULE).message(NAME_MESSAGE),
    selectable = ".spec.regionRef.name",
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.regionRef.name"),
    printcolumn(name = "Approval", type_ = "string", json_path = ".spec.approval.mode"),
    printcolumn(
        name = "Stalled", type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Stalled\")].status"
    ),
    printcolumn(
        name = "Why", type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Stalled\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("[has(self.drain), has(self.even) && self.even, has(self.moves)].filter(b, b).size() == 1",
     "say exactly one of drain, even: true, and moves"),
    ("has(self.drain) == has(oldSelf.drain) && (!has(self.drain) || self.drain == oldSelf.drain) && has(self.moves) == has(oldSelf.moves) && (!has(self.moves) || self.moves == oldSelf.moves)",
     "what was planned cannot be changed under way: make a new IrisRebalance"),
])))]
pub struct IrisRebalanceSpec {
    /// The region whose shards move.
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self == oldSelf",
         "regionRef cannot be changed: make a new IrisRebalance"),
    ])))]
    pub region_ref: LocalRef,
    /// Owners (pods) to empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)))]
    pub drain: Option<Vec<String>>,
    /// Whether to even out the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub even: Option<bool>,
    /// The moves themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub moves: Option<Vec<Move>>,
    /// Whether somebody must approve the plan.
    #[serde(default)]
    pub approval: Approval,
    /// Moves under way at once.
    #[serde(default = "default_concurrent")]
    #[schemars(range(min = 1, max = 64))]
    pub max_concurrent: u32,
    /// While true no further move begins.
    #[serde(default)]
    pub paused: bool,
}

/// One move.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// Which shard.
    #[schemars(range(min = 0, max = 65_535))]
    pub shard: u32,
    /// To which owner (pod).
    #[schemars(length(min = 1, max = 63))]
    pub to: String,
}

/// What the operator found.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct IrisRebalanceStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Succeeded, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition_list")]
    pub conditions: Vec<Condition>,
}

fn default_concurrent() -> u32 {
    4
}

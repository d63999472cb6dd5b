//! `IrisShardMigration`: the move of one shard from one owner to another, with its receipt.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{LocalRef, Time, condition_list, rules};
use crate::conditions::Condition;

/// The name is the move's id, and the reason why a move cannot be ordered twice. The numbers are read
/// from it, because an API server takes a text made from numbers for endless.
const ID_RULE: &str = "self.metadata.name\
    .matches('^m-(0|[1-9][0-9]{0,4})-e[1-9][0-9]{0,6}-[1-9][0-9]{0,5}$') \
    && int(self.metadata.name.split('-')[1]) == self.spec.shard \
    && int(self.metadata.name.split('-')[2].substring(1)) == self.spec.source.epoch";

/// The move of one shard.
#[derive(CustomResource, Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "iris.dev",
    version = "v1alpha1",
    kind = "IrisShardMigration",
    plural = "irisshardmigrations",
    singular = "irisshardmigration",
    shortname = "irm",
    category = "iris",
    namespaced,
    status = "IrisShardMigrationStatus",
    derive = "PartialEq",
    doc = "The move of one shard from one owner to another, with its receipt. While it goes on no \
           acknowledged message is lost, and writes to the shard pause for milliseconds. Deleting it \
           before the shard has moved aborts the move.",
    validation = Rule::new(ID_RULE)
        .message("the name must be m-<shard>-e<source.epoch>-<n> with n from 1: it is the id of the move, so that one order is never carried out twice"),
    validation = Rule::new("self.spec.outcome == oldSelf.spec.outcome || (oldSelf.spec.outcome == 'Complete') || (oldSelf.spec.outcome == 'Abort' && self.spec.outcome == 'Reverse')")
        .message("outcome goes forward only: from Complete to Abort or Reverse, and from Abort to Reverse"),
    validation = Rule::new("self.spec.outcome == oldSelf.spec.outcome || self.spec.outcome != 'Abort' || !has(oldSelf.status) || !has(oldSelf.status.committedEpoch)")
        .message("the shard has moved already: there is nothing to abort; outcome Reverse moves it back"),
    validation = Rule::new("self.spec.outcome == oldSelf.spec.outcome || self.spec.outcome != 'Reverse' || (has(oldSelf.status) && has(oldSelf.status.committedEpoch))")
        .message("the shard has not moved yet: there is nothing to reverse; outcome Abort stops the move"),
    validation = Rule::new("self.spec.outcome == oldSelf.spec.outcome || !has(oldSelf.status) || !has(oldSelf.status.result)")
        .message("the move has ended: its outcome cannot be changed; a move back is a new IrisShardMigration"),
    selectable = ".spec.clusterRef.name",
    selectable = ".spec.shard",
    selectable = ".spec.source.owner",
    selectable = ".spec.target.owner",
    printcolumn(name = "Shard", type_ = "integer", json_path = ".spec.shard"),
    printcolumn(name = "From", type_ = "string", json_path = ".spec.source.owner"),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.target.owner"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step"),
    printcolumn(
        name = "Epoch", type_ = "integer", description = "The epoch that the target claimed",
        json_path = ".status.committedEpoch"
    ),
    printcolumn(
        name = "Fence-ms", type_ = "integer", description = "How long writes paused",
        json_path = ".status.fence.millis"
    ),
    printcolumn(name = "Result", type_ = "string", json_path = ".status.result"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".spec.outcome", priority = "1"),
    printcolumn(
        name = "Approved", type_ = "string", priority = "1",
        json_path = ".status.conditions[?(@.type==\"Approved\")].status"
    ),
    printcolumn(name = "Term", type_ = "integer", json_path = ".status.operatorTerm", priority = "1"),
    printcolumn(
        name = "Why", type_ = "string", priority = "1",
        json_path = ".status.conditions[?(@.type==\"Succeeded\")].message"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("self.source.owner != self.target.owner || self.source.region != self.target.region",
     "source and target are the same owner"),
    ("self.source.region == self.target.region",
     "this version moves shards within a region: source.region and target.region must be the same"),
])))]
pub struct IrisShardMigrationSpec {
    /// The cluster.
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self == oldSelf",
         "clusterRef cannot be changed: make a new IrisShardMigration"),
    ])))]
    pub cluster_ref: LocalRef,
    /// The shard.
    #[schemars(range(min = 0, max = 65_535))]
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self == oldSelf",
         "shard cannot be changed: make a new IrisShardMigration"),
    ])))]
    pub shard: u32,
    /// Who serves the shard now. It is checked, not believed: a shard that has a new owner since is
    /// left alone.
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self == oldSelf",
         "source cannot be changed: make a new IrisShardMigration"),
    ])))]
    pub source: Source,
    /// Who shall serve it.
    #[schemars(extend("x-kubernetes-validations" = rules([
        ("self == oldSelf",
         "target cannot be changed: make a new IrisShardMigration"),
    ])))]
    pub target: Target,
    /// What shall become of the move.
    #[serde(default)]
    pub outcome: Outcome,
    /// While true no further step begins. What the data plane has begun ends by itself.
    #[serde(default)]
    pub paused: bool,
    /// Whether somebody must approve the plan.
    #[serde(default)]
    pub approval: Approval,
    /// How long writes to the shard may pause.
    #[serde(default)]
    pub fence: Fence,
    /// How the move is checked afterwards.
    #[serde(default)]
    pub verify: Verify,
    /// What happens before the move counts as done.
    #[serde(default)]
    pub soak: Soak,
    /// When the object is deleted after the move has ended; never, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<u32>,
}

/// Who serves the shard when the move begins.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The region.
    #[schemars(length(min = 1, max = 40))]
    pub region: String,
    /// The owner: a pod.
    #[schemars(length(min = 1, max = 63))]
    pub owner: String,
    /// The shard's epoch.
    #[schemars(range(min = 1, max = 1_048_575))]
    pub epoch: u32,
}

/// Who shall serve the shard.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The region.
    #[schemars(length(min = 1, max = 40))]
    pub region: String,
    /// The owner: a pod.
    #[schemars(length(min = 1, max = 63))]
    pub owner: String,
}

/// What shall become of a move.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The target serves the shard.
    #[default]
    Complete,
    /// The source goes on serving it. Possible until the target has claimed it.
    Abort,
    /// It goes back to the source, by the same steps. Possible from when the target has claimed it
    /// until the move has ended.
    Reverse,
}

/// Whether somebody must approve a plan.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Approval {
    /// Whether to wait.
    pub mode: ApprovalMode,
    /// The hash of the plan that may run, from `status.plan.hash`. Another plan is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(b3:[0-9a-f]{64})?$"))]
    pub plan_hash: Option<String>,
}

/// Whether to wait for an approval.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApprovalMode {
    /// The plan runs when it is made.
    #[default]
    Automatic,
    /// Exactly the plan with `planHash` runs.
    Manual,
}

/// How long writes to the shard may pause.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Fence {
    /// In milliseconds. A hand-off that takes longer is given up, and the source serves on.
    #[schemars(range(min = 50, max = 10_000))]
    pub max_millis: u32,
}

impl Default for Fence {
    fn default() -> Self {
        Self { max_millis: 2000 }
    }
}

/// How a move is checked afterwards.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("self.mode != 'Digest'",
     "verify.mode Digest is reserved: this version checks who serves the shard and at which epoch (mode Ownership)"),
])))]
pub struct Verify {
    /// What is compared.
    pub mode: VerifyMode,
}

/// What is compared after a move.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerifyMode {
    /// That the target serves the shard, at the epoch that it claimed.
    #[default]
    Ownership,
    /// That both sides hold the same. Reserved.
    Digest,
}

/// What happens before a move counts as done.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Soak {
    /// How long the move can still be reversed, after the target serves.
    #[schemars(range(min = 0, max = 86_400))]
    pub seconds: u32,
}

/// The journal of the move. The API server refuses to turn it back.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("!has(oldSelf.journalSeq) || (has(self.journalSeq) && self.journalSeq >= oldSelf.journalSeq)",
     "journalSeq never goes back: this was written from an old view of the move"),
    ("!has(oldSelf.operatorTerm) || (has(self.operatorTerm) && self.operatorTerm >= oldSelf.operatorTerm)",
     "operatorTerm never goes back: the writer no longer leads"),
    ("!has(oldSelf.committedEpoch) || (has(self.committedEpoch) && self.committedEpoch == oldSelf.committedEpoch)",
     "committedEpoch is set once: the target has claimed the shard"),
    ("!has(oldSelf.result) || (has(self.result) && self.result == oldSelf.result)",
     "result is set once: the move has ended"),
])))]
pub struct IrisShardMigrationStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Counts the transitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal_seq: Option<u64>,
    /// The term of the operator that wrote the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_term: Option<u64>,
    /// Where the move stands, for people; programs read the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// What will run, or ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// Whether the move was ordered from the control plane.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attempted: bool,
    /// The pause of writes, as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<FenceReceipt>,
    /// The epoch that the target claimed. Set once: past it there is no abort.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed_epoch: Option<u32>,
    /// Until when the move can be reversed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reversible_until: Option<Time>,
    /// How the move ended. Set once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultName>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// The last 20 transitions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub history: Vec<Transition>,
    /// Planned, Approved, Committed, Verified, Reversible, Paused, Succeeded, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition_list")]
    pub conditions: Vec<Condition>,
}

/// Where a move stands.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepName {
    /// Not planned yet.
    Pending,
    /// Planned; it may wait for an approval.
    Planned,
    /// Ordered; the target prepares.
    Preparing,
    /// The source lets go, the target claims.
    HandingOff,
    /// The target has claimed it; who serves is checked.
    Verifying,
    /// Done, and still reversible.
    Soaking,
    /// On the way back to as it was.
    Aborting,
    /// On the way back to the source.
    Reversing,
    /// Ended: the target serves.
    Succeeded,
    /// Ended: the source went on serving, as wanted.
    Aborted,
    /// Ended: the source serves again, as wanted.
    Reversed,
    /// Ended: not as wanted.
    Failed,
}

/// How a move ended.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultName {
    /// The target serves the shard.
    Succeeded,
    /// The source went on serving it.
    Aborted,
    /// The source serves it again.
    Reversed,
    /// Not what was wanted; the last transition says why.
    Failed,
}

/// What will run, or ran.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Plan {
    /// A digest of everything in the spec that decides what runs.
    pub hash: String,
    /// Accounts of the shard in memory: the mean of its owner's shards.
    pub accounts: u64,
    /// Clients of the shard that are connected: the mean of its owner's shards.
    pub connections: u64,
    /// Bytes to hand over; 0 where nobody counts them, as in this version.
    pub bytes: u64,
    /// How long writes will pause, in milliseconds: in nine of ten of the newest moves of the region's shards
    /// they did not pause longer. 0 while there was none.
    pub predicted_fence_millis: u32,
}

/// The pause of writes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct FenceReceipt {
    /// Its length in milliseconds.
    pub millis: u32,
    /// The source's last block with an entry of the shard.
    pub released_block: u64,
    /// Requests that were refused meanwhile, to be sent again.
    pub refused: u32,
}

/// One transition.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// Its number.
    pub seq: u64,
    /// To which step.
    pub step: StepName,
    /// Why, for programs.
    pub reason: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When.
    pub at: Time,
    /// By which term of the operator.
    pub term: u64,
}

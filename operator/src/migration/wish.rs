//! From the object to what `iris_core::migration` decides upon. Pure.

use iris_core::id::ShardId;
use iris_core::migration::{Approval, Ending, Journal, Order, Outcome, Step, Wish};
use iris_core::seq::Epoch;
use iris_crds::IrisShardMigration;
use iris_crds::migration::{self as crd, ApprovalMode, StepName};
use kube::ResourceExt;

use crate::error::Error;
use crate::names::MIGRATION_FINALIZER;

/// What people want of the move.
pub(super) fn wish_of(object: &IrisShardMigration) -> Result<Wish, Error> {
    let spec = &object.spec;
    let shard = u16::try_from(spec.shard).map_err(|_| {
        Error::blocked("InvalidShard", format!("spec.shard is {}: at most 65535", spec.shard))
    })?;
    let approval = match spec.approval.mode {
        ApprovalMode::Automatic => Approval::Automatic,
        ApprovalMode::Manual => {
            let hash = spec.approval.plan_hash.as_deref();
            Approval::Manual(hash.and_then(|hash| hash.parse().ok()))
        }
    };
    let deleted = object.metadata.deletion_timestamp.as_ref();
    Ok(Wish {
        order: Order {
            shard: ShardId::new(shard),
            region: spec.source.region.clone(),
            source: spec.source.owner.clone(),
            epoch: Epoch(spec.source.epoch),
            target: spec.target.owner.clone(),
            fence_ms_max: spec.fence.max_millis,
        },
        outcome: match spec.outcome {
            crd::Outcome::Complete => Outcome::Complete,
            crd::Outcome::Abort => Outcome::Abort,
            crd::Outcome::Reverse => Outcome::Reverse,
        },
        paused: spec.paused,
        approval,
        soak_s: spec.soak.seconds.into(),
        deleted_at_s: deleted.map(|time| u64::try_from(time.0.as_second()).unwrap_or_default()),
        held: object.finalizers().iter().any(|finalizer| finalizer == MIGRATION_FINALIZER),
    })
}

/// What was written down.
pub(super) fn journal_of(object: &IrisShardMigration) -> Journal {
    let Some(status) = &object.status else { return Journal::default() };
    Journal {
        seq: status.journal_seq.unwrap_or_default(),
        step: status.step.map_or(Step::Pending, step_of),
        plan: status.plan.as_ref().and_then(|plan| plan.hash.parse().ok()),
        committed: status.committed_epoch.map(Epoch),
        reversible_until_s: status.reversible_until.map(iris_crds::common::Time::unix),
    }
}

fn step_of(name: StepName) -> Step {
    match name {
        StepName::Pending => Step::Pending,
        StepName::Planned => Step::Planned,
        StepName::Preparing => Step::Preparing,
        StepName::HandingOff => Step::HandingOff,
        StepName::Verifying => Step::Verifying,
        StepName::Soaking => Step::Soaking,
        StepName::Aborting => Step::Aborting,
        StepName::Reversing => Step::Reversing,
        StepName::Succeeded => Step::Ended(Ending::Succeeded),
        StepName::Aborted => Step::Ended(Ending::Aborted),
        StepName::Reversed => Step::Ended(Ending::Reversed),
        StepName::Failed => Step::Ended(Ending::Failed),
    }
}

/// As it is written.
pub(super) fn name_of(step: Step) -> StepName {
    match step {
        Step::Pending => StepName::Pending,
        Step::Planned => StepName::Planned,
        Step::Preparing => StepName::Preparing,
        Step::HandingOff => StepName::HandingOff,
        Step::Verifying => StepName::Verifying,
        Step::Soaking => StepName::Soaking,
        Step::Aborting => StepName::Aborting,
        Step::Reversing => StepName::Reversing,
        Step::Ended(Ending::Succeeded) => StepName::Succeeded,
        Step::Ended(Ending::Aborted) => StepName::Aborted,
        Step::Ended(Ending::Reversed) => StepName::Reversed,
        Step::Ended(Ending::Failed) => StepName::Failed,
    }
}

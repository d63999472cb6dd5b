//! The conditions of a move. Pure.

use iris_core::migration::{Approval, Note};
use iris_crds::IrisShardMigrationStatus;
use iris_crds::conditions::{Condition, Conditions, Progress, State};
use iris_crds::migration::{ResultName, StepName};
use kube::ResourceExt;

use super::journal::Entry;
use crate::status::conditions_of;

/// The conditions of a status, which is complete otherwise.
pub(super) fn conditions(
    entry: &Entry<'_>,
    status: &IrisShardMigrationStatus,
    note: Option<&Note>,
) -> Vec<Condition> {
    let mut conditions = conditions_of(entry.object, entry.now);
    planned(&mut conditions, status, note);
    approved(&mut conditions, entry, status, note);
    committed(&mut conditions, entry, status);
    match (entry.wish.paused, status.result) {
        (true, None) => {
            let message = "spec.paused is true: no further step begins";
            conditions.set("Paused", true, "PausedByPeople", message);
        }
        _ => conditions.set("Paused", false, "NotPaused", ""),
    }
    ending(&mut conditions, entry, status, note);
    conditions.into_vec()
}

fn planned(conditions: &mut Conditions, status: &IrisShardMigrationStatus, note: Option<&Note>) {
    let hash = status.plan.as_ref().map(|plan| plan.hash.as_str()).unwrap_or_default();
    match note {
        _ if !hash.is_empty() => conditions.set("Planned", true, "Planned", hash),
        Some(Note::Refused(problems)) => {
            conditions.set("Planned", false, "CannotRunNow", problems.join("; "));
        }
        _ => conditions.set("Planned", State::Unknown, "NotPlannedYet", ""),
    }
}

fn approved(
    conditions: &mut Conditions,
    entry: &Entry<'_>,
    status: &IrisShardMigrationStatus,
    note: Option<&Note>,
) {
    let hash = status.plan.as_ref().map(|plan| plan.hash.as_str()).unwrap_or_default();
    match (&entry.wish.approval, note) {
        (Approval::Automatic, _) => conditions.set("Approved", true, "Automatic", ""),
        (Approval::Manual(_), _) if status.attempted => {
            conditions.set("Approved", true, "Approved", hash);
        }
        (Approval::Manual(_), Some(Note::OtherPlanApproved)) => {
            let message = format!(
                "spec.approval.planHash is not the hash of this plan: set it to {hash} to run this one"
            );
            conditions.set("Approved", false, "OtherPlanApproved", message);
        }
        (Approval::Manual(_), _) => {
            let message = if hash.is_empty() {
                "there is no plan to approve yet".to_owned()
            } else {
                format!("set spec.approval.planHash to {hash} to let it run")
            };
            conditions.set("Approved", false, "AwaitingApproval", message);
        }
    }
}

fn committed(conditions: &mut Conditions, entry: &Entry<'_>, status: &IrisShardMigrationStatus) {
    let step = status.step.unwrap_or(StepName::Pending);
    match status.committed_epoch {
        Some(epoch) => {
            let message = format!("{} claimed epoch {epoch}", entry.wish.order.target);
            conditions.set("Committed", true, "Claimed", message);
        }
        None => conditions.set("Committed", false, "NotClaimed", ""),
    }
    let was_seen = status.history.iter().any(|transition| transition.reason == "Serving");
    let (verified, reason) = match step {
        // The shard had a further owner before anybody looked.
        StepName::Succeeded if !was_seen => (State::Unknown, "MovedOn"),
        StepName::Soaking | StepName::Reversing | StepName::Reversed | StepName::Succeeded => {
            (State::True, "TargetServes")
        }
        StepName::Aborted | StepName::Failed => (State::False, "Ended"),
        StepName::Pending
        | StepName::Planned
        | StepName::Preparing
        | StepName::HandingOff
        | StepName::Verifying
        | StepName::Aborting => (State::Unknown, "NotVerifiedYet"),
    };
    conditions.set("Verified", verified, reason, "");
    if step == StepName::Soaking {
        let until = status.reversible_until.map(|until| until.to_string()).unwrap_or_default();
        let message = format!("outcome Reverse moves the shard back, until {until}");
        conditions.set("Reversible", true, "Soaking", message);
    } else {
        conditions.set("Reversible", false, "NotSoaking", "");
    }
}

fn ending(
    conditions: &mut Conditions,
    entry: &Entry<'_>,
    status: &IrisShardMigrationStatus,
    note: Option<&Note>,
) {
    let last = status.history.last();
    let reason = last.map_or("NotPlannedYet", |last| last.reason.as_str());
    let message = last.map(|last| last.message.clone()).unwrap_or_default();
    match status.result {
        Some(ResultName::Succeeded) => {
            conditions.set("Succeeded", true, reason, message);
            conditions.set_progress(Progress::Done);
        }
        Some(ResultName::Aborted | ResultName::Reversed) => {
            conditions.set("Succeeded", false, reason, message);
            conditions.set_progress(Progress::Done);
        }
        Some(ResultName::Failed) => {
            conditions.set("Succeeded", false, reason, message.clone());
            conditions.set_progress(Progress::Stuck { reason, message: &message });
        }
        None => {
            let (stuck, reason, message) =
                note.map_or((false, reason.to_owned(), message), |note| word(entry, note));
            conditions.set("Succeeded", State::Unknown, &reason, message.clone());
            let (reason, message) = (reason.as_str(), message.as_str());
            conditions.set_progress(if stuck {
                Progress::Stuck { reason, message }
            } else {
                Progress::Underway { reason, message }
            });
        }
    }
}

/// A note in words: whether people must do something, a reason, and what to do.
fn word(entry: &Entry<'_>, note: &Note) -> (bool, String, String) {
    let object = entry.object;
    let (region, cluster) = (&object.spec.source.region, &object.spec.cluster_ref.name);
    let (stuck, reason, message) = match note {
        Note::Unreachable => {
            let why = entry.learned.silence.clone();
            let why = why.unwrap_or_else(|| "the control plane does not answer".to_owned());
            (false, "ControlPlaneSilent", format!("{why}; it is asked again"))
        }
        Note::RegionMissing => {
            let namespace = object.namespace().unwrap_or_default();
            let message = format!(
                "there is no IrisRegion {namespace}/{region} of cluster {cluster}: delete this, or \
                 create the region"
            );
            (true, "RegionMissing", message)
        }
        Note::Refused(problems) => (false, "CannotRunNow", problems.join("; ")),
        Note::Paused => {
            (false, "Paused", "spec.paused is true: set it to false to go on".to_owned())
        }
        Note::PauseDeferred => {
            let message = "the data plane ends the hand-off by itself; then the move pauses";
            (false, "PauseDeferred", message.to_owned())
        }
        Note::AwaitingApproval => (false, "AwaitingApproval", "see condition Approved".to_owned()),
        Note::OtherPlanApproved => (true, "OtherPlanApproved", "see condition Approved".to_owned()),
        Note::Underway => (false, "Underway", String::new()),
        Note::Soaking => {
            (false, "Soaking", "the target serves; see condition Reversible".to_owned())
        }
        Note::TooLateToAbort => {
            let message = "the target has claimed the shard: outcome Reverse moves it back";
            (false, "TooLateToAbort", message.to_owned())
        }
    };
    (stuck, reason.to_owned(), message)
}

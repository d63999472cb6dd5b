//! The journal: the status after a transition, or after a word without one. Pure, but for the Event.

use iris_core::migration::{Ending, Note, Step, Transition, Wish};
use iris_crds::common::Time;
use iris_crds::migration::{self as crd, FenceReceipt, ResultName};
use iris_crds::{IrisShardMigration, IrisShardMigrationStatus};
use iris_proto::control::{MoveState, PlanMoveReply};

use super::condition;
use super::wish::name_of;
use crate::context::Context;

/// Transitions that are kept.
const HISTORY_MAX: usize = 20;

/// What was learned during a look, for the receipt.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// What the control plane said of the plan.
    pub(super) plan: Option<PlanMoveReply>,
    /// What it said of the move.
    pub(super) forward: Option<MoveState>,
    /// Why there was no answer.
    pub(super) silence: Option<String>,
}

/// What an entry is made from.
pub(super) struct Entry<'a> {
    pub(super) object: &'a IrisShardMigration,
    pub(super) wish: &'a Wish,
    pub(super) learned: &'a Learned,
    pub(super) term: u64,
    pub(super) now: Time,
}

impl Entry<'_> {
    /// The status after a transition.
    pub(super) fn written(&self, transition: &Transition) -> IrisShardMigrationStatus {
        let mut status = self.object.status.clone().unwrap_or_default();
        let seq = status.journal_seq.unwrap_or_default() + 1;
        let step = name_of(transition.step);
        status.journal_seq = Some(seq);
        status.step = Some(step);
        if let Some(hash) = &transition.plan {
            let told = self.learned.plan.clone().unwrap_or_default();
            status.plan = Some(crd::Plan {
                hash: hash.to_string(),
                accounts: told.accounts,
                connections: told.connections,
                bytes: told.bytes,
                predicted_fence_millis: told.predicted_fence_ms,
            });
        }
        status.attempted |= transition.step == Step::Preparing;
        if let Some(epoch) = transition.committed {
            status.committed_epoch = status.committed_epoch.or(Some(epoch.0));
            status.fence = self.learned.forward.as_ref().map(fence);
        }
        if let Some(until_s) = transition.reversible_until_s {
            status.reversible_until = Some(Time::from_unix(until_s));
        }
        if let Step::Ended(ending) = transition.step {
            status.result = status.result.or(Some(result_of(ending)));
            status.finished_at = Some(self.now);
        }
        status.history.push(crd::Transition {
            seq,
            step,
            reason: transition.reason.clone(),
            message: transition.message.clone(),
            at: self.now,
            term: self.term,
        });
        let surplus = status.history.len().saturating_sub(HISTORY_MAX);
        status.history.drain(..surplus);
        self.finish(status, None)
    }

    /// The status after a word without a transition.
    pub(super) fn said(&self, note: &Note) -> IrisShardMigrationStatus {
        let status = self.object.status.clone().unwrap_or_default();
        self.finish(status, Some(note))
    }

    fn finish(
        &self,
        mut status: IrisShardMigrationStatus,
        note: Option<&Note>,
    ) -> IrisShardMigrationStatus {
        status.journal_seq.get_or_insert_default();
        status.step.get_or_insert(crd::StepName::Pending);
        status.operator_term = Some(self.term);
        status.observed_generation = self.object.metadata.generation;
        status.conditions = condition::conditions(self, &status, note);
        status
    }
}

fn fence(state: &MoveState) -> FenceReceipt {
    FenceReceipt {
        millis: state.fence_ms,
        released_block: state.released_block,
        refused: state.refused,
    }
}

fn result_of(ending: Ending) -> ResultName {
    match ending {
        Ending::Succeeded => ResultName::Succeeded,
        Ending::Aborted => ResultName::Aborted,
        Ending::Reversed => ResultName::Reversed,
        Ending::Failed => ResultName::Failed,
    }
}

/// Tells people of the end; what came before it is in the history.
pub(super) async fn tell(context: &Context, object: &IrisShardMigration, transition: &Transition) {
    let Step::Ended(ending) = transition.step else { return };
    let note = format!("{}: {}", transition.reason, transition.message);
    match ending {
        Ending::Succeeded | Ending::Aborted | Ending::Reversed => {
            context.events.normal(object, name(ending), note).await;
        }
        Ending::Failed => context.events.warning(object, name(ending), note).await,
    }
}

fn name(ending: Ending) -> &'static str {
    match ending {
        Ending::Succeeded => "Succeeded",
        Ending::Aborted => "Aborted",
        Ending::Reversed => "Reversed",
        Ending::Failed => "Failed",
    }
}

//! The table of [`super::decide`], step by step: each function answers for one step, whatever was seen.

use super::{
    Approval, Effect, Ending, Journal, LET_GO_AFTER_S, Move, Note, Observed, Outcome, POLL_S,
    Phase, Plan, RETRY_S, SOAK_POLL_S, Seen, Step, Transition, Way, Wish, plan_hash,
};
use crate::seq::Epoch;

/// Not planned: nothing has happened yet.
pub(super) fn pending(wish: &Wish, seen: &Observed) -> Vec<Effect> {
    if wish.unwanted() {
        return never_began(wish);
    }
    if wish.paused {
        return wait(Note::Paused, RETRY_S);
    }
    match &seen.plan {
        Seen::Known(plan) => planning(wish, plan),
        Seen::Absent | Seen::Unknown => wait(Note::Unreachable, RETRY_S),
    }
}

fn planning(wish: &Wish, plan: &Plan) -> Vec<Effect> {
    let order = &wish.order;
    if plan.epoch != order.epoch {
        let message = format!(
            "shard {} is at epoch {} now, not at {}: it has moved since this was written",
            order.shard, plan.epoch, order.epoch
        );
        return end(wish, Ending::Failed, "SourceMoved", message);
    }
    // An epoch belongs to one owner for ever, so another name is a mistake in the order.
    if !plan.source.is_empty() && plan.source != order.source {
        let message = format!(
            "shard {} at epoch {} is with {}, not with {}",
            order.shard, order.epoch, plan.source, order.source
        );
        return end(wish, Ending::Failed, "SourceMismatch", message);
    }
    if !plan.problems.is_empty() {
        return wait(Note::Refused(plan.problems.clone()), RETRY_S);
    }
    let hash = plan_hash(order);
    let mut transition = Transition::to(Step::Planned, "Planned", "");
    transition.plan = Some(hash);
    vec![Effect::Write(transition), Effect::Again]
}

/// Planned: it begins when it may.
pub(super) fn planned(wish: &Wish, journal: &Journal) -> Vec<Effect> {
    if wish.unwanted() {
        return never_began(wish);
    }
    if wish.paused {
        return wait(Note::Paused, RETRY_S);
    }
    let hash = plan_hash(&wish.order);
    if journal.plan.as_ref() != Some(&hash) {
        let message = "the spec was changed after it was planned";
        let transition = Transition::to(Step::Pending, "PlanChanged", message);
        return vec![Effect::Write(transition), Effect::Again];
    }
    match &wish.approval {
        Approval::Manual(None) => return wait(Note::AwaitingApproval, RETRY_S),
        Approval::Manual(Some(approved)) if *approved != hash => {
            return wait(Note::OtherPlanApproved, RETRY_S);
        }
        Approval::Manual(Some(_)) | Approval::Automatic => {}
    }
    let mut effects = Vec::new();
    if !wish.held {
        // From here on a deletion must first undo what is ordered next.
        effects.push(Effect::Hold);
    }
    effects.extend([
        Effect::Write(Transition::to(Step::Preparing, "Ordered", "")),
        Effect::Execute(Way::Forward),
        Effect::Again,
    ]);
    effects
}

/// Ordered, and as far as the journal knows not claimed by the target.
pub(super) fn ordered(wish: &Wish, journal: &Journal, seen: &Observed, now_s: u64) -> Vec<Effect> {
    match &seen.forward {
        Seen::Unknown => unanswered(wish, now_s),
        // The order was lost on its way, or is still on it.
        Seen::Absent if wish.unwanted() => abort(journal),
        Seen::Absent if journal.step == Step::Aborting => abort(journal),
        Seen::Absent if wish.paused => wait(Note::Paused, RETRY_S),
        Seen::Absent => vec![Effect::Execute(Way::Forward), Effect::Again],
        Seen::Known(Move { phase: Phase::Committed(epoch), .. }) => committed(wish, *epoch),
        Seen::Known(Move { phase: Phase::Aborted, reason, message }) => {
            let aborted = wish.unwanted() || journal.step == Step::Aborting;
            let ending = if aborted { Ending::Aborted } else { Ending::Failed };
            end(wish, ending, or(reason, "GivenUp"), message.clone())
        }
        Seen::Known(Move { phase: Phase::Failed, reason, message }) => {
            let ending = if wish.unwanted() { Ending::Aborted } else { Ending::Failed };
            end(wish, ending, or(reason, "Failed"), message.clone())
        }
        Seen::Known(Move { phase: Phase::Preparing | Phase::HandingOff, .. })
            if wish.unwanted() || journal.step == Step::Aborting =>
        {
            abort(journal)
        }
        Seen::Known(Move { phase: Phase::HandingOff, .. }) if journal.step == Step::Preparing => {
            let transition = Transition::to(Step::HandingOff, "HandingOff", "");
            vec![Effect::Write(transition), Effect::Again]
        }
        Seen::Known(Move { phase: Phase::Preparing | Phase::HandingOff, .. }) => {
            let note = if wish.paused { Note::PauseDeferred } else { Note::Underway };
            wait(note, POLL_S)
        }
    }
}

/// The target has claimed the shard. There is no way but forward, or all the way back.
fn committed(wish: &Wish, epoch: Epoch) -> Vec<Effect> {
    let message = format!("{} claimed epoch {epoch}", wish.order.target);
    let mut transition = Transition::to(Step::Verifying, "Committed", message);
    transition.committed = Some(epoch);
    vec![Effect::Write(transition), Effect::Again]
}

/// The target has claimed the shard: does it serve?
pub(super) fn verifying(
    wish: &Wish,
    journal: &Journal,
    seen: &Observed,
    now_s: u64,
) -> Vec<Effect> {
    let Some(committed) = journal.committed else {
        return lost_commit(wish);
    };
    if wish.deleted_at_s.is_some() {
        return forward_without_us(wish);
    }
    let note = late_abort(wish, Note::Underway);
    match &seen.shard {
        Seen::Unknown | Seen::Absent => wait(Note::Unreachable, RETRY_S),
        Seen::Known(shard) if shard.epoch > committed => moved_on(wish, shard.epoch),
        Seen::Known(shard)
            if shard.epoch == committed && shard.owner == wish.order.target && shard.serving =>
        {
            if wish.outcome == Outcome::Reverse {
                return reverse();
            }
            if wish.soak_s == 0 {
                return end(wish, Ending::Succeeded, "Serving", serves(wish, committed));
            }
            let mut transition = Transition::to(Step::Soaking, "Serving", serves(wish, committed));
            transition.reversible_until_s = Some(now_s.saturating_add(wish.soak_s));
            vec![Effect::Write(transition), Effect::Again]
        }
        // Claimed and still replaying, or seen by somebody who has not heard of it.
        Seen::Known(_) => wait(note, POLL_S),
    }
}

/// The target serves, and the move can be reversed for a while.
pub(super) fn soaking(wish: &Wish, journal: &Journal, seen: &Observed, now_s: u64) -> Vec<Effect> {
    let Some(committed) = journal.committed else {
        return lost_commit(wish);
    };
    if wish.deleted_at_s.is_some() {
        return forward_without_us(wish);
    }
    match &seen.shard {
        Seen::Known(shard) if shard.epoch > committed => return moved_on(wish, shard.epoch),
        Seen::Known(shard) if shard.epoch == committed && wish.outcome == Outcome::Reverse => {
            return reverse();
        }
        Seen::Known(_) | Seen::Absent | Seen::Unknown => {}
    }
    if wish.outcome == Outcome::Reverse {
        // It was asked for in time, so the time does not end it.
        return wait(Note::Unreachable, RETRY_S);
    }
    let left_s = journal.reversible_until_s.unwrap_or_default().saturating_sub(now_s);
    if left_s == 0 {
        return end(wish, Ending::Succeeded, "Soaked", serves(wish, committed));
    }
    wait(late_abort(wish, Note::Soaking), left_s.min(SOAK_POLL_S))
}

/// The move back was ordered.
pub(super) fn reversing(wish: &Wish, seen: &Observed) -> Vec<Effect> {
    if wish.deleted_at_s.is_some() {
        return forward_without_us(wish);
    }
    match &seen.back {
        Seen::Unknown => wait(Note::Unreachable, RETRY_S),
        Seen::Absent => vec![Effect::Execute(Way::Back), Effect::Again],
        Seen::Known(Move { phase: Phase::Preparing | Phase::HandingOff, .. }) => {
            wait(Note::Underway, POLL_S)
        }
        Seen::Known(Move { phase: Phase::Committed(epoch), .. }) => {
            let message = format!("{} serves again, at epoch {epoch}", wish.order.source);
            end(wish, Ending::Reversed, "Reversed", message)
        }
        Seen::Known(Move { phase: Phase::Aborted | Phase::Failed, reason, message }) => {
            let message = format!("the shard did not go back ({reason}): {message}");
            end(wish, Ending::Failed, "ReverseFailed", message)
        }
    }
}

fn reverse() -> Vec<Effect> {
    let transition = Transition::to(Step::Reversing, "ReverseOrdered", "");
    vec![Effect::Write(transition), Effect::Execute(Way::Back), Effect::Again]
}

/// A later epoch: another move or a takeover. This one is over, whatever came after it.
fn moved_on(wish: &Wish, epoch: Epoch) -> Vec<Effect> {
    let message = format!("the shard has had a further change of owner since: epoch {epoch}");
    match wish.outcome {
        Outcome::Reverse => end(wish, Ending::Failed, "ReverseTooLate", message),
        Outcome::Complete | Outcome::Abort => end(wish, Ending::Succeeded, "MovedOn", message),
    }
}

/// Nothing was ordered, so nothing has to be undone.
fn never_began(wish: &Wish) -> Vec<Effect> {
    end(wish, Ending::Aborted, "NeverBegan", "the move was called off before it was ordered")
}

/// Orders the end; the order holds for a move that has not arrived yet, too.
fn abort(journal: &Journal) -> Vec<Effect> {
    if journal.step == Step::Aborting {
        return vec![Effect::Abort, Effect::WaitS(POLL_S)];
    }
    let transition = Transition::to(Step::Aborting, "AbortOrdered", "");
    vec![Effect::Write(transition), Effect::Abort, Effect::Again]
}

/// The control plane does not answer. What it has begun goes on; nothing is concluded.
fn unanswered(wish: &Wish, now_s: u64) -> Vec<Effect> {
    let given_up = |since_s: u64| now_s.saturating_sub(since_s) >= LET_GO_AFTER_S;
    if wish.held && wish.deleted_at_s.is_some_and(given_up) {
        return vec![Effect::LetGo];
    }
    wait(Note::Unreachable, RETRY_S)
}

/// Deleted after the target has claimed: the data plane needs nobody to finish.
fn forward_without_us(wish: &Wish) -> Vec<Effect> {
    if wish.held { vec![Effect::LetGo] } else { vec![Effect::WaitS(RETRY_S)] }
}

/// A journal that is past the commit without an epoch was not written by this program.
fn lost_commit(wish: &Wish) -> Vec<Effect> {
    let message =
        "the journal has lost the epoch that the target claimed: see who serves the shard";
    end(wish, Ending::Failed, "JournalDamaged", message)
}

fn end(wish: &Wish, ending: Ending, reason: &str, message: impl Into<String>) -> Vec<Effect> {
    let mut effects = vec![Effect::Write(Transition::to(Step::Ended(ending), reason, message))];
    if wish.held {
        effects.push(Effect::LetGo);
    }
    effects
}

fn wait(note: Note, seconds: u64) -> Vec<Effect> {
    vec![Effect::Say(note), Effect::WaitS(seconds)]
}

fn late_abort(wish: &Wish, otherwise: Note) -> Note {
    match wish.outcome {
        Outcome::Abort => Note::TooLateToAbort,
        Outcome::Complete | Outcome::Reverse => otherwise,
    }
}

fn serves(wish: &Wish, epoch: Epoch) -> String {
    format!("{} serves shard {} at epoch {epoch}", wish.order.target, wish.order.shard)
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

//! The move of one shard, as the operator drives it: what to do next, from what is wanted, what the
//! journal says, and what was observed.
//!
//! [`decide`] is total: it has an answer for everything, and it never takes a missing answer for
//! success. It never moves anything itself; the control plane and the owners do, and what they have
//! begun ends without the operator.

mod forward;
mod plan;

#[cfg(test)]
mod tests;

pub use plan::{PlanHash, plan_hash};

use crate::id::ShardId;
use crate::seq::Epoch;

/// A deleted move whose control plane does not answer is let go after this long: the hand-off ends by
/// itself, and an object that cannot be deleted helps nobody.
pub const LET_GO_AFTER_S: u64 = 900;
/// How long to wait before looking again at a move that is under way.
pub const POLL_S: u64 = 1;
/// How long to wait before asking again when the answer depends on people or on other repairs.
pub const RETRY_S: u64 = 10;
/// The longest wait of a soaking move.
pub const SOAK_POLL_S: u64 = 60;

/// What people want of the move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What to move. Never changes.
    pub order: Order,
    /// What shall become of it.
    pub outcome: Outcome,
    /// No further step begins.
    pub paused: bool,
    /// Whether somebody must approve.
    pub approval: Approval,
    /// How long the move can be reversed once the target serves.
    pub soak_s: u64,
    /// Since when the object is being deleted.
    pub deleted_at_s: Option<u64>,
    /// Whether the object is held back from being deleted.
    pub held: bool,
}

/// What to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Which shard.
    pub shard: ShardId,
    /// The region of both.
    pub region: String,
    /// The owner that serves it.
    pub source: String,
    /// At this epoch.
    pub epoch: Epoch,
    /// The owner that shall serve it.
    pub target: String,
    /// How long writes may pause.
    pub fence_ms_max: u32,
}

/// What shall become of the move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The target serves.
    Complete,
    /// The source goes on serving, if the target has not claimed yet.
    Abort,
    /// The source serves again.
    Reverse,
}

/// Whether somebody must approve a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// Nobody.
    Automatic,
    /// Exactly the plan with this hash may run; none yet.
    Manual(Option<PlanHash>),
}

/// What was written down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// How many transitions there were.
    pub seq: u64,
    /// Where the move stands.
    pub step: Step,
    /// The plan that was made.
    pub plan: Option<PlanHash>,
    /// The epoch that the target claimed.
    pub committed: Option<Epoch>,
    /// When the move can no longer be reversed.
    pub reversible_until_s: Option<u64>,
}

/// Where a move stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Step {
    /// Not planned.
    #[default]
    Pending,
    /// Planned, not ordered.
    Planned,
    /// Ordered from the control plane.
    Preparing,
    /// The source lets go, the target claims.
    HandingOff,
    /// An abort was ordered.
    Aborting,
    /// The target has claimed the shard.
    Verifying,
    /// The target serves; the move can be reversed.
    Soaking,
    /// The move back was ordered.
    Reversing,
    /// Over.
    Ended(Ending),
}

/// How a move ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The target serves.
    Succeeded,
    /// The source went on serving, as wanted.
    Aborted,
    /// The source serves again, as wanted.
    Reversed,
    /// Not as wanted.
    Failed,
}

/// An answer, or the lack of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T> {
    /// It is so.
    Known(T),
    /// It is not there: somebody who knows said so.
    Absent,
    /// Nobody answered, or nobody was asked.
    Unknown,
}

/// What was observed just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Whether there is a region whose control plane could be asked.
    pub region: Seen<()>,
    /// What the control plane would do: asked before there is a plan.
    pub plan: Seen<Plan>,
    /// The move, by its id.
    pub forward: Seen<Move>,
    /// The move back, by its id: asked while reversing.
    pub back: Seen<Move>,
    /// The shard: asked once the target has claimed it.
    pub shard: Seen<Shard>,
}

impl Observed {
    /// Nothing was asked, or nobody answered.
    pub const NOTHING: Self = Self {
        region: Seen::Unknown,
        plan: Seen::Unknown,
        forward: Seen::Unknown,
        back: Seen::Unknown,
        shard: Seen::Unknown,
    };
}

/// What the control plane would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Who serves the shard; empty while nobody does.
    pub source: String,
    /// At which epoch.
    pub epoch: Epoch,
    /// Why the move cannot run now.
    pub problems: Vec<String>,
}

/// A move as the control plane has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// How far it is.
    pub phase: Phase,
    /// Why, for programs.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The target gets ready.
    Preparing,
    /// The source lets go, the target claims.
    HandingOff,
    /// The target has claimed this epoch.
    Committed(Epoch),
    /// Given up; the source or another pod serves.
    Aborted,
    /// It could not be done, and nothing was changed by it.
    Failed,
}

/// A shard as the control plane sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its epoch.
    pub epoch: Epoch,
    /// Who has it; empty while nobody does.
    pub owner: String,
    /// Whether that owner serves it.
    pub serving: bool,
}

/// What to do. Effects are performed in order; what comes after one that failed is not performed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Hold the object back from being deleted.
    Hold,
    /// Let it be deleted.
    LetGo,
    /// Write a transition down.
    Write(Transition),
    /// Order the move, or the move back. The same order twice is one order.
    Execute(Way),
    /// Order the end of the move. It holds for an order that has not arrived yet, too.
    Abort,
    /// Say why nothing happens, or what does. No transition.
    Say(Note),
    /// Look again at once.
    Again,
    /// Look again after so many seconds.
    WaitS(u64),
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the source to the target.
    Forward,
    /// From the target to the source.
    Back,
}

/// A transition to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// To which step.
    pub step: Step,
    /// Why, for programs.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// The plan, when it is made; the empty one when it is dropped.
    pub plan: Option<PlanHash>,
    /// The epoch that the target claimed, when it is learned.
    pub committed: Option<Epoch>,
    /// Until when the move can be reversed, when that begins.
    pub reversible_until_s: Option<u64>,
}

/// What to say without a transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The control plane does not answer.
    Unreachable,
    /// The region is gone.
    RegionMissing,
    /// The control plane says why the move cannot run now.
    Refused(Vec<String>),
    /// It waits to be resumed.
    Paused,
    /// It waits to be resumed, after what the data plane does now.
    PauseDeferred,
    /// It waits for an approval.
    AwaitingApproval,
    /// Another plan was approved.
    OtherPlanApproved,
    /// It is under way.
    Underway,
    /// The target serves; the move can be reversed.
    Soaking,
    /// The target has claimed the shard, so there is nothing to abort.
    TooLateToAbort,
}

/// What to do next. Total and without side effects.
pub fn decide(wish: &Wish, journal: &Journal, seen: &Observed, now_s: u64) -> Vec<Effect> {
    let effects = match journal.step {
        Step::Ended(_) => return let_go(wish),
        _ if seen.region == Seen::Absent => without_region(wish),
        Step::Pending => forward::pending(wish, seen),
        Step::Planned => forward::planned(wish, journal),
        Step::Preparing | Step::HandingOff | Step::Aborting => {
            forward::ordered(wish, journal, seen, now_s)
        }
        Step::Verifying => forward::verifying(wish, journal, seen, now_s),
        Step::Soaking => forward::soaking(wish, journal, seen, now_s),
        Step::Reversing => forward::reversing(wish, seen),
    };
    debug_assert!(!effects.is_empty(), "every step before the last has a next look");
    effects
}

/// The journal after a transition.
#[must_use]
pub fn after(journal: &Journal, transition: &Transition) -> Journal {
    Journal {
        seq: journal.seq + 1,
        step: transition.step,
        plan: transition.plan.clone().or_else(|| journal.plan.clone()),
        committed: journal.committed.or(transition.committed),
        reversible_until_s: transition.reversible_until_s.or(journal.reversible_until_s),
    }
}

/// The id of the move back: `m-<shard>-e<epoch>-0`, which no object of people's can have.
pub fn id_of_reverse(shard: ShardId, committed: Epoch) -> String {
    format!("m-{shard}-e{committed}-0")
}

fn let_go(wish: &Wish) -> Vec<Effect> {
    if wish.held { vec![Effect::LetGo] } else { Vec::new() }
}

/// There is nobody to ask, and no shard that could move.
fn without_region(wish: &Wish) -> Vec<Effect> {
    match wish.deleted_at_s {
        Some(_) if wish.held => vec![Effect::LetGo],
        _ => vec![Effect::Say(Note::RegionMissing), Effect::WaitS(RETRY_S)],
    }
}

impl Wish {
    /// Whether the move shall end without the target, as far as that is still possible.
    fn unwanted(&self) -> bool {
        self.deleted_at_s.is_some() || self.outcome != Outcome::Complete
    }
}

impl Transition {
    fn to(step: Step, reason: &str, message: impl Into<String>) -> Self {
        Self {
            step,
            reason: reason.to_owned(),
            message: message.into(),
            plan: None,
            committed: None,
            reversible_until_s: None,
        }
    }
}

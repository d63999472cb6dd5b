//! `IrisShardMigration`: drives a move to its end. What to do next is for `iris_core::migration` to
//! say; here its effects are performed in order, and what it must know is asked.
//!
//! Never moves anything by itself, and never takes a missing answer for a good one. A write that meets
//! a newer version of the object is not repeated: everything is decided again.

mod condition;
mod journal;
mod observe;
mod wish;

use std::sync::Arc;
use std::time::Duration;

use iris_core::migration::{self, Effect, Note, POLL_S, Transition, Way};
use iris_crds::IrisShardMigration;
use iris_proto::control::{ExecuteMoveRequest, MovePhase, MoveState};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use crate::context::Context;
use crate::control::ControlError;
use crate::controller::{Next, Reconciler};
use crate::error::{Error, Tried};
use crate::names::{MANAGER, MIGRATION_FINALIZER};
use journal::{Entry, Learned};
use observe::{Answer, place_of};
use wish::{journal_of, wish_of};

/// Decisions of one look; a move that needs more goes on in the next one.
const ROUNDS_MAX: u32 = 48;
/// A hand-off takes milliseconds, so its end is looked for at once, and then more and more rarely:
/// seven times within the second after which the next look would come.
const FIRST_GLANCE: Duration = Duration::from_millis(10);
const GLANCES_MAX: u32 = 7;

/// Looks after moves.
#[derive(Debug, Clone, Copy)]
pub struct MigrationReconciler;

impl Reconciler for MigrationReconciler {
    type Kind = IrisShardMigration;
    /// Each waits for its hand-off, so this is also how many hand-offs there are at once: more would
    /// only make each of them longer, and everybody else wait.
    const SIDE_BY_SIDE: u16 = 2;

    async fn reconcile(
        &self,
        context: &Context,
        object: Arc<IrisShardMigration>,
    ) -> Result<Next, Error> {
        let mut run = Run::new(context, object.as_ref().clone());
        let ended = run.drive().await;
        match ended {
            Ok(next) => Ok(next),
            Err(error) if error.is_not_found() => Ok(Next::OnChange),
            // Not into the status: it is a journal, and this object may be an old view of it.
            Err(error) => Ok(Next::Held(error)),
        }
    }
}

/// What comes after the effects of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Decide again.
    Again,
    /// Look again after a while.
    Wait(Duration),
    /// Nothing.
    Done,
}

/// One look at one object.
struct Run<'a> {
    context: &'a Context,
    object: IrisShardMigration,
    learned: Learned,
    /// What the control plane answered to an order, until it is used.
    answer: Option<Answer>,
    glances: u32,
}

impl<'a> Run<'a> {
    fn new(context: &'a Context, object: IrisShardMigration) -> Self {
        Self { context, object, learned: Learned::default(), answer: None, glances: 0 }
    }

    fn api(&self) -> Api<IrisShardMigration> {
        let namespace = self.object.namespace().unwrap_or_default();
        Api::namespaced(self.context.client.clone(), &namespace)
    }

    async fn drive(&mut self) -> Result<Next, Error> {
        for _ in 0..ROUNDS_MAX {
            match self.round().await {
                Ok(Turn::Again) => {}
                Ok(Turn::Wait(wait)) if wait > Duration::from_secs(POLL_S) => {
                    return Ok(Next::After(wait));
                }
                Ok(Turn::Wait(wait)) if self.glances >= GLANCES_MAX => {
                    return Ok(Next::After(wait));
                }
                Ok(Turn::Wait(_)) => {
                    tokio::time::sleep(FIRST_GLANCE * 2_u32.pow(self.glances)).await;
                    self.glances += 1;
                }
                Ok(Turn::Done) => return self.retire().await,
                // Somebody changed it meanwhile.
                Err(error) if error.is_conflict() => self.refresh().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(Next::After(Duration::from_secs(POLL_S)))
    }

    /// One decision, with what it needs and what follows from it.
    async fn round(&mut self) -> Result<Turn, Error> {
        let wish = wish_of(&self.object)?;
        let journal = journal_of(&self.object);
        let answer = self.answer.take();
        let seen = observe::observe(
            self.context,
            &self.object,
            &wish,
            &journal,
            answer,
            &mut self.learned,
        )
        .await;
        let effects = migration::decide(&wish, &journal, &seen, self.context.now_s());
        self.perform(&wish, effects).await
    }

    async fn perform(
        &mut self,
        wish: &migration::Wish,
        effects: Vec<Effect>,
    ) -> Result<Turn, Error> {
        let mut turn = Turn::Done;
        for effect in effects {
            match effect {
                Effect::Hold => self.hold(true).await?,
                Effect::LetGo => self.hold(false).await?,
                Effect::Write(transition) => self.write(wish, &transition).await?,
                Effect::Say(note) => self.say(wish, &note).await?,
                Effect::Execute(way) => {
                    if !self.execute(wish, way).await? {
                        return Ok(Turn::Wait(Duration::from_secs(POLL_S)));
                    }
                }
                Effect::Abort => self.abort(wish).await?,
                Effect::Again => turn = Turn::Again,
                // An order that was answered by its end need not be asked about later.
                Effect::WaitS(_) if self.answer.as_ref().is_some_and(Answer::has_ended) => {
                    turn = Turn::Again;
                }
                Effect::WaitS(seconds) => turn = Turn::Wait(Duration::from_secs(seconds)),
            }
        }
        Ok(turn)
    }

    /// Orders the move or the move back; says whether there was an answer.
    async fn execute(&mut self, wish: &migration::Wish, way: Way) -> Result<bool, Error> {
        let order = &wish.order;
        let (move_id, epoch, source, target) = match way {
            Way::Forward => (self.object.name_any(), order.epoch, &order.source, &order.target),
            Way::Back => {
                let Some(committed) = journal_of(&self.object).committed else { return Ok(false) };
                let id = migration::id_of_reverse(order.shard, committed);
                (id, committed, &order.target, &order.source)
            }
        };
        let request = ExecuteMoveRequest {
            move_id,
            shard: order.shard.into(),
            epoch: epoch.0,
            source_pod: source.clone(),
            target_pod: target.clone(),
            max_fence_ms: order.fence_ms_max,
            operator_term: 0,
        };
        let answer = self.context.control.execute_move(&place_of(&self.object), request).await;
        self.take(way, answer)
    }

    async fn abort(&mut self, wish: &migration::Wish) -> Result<(), Error> {
        let shard = wish.order.shard.into();
        let name = self.object.name_any();
        let answer = self.context.control.abort_move(&place_of(&self.object), &name, shard).await;
        // Who leads the region has not heard of the move, and refuses the orders of earlier operators.
        let answer = answer.map(|state| match state.phase() {
            MovePhase::Unknown => MoveState {
                phase: MovePhase::Aborted.into(),
                reason: "NeverBegan".to_owned(),
                message: "the order to move the shard never arrived".to_owned(),
                ..state
            },
            _ => state,
        });
        self.take(Way::Forward, answer).map(|_| ())
    }

    /// Keeps what was answered to an order.
    fn take(&mut self, way: Way, answer: Result<MoveState, ControlError>) -> Result<bool, Error> {
        match answer {
            Ok(state) => {
                self.answer = Some(Answer { way, state });
                Ok(true)
            }
            Err(ControlError::Refused { status, .. })
                if status.code() == tonic::Code::PermissionDenied =>
            {
                tracing::warn!(
                    why = status.message(),
                    "the control plane follows a later operator"
                );
                Err(Error::NotLeading)
            }
            Err(error) => {
                tracing::info!(object = self.object.name_any(), %error, "an order was not answered");
                self.learned.silence = Some(error.to_string());
                Ok(false)
            }
        }
    }

    /// Holds the object back from being deleted, or lets it go.
    async fn hold(&mut self, held: bool) -> Result<(), Error> {
        let mut finalizers = self.object.finalizers().to_vec();
        finalizers.retain(|finalizer| finalizer != MIGRATION_FINALIZER);
        if held {
            finalizers.push(MIGRATION_FINALIZER.to_owned());
        }
        let patch = json!({"metadata": {
            "finalizers": finalizers,
            "resourceVersion": self.object.resource_version(),
            "uid": self.object.uid(),
        }});
        let name = self.object.name_any();
        let patched = self.api().patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        let object = patched.tried(|| format!("cannot change the finalizers of {name}"))?;
        self.object = object;
        Ok(())
    }

    async fn write(
        &mut self,
        wish: &migration::Wish,
        transition: &Transition,
    ) -> Result<(), Error> {
        let entry = Entry {
            object: &self.object,
            wish,
            learned: &self.learned,
            term: self.context.lead.term(),
            now: self.context.now(),
        };
        let status = entry.written(transition);
        self.put(&status).await?;
        self.glances = 0;
        journal::tell(self.context, &self.object, transition).await;
        Ok(())
    }

    async fn say(&mut self, wish: &migration::Wish, note: &Note) -> Result<(), Error> {
        let entry = Entry {
            object: &self.object,
            wish,
            learned: &self.learned,
            term: self.context.lead.term(),
            now: self.context.now(),
        };
        let status = entry.said(note);
        if self.object.status.as_ref() == Some(&status) {
            return Ok(());
        }
        self.put(&status).await
    }

    /// Writes the status over exactly the version that was decided upon. Nothing of a journal is ever
    /// taken back, so a merge does, and costs the API server less than an apply.
    async fn put(&mut self, status: &iris_crds::IrisShardMigrationStatus) -> Result<(), Error> {
        let name = self.object.name_any();
        let patch = json!({
            "metadata": {
                "uid": self.object.uid(),
                "resourceVersion": self.object.resource_version(),
            },
            "status": status,
        });
        let params =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let written = self.api().patch_status(&name, &params, &Patch::Merge(patch)).await;
        self.object = written.tried(|| format!("cannot write the journal of {name}"))?;
        Ok(())
    }

    async fn refresh(&mut self) -> Result<(), Error> {
        let name = self.object.name_any();
        let found = self.api().get(&name).await;
        self.object = found.tried(|| format!("cannot read {name}"))?;
        Ok(())
    }

    /// A move that has ended goes when people said it should.
    async fn retire(&self) -> Result<Next, Error> {
        let status = self.object.status.as_ref();
        let ended = status.and_then(|status| status.finished_at);
        let keep = self.object.spec.ttl_seconds_after_finished;
        let (Some(ended), Some(keep)) = (ended, keep) else { return Ok(Next::OnChange) };
        let left = ended.unix().saturating_add(keep.into()).saturating_sub(self.context.now_s());
        if left > 0 {
            return Ok(Next::After(Duration::from_secs(left)));
        }
        let name = self.object.name_any();
        let params = DeleteParams::background()
            .preconditions(Preconditions { uid: self.object.uid(), resource_version: None });
        self.api().delete(&name, &params).await.tried(|| format!("cannot delete {name}"))?;
        Ok(Next::OnChange)
    }
}

#[cfg(test)]
mod tests;

//! What people say to a move that was ordered: each is one change of its object.

use iris_crds::IrisShardMigration;
use iris_crds::migration::ApprovalMode;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::Output;

use super::args::{Approve, Global, OneMove};
use super::cluster::{Cluster, explained};

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Abort,
    Reverse,
    Pause,
    Resume,
}

impl Verb {
    fn spec(self) -> Value {
        match self {
            Self::Abort => json!({"outcome": "Abort"}),
            Self::Reverse => json!({"outcome": "Reverse"}),
            Self::Pause => json!({"paused": true}),
            Self::Resume => json!({"paused": false}),
        }
    }

    /// The key of the answer, and what happens now.
    const fn answer(self) -> (&'static str, &'static str) {
        match self {
            Self::Abort => ("aborting", "is being aborted: its shard stays where it is"),
            Self::Reverse => ("reversing", "is being reversed: its shard goes back"),
            Self::Pause => ("paused", "takes no further step; what is under way ends by itself"),
            Self::Resume => ("resumed", "goes on"),
        }
    }
}

pub(super) async fn run(
    global: &Global,
    verb: Verb,
    args: &OneMove,
    output: &mut Output,
) -> Result<(), Failure> {
    let one = One::named(global, &args.name).await?;
    one.patch(&json!({"spec": verb.spec()})).await?;
    let (key, text) = verb.answer();
    output.result(&format!("{} {text}", one.name), &json!({key: one.name}))?;
    one.note(output);
    Ok(())
}

/// Approves exactly the plan that is there now.
pub(super) async fn approve(
    global: &Global,
    args: &Approve,
    output: &mut Output,
) -> Result<(), Failure> {
    let one = One::named(global, &args.of.name).await?;
    let object = one.api.get(&one.name).await.map_err(|error| one.explained(&error))?;
    let plan = hash_to_approve(&object, args.plan.as_deref())?;
    let patch = json!({
        // What was looked at is what is approved.
        "metadata": {"resourceVersion": object.metadata.resource_version},
        "spec": {"approval": {"planHash": plan}},
    });
    one.patch(&patch).await?;
    let text = format!("{} may run: plan {plan} is approved", one.name);
    output.result(&text, &json!({"approved": one.name, "plan": plan}))?;
    one.note(output);
    Ok(())
}

fn hash_to_approve(object: &IrisShardMigration, expected: Option<&str>) -> Result<String, Failure> {
    let name = object.name_any();
    if object.spec.approval.mode != ApprovalMode::Manual {
        return Err(Failure::new(format!("{name} waits for nobody: its approval is Automatic")));
    }
    let plan = object.status.as_ref().and_then(|status| status.plan.as_ref());
    let hash = plan.map(|plan| plan.hash.clone()).filter(|hash| !hash.is_empty());
    let Some(hash) = hash else {
        return Err(Failure::new(format!("{name} has no plan yet")).hint(format!(
            "`kubectl describe irm {name}` says what it waits for; the condition Planned is True \
             once there is one"
        )));
    };
    match expected {
        Some(expected) if expected != hash => {
            Err(Failure::new(format!("the plan of {name} is {hash}, not {expected}"))
                .hint("look at it again; without --plan the one that is there now is approved"))
        }
        Some(_) | None => Ok(hash),
    }
}

/// One move, by its name or its shard.
struct One {
    api: Api<IrisShardMigration>,
    namespace: String,
    name: String,
}

impl One {
    async fn named(global: &Global, named: &str) -> Result<Self, Failure> {
        let cluster = Cluster::connect(global).await?;
        let api: Api<IrisShardMigration> = cluster.api();
        let name = match named.parse::<u32>() {
            Ok(shard) => of_shard(&api, shard).await?,
            Err(_) => named.to_owned(),
        };
        Ok(Self { api, namespace: cluster.namespace, name })
    }

    async fn patch(&self, patch: &Value) -> Result<(), Failure> {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let patched = self.api.patch(&self.name, &params, &patch).await;
        patched.map(|_| ()).map_err(|error| self.explained(&error))
    }

    fn explained(&self, error: &kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) if status.code == 404 => {
                Failure::new(format!("there is no move {} in {}", self.name, self.namespace))
                    .hint("`kubectl get irm -A` lists all moves; -n names another namespace")
            }
            kube::Error::Api(status) if status.code == 409 => {
                Failure::new(format!("{} changed meanwhile: {}", self.name, status.message))
                    .hint("look at it again, and repeat the command")
            }
            _ => explained(error),
        }
    }

    fn note(&self, output: &mut Output) {
        output.note(&format!("to watch: kubectl get irm {} -n {} -w", self.name, self.namespace));
    }
}

async fn of_shard(api: &Api<IrisShardMigration>, shard: u32) -> Result<String, Failure> {
    let fields = ListParams::default().fields(&format!("spec.shard={shard}"));
    let moves = api.list(&fields).await.map_err(|error| explained(&error))?;
    let under_way = moves
        .items
        .iter()
        .find(|one| one.status.as_ref().is_none_or(|status| status.result.is_none()));
    under_way.map(IrisShardMigration::name_any).ok_or_else(|| {
        Failure::new(format!("no move of shard {shard} is under way"))
            .hint("`kubectl get irm` lists the moves")
    })
}

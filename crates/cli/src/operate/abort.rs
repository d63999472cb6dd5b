//! `kubectl iris abort`.

use iris_crds::IrisShardMigration;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::failure::Failure;
use crate::output::Output;

use super::args::{Abort, Global};
use super::cluster::{Cluster, explained};

pub(super) async fn run(global: &Global, args: &Abort, output: &mut Output) -> Result<(), Failure> {
    let cluster = Cluster::connect(global).await?;
    let api: Api<IrisShardMigration> = cluster.api();
    let name = match args.name.parse::<u32>() {
        Ok(shard) => of_shard(&api, shard).await?,
        Err(_) => args.name.clone(),
    };
    let patch = json!({"spec": {"outcome": "Abort"}});
    let patched = api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.map_err(|error| match &error {
        kube::Error::Api(status) if status.code == 404 => {
            Failure::new(format!("there is no move {name} in {}", cluster.namespace))
                .hint("`kubectl get irm -A` lists all moves; -n names another namespace")
        }
        _ => explained(&error),
    })?;
    output.result(
        &format!("{name} is being aborted: its shard stays where it is"),
        &json!({"aborting": name}),
    )?;
    output.note(&format!("to watch: kubectl get irm {name} -n {} -w", cluster.namespace));
    Ok(())
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

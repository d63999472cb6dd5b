//! `IrisCluster`: keys, images, who may connect to whom, and the schema of the database.
//!
//! Never touches a pod; regions and pools do, once what is here is ready for them.

mod keys;
mod policies;
mod report;
mod schema;

use std::sync::Arc;
use std::time::Duration;

use iris_crds::cluster::{AdoptedImages, OperatorChanges};
use iris_crds::{IrisCluster, IrisRegion};
use kube::ResourceExt;

use crate::apply::Owner;
use crate::context::{BuiltIn, Context};
use crate::controller::{Next, Reconciler};
use crate::error::Error;
use crate::names::Labels;
use crate::secrets::{self, Need};
use crate::status;
use keys::Keyed;
pub(crate) use keys::{client_authority, client_lifetimes};
use schema::Schema;
pub(crate) use schema::database_mounts;

/// How often a cluster at rest is looked at: certificates and keys get older by themselves.
const REST: Duration = Duration::from_secs(60);

/// Looks after clusters.
#[derive(Debug, Clone, Copy)]
pub struct ClusterReconciler;

/// What is read before anything is decided.
struct Found {
    regions: Vec<Arc<IrisRegion>>,
    pools: Vec<Arc<iris_crds::IrisEdgePool>>,
}

/// What was done.
struct Done {
    keyed: Keyed,
    images: AdoptedImages,
    schema: Schema,
}

impl Reconciler for ClusterReconciler {
    type Kind = IrisCluster;

    async fn reconcile(&self, context: &Context, cluster: Arc<IrisCluster>) -> Result<Next, Error> {
        if cluster.metadata.deletion_timestamp.is_some() {
            // What belongs to it goes with it.
            return Ok(Next::OnChange);
        }
        if cluster.spec.paused {
            let status = report::paused(&cluster, context.now());
            status::write(&context.client, &*cluster, &status, None).await?;
            return Ok(Next::OnChange);
        }
        let found = find(context, &cluster);
        let done = act(context, &cluster, &found).await;
        let (status, next) = report::report(context, &cluster, &found, done);
        status::write(&context.client, &*cluster, &status, None).await?;
        Ok(next)
    }
}

fn find(context: &Context, cluster: &IrisCluster) -> Found {
    let namespace = cluster.namespace().unwrap_or_default();
    let regions = context.stores.regions_of(&namespace, &cluster.name_any());
    let pools = regions
        .iter()
        .flat_map(|region| context.stores.pools_of(&namespace, &region.name_any()))
        .collect();
    Found { regions, pools }
}

async fn act(context: &Context, cluster: &IrisCluster, found: &Found) -> Result<Done, Error> {
    let owner = Owner::of(cluster);
    let labels = Labels::of_cluster(&cluster.name_any());
    // First, and whatever else is wrong: pods that run renew their certificates.
    let keyed = keys::keep(context, cluster, &owner, &labels).await?;
    secrets::check(&context.client, &owner.namespace, &needs(cluster)).await?;
    policies::keep(context, cluster, found, &owner, &labels).await?;
    let images = adopt(cluster, &context.built_in);
    let schema = schema::bring(context, cluster, found, &owner, &images).await?;
    Ok(Done { keyed, images, schema })
}

/// The Secrets of people's that pods of this cluster mount.
pub(crate) fn needs(cluster: &IrisCluster) -> Vec<Need> {
    let cassandra = &cluster.spec.cassandra;
    let credentials = cassandra.credentials_secret_ref.as_ref().map(|reference| Need {
        name: reference.name.clone(),
        keys: &["username", "password"],
        field: "spec.cassandra.credentialsSecretRef",
    });
    let tls = cassandra.tls.as_ref().map(|tls| Need {
        name: tls.secret_ref.name.clone(),
        keys: &["ca.crt"],
        field: "spec.cassandra.tls.secretRef",
    });
    credentials.into_iter().chain(tls).collect()
}

/// The images that pods use: those that people name, and otherwise those that were taken when the
/// cluster was made, or when people last let a newer one through.
fn adopt(cluster: &IrisCluster, built_in: &BuiltIn) -> AdoptedImages {
    let policy = &cluster.spec.update_policy;
    let said = &cluster.spec.images;
    let before = cluster.status.as_ref().and_then(|status| status.images.as_ref());
    let keep = before.filter(|before| {
        policy.operator_changes == OperatorChanges::OnRequest && before.request == policy.request
    });
    let or = |said: &Option<String>, kept: Option<&String>, built_in: &str| {
        said.clone().or_else(|| kept.cloned()).unwrap_or_else(|| built_in.to_owned())
    };
    AdoptedImages {
        dataplane: or(&said.dataplane, keep.map(|images| &images.dataplane), &built_in.dataplane),
        control_plane: or(
            &said.control_plane,
            keep.map(|images| &images.control_plane),
            &built_in.control_plane,
        ),
        request: policy.request,
    }
}

/// Images that the operator came with and that wait to be let through, in words.
fn waiting_images(
    cluster: &IrisCluster,
    images: &AdoptedImages,
    built_in: &BuiltIn,
) -> Vec<String> {
    let said = &cluster.spec.images;
    let differs = |said: &Option<String>, used: &str, built_in: &str, what: &str| {
        let waits = said.is_none() && used != built_in;
        waits.then(|| format!("{what}: {used} -> {built_in}"))
    };
    let dataplane =
        differs(&said.dataplane, &images.dataplane, &built_in.dataplane, "the data plane's image");
    let control_plane = differs(
        &said.control_plane,
        &images.control_plane,
        &built_in.control_plane,
        "the control plane's image",
    );
    dataplane.into_iter().chain(control_plane).collect()
}

#[cfg(test)]
pub(crate) mod tests;

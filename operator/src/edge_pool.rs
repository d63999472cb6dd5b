//! `IrisEdgePool`: edges, the Service in front of them, and the certificate that clients see.

mod build;
mod connections;
mod listener;
mod report;

use std::sync::Arc;
use std::time::Duration;

use iris_crds::{IrisCluster, IrisEdgePool, IrisRegion};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use kube::api::Api;
use kube::{Client, ResourceExt};

use crate::apply::{Owner, Part};
use crate::context::Context;
use crate::controller::{Next, Reconciler};
use crate::error::{Error, Tried};
use crate::{gate, names, status, troubles};
use listener::Certificate;

/// How often a pool at rest is looked at: its certificate gets older by itself.
const REST: Duration = Duration::from_secs(30);
const UNDERWAY: Duration = Duration::from_secs(3);

/// Looks after edge pools.
#[derive(Debug, Clone, Copy)]
pub struct EdgePoolReconciler;

/// What a pool refers to.
struct Found {
    region: Arc<IrisRegion>,
    cluster: Arc<IrisCluster>,
}

/// What was done.
struct Applied {
    waiting: Option<String>,
    certificate: Certificate,
}

impl Reconciler for EdgePoolReconciler {
    type Kind = IrisEdgePool;

    async fn reconcile(&self, context: &Context, pool: Arc<IrisEdgePool>) -> Result<Next, Error> {
        if pool.metadata.deletion_timestamp.is_some() {
            return Ok(Next::OnChange);
        }
        if pool.spec.paused {
            let status = report::paused(&pool, context.now());
            status::write(&context.client, &*pool, &status, None).await?;
            return Ok(Next::OnChange);
        }
        let namespace = pool.namespace().unwrap_or_default();
        let region = gate::region(&context.stores, &namespace, &pool.spec.region_ref.name)?;
        let cluster = gate::cluster(&context.stores, &namespace, &region.spec.cluster_ref.name)?;
        let found = Found { region, cluster };
        let applied = act(context, &found, &pool).await;
        let seen = observe(context, &found, &pool).await?;
        let facts = report::Facts { cluster: &found.cluster, pool: &pool, seen: &seen };
        let (status, settled) = report::report(&facts, &applied, context.now());
        status::write(&context.client, &*pool, &status, None).await?;
        Ok(match applied {
            Err(error) => Next::Held(error),
            Ok(_) if settled => Next::After(REST),
            Ok(_) => Next::After(UNDERWAY),
        })
    }
}

async fn act(context: &Context, found: &Found, pool: &IrisEdgePool) -> Result<Applied, Error> {
    gate::check_running(&found.cluster)?;
    if found.region.spec.paused {
        let name = found.region.name_any();
        return Err(Error::waiting("RegionPaused", format!("IrisRegion {name} is paused")));
    }
    let owner = Owner::of(pool);
    let ready = gate::ready(Arc::clone(&found.cluster))?;
    let certificate = listener::keep(context, &ready.cluster, pool, &owner).await?;
    let built = build::Builder {
        ready: &ready,
        region: &found.region,
        pool,
        owner: &owner,
        built_in: &context.built_in,
    };
    context.applier.apply(&owner, &built.config()?).await?;
    context.applier.apply(&owner, &built.service()).await?;
    context.applier.apply(&owner, &built.budget()).await?;
    let name = names::edge(&pool.name_any());
    let live: Option<Deployment> = read(&context.client, &owner.namespace, &name).await?;
    // Somebody else's Deployment says nothing of ours; applying will refuse it.
    let live = live.filter(|live| owner.owns(&live.metadata));
    let (deployment, waiting) = built.deployment(live.as_ref())?;
    context.applier.apply(&owner, &deployment).await?;
    match built.autoscaler() {
        Some(autoscaler) => context.applier.apply(&owner, &autoscaler).await?,
        None => context.applier.remove::<HorizontalPodAutoscaler>(&owner, &name).await?,
    }
    Ok(Applied { waiting, certificate })
}

/// What there is of a pool.
struct Seen {
    deployment: Option<Deployment>,
    service: Option<Service>,
    autoscaler: Option<HorizontalPodAutoscaler>,
    troubles: Vec<String>,
    connections: Option<u64>,
}

async fn observe(context: &Context, found: &Found, pool: &IrisEdgePool) -> Result<Seen, Error> {
    let namespace = pool.namespace().unwrap_or_default();
    let (client, name) = (&context.client, names::edge(&pool.name_any()));
    let deployment: Option<Deployment> = read(client, &namespace, &name).await?;
    let service: Option<Service> = read(client, &namespace, &name).await?;
    let autoscaler = match pool.spec.autoscale {
        Some(_) => read(client, &namespace, &name).await?,
        None => None,
    };
    let labels = build::labels(&found.cluster, &found.region, pool);
    let selector = names::selector_text(&labels.selector());
    let counts = report::Counts::of(deployment.as_ref());
    let troubles = if counts.running > counts.ready {
        troubles::of_pods(client, &namespace, &selector).await?
    } else {
        Vec::new()
    };
    let connections = if counts.ready > 0 {
        connections::count(context, &found.cluster, &namespace, &selector).await
    } else {
        Some(0)
    };
    Ok(Seen { deployment, service, autoscaler, troubles, connections })
}

async fn read<K: Part>(client: &Client, namespace: &str, name: &str) -> Result<Option<K>, Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.get_opt(name).await.tried(|| format!("cannot read {} {namespace}/{name}", K::kind(&())))
}

#[cfg(test)]
mod tests;

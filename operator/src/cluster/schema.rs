//! The schema of the database: a Job for each digest of what decides it. Nothing that reaches the
//! database by new settings is rolled out before the Job has reached it by the same settings.

use std::time::Duration;

use iris_crds::cluster::{AdoptedImages, SchemaStatus};
use iris_crds::common::{PodOverlay, Resources, Time};
use iris_crds::{IrisCluster, IrisRegion};
use iris_runtime::config::CONFIG_PATH;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};

use super::Found;
use crate::apply::Owner;
use crate::context::Context;
use crate::error::{Error, Tried};
use crate::names::{self, Labels, SCHEMA_ROLE};
use crate::pods::{self, CASSANDRA_PATH, CASSANDRA_TLS_PATH, Fallback, Mount, Plan};
use crate::{rollout, settings};

/// A Job that takes longer is given up: it waits for a database that is not there.
const DEADLINE: Duration = Duration::from_secs(600);
/// The first wait before a Job that failed is made again; it doubles.
const RETRY_FIRST_S: u64 = 10;
const RETRY_LAST_S: u64 = 300;

/// How the schema stands.
pub(super) enum Schema {
    /// No region says which datacenter there is.
    NoRegion,
    /// Applied, as it is wanted.
    Applied(SchemaStatus),
    /// A Job runs.
    Running(SchemaStatus),
    /// The Job failed; it is made again after a while.
    Failed(SchemaStatus),
}

pub(super) async fn bring(
    context: &Context,
    cluster: &IrisCluster,
    found: &Found,
    owner: &Owner,
    images: &AdoptedImages,
) -> Result<Schema, Error> {
    let Some(region) = oldest(found) else { return Ok(Schema::NoRegion) };
    let wanted = digest(cluster, found, images)?;
    let before = cluster.status.as_ref().and_then(|status| status.schema.clone());
    let status = carried(before.unwrap_or_default(), &wanted);
    if status.applied.as_ref() == Some(&wanted) {
        return Ok(Schema::Applied(status));
    }
    let name = names::schema_job(&cluster.name_any(), &wanted);
    let api: Api<Job> = Api::namespaced(context.client.clone(), &owner.namespace);
    let there = api.get_opt(&name).await;
    let there = there.tried(|| format!("cannot read Job {}/{name}", owner.namespace))?;
    let Some(job) = there else {
        if waits(&status, context.now_s()) {
            return Ok(Schema::Failed(status));
        }
        make(context, cluster, region, owner, images, &name).await?;
        return Ok(Schema::Running(status));
    };
    owner.check("Job", &job.metadata)?;
    match ended(&job) {
        None => Ok(Schema::Running(status)),
        Some(true) => {
            context.events.normal(cluster, "SchemaApplied", format!("by Job {name}")).await;
            let applied = SchemaStatus {
                applied: Some(wanted.clone()),
                wanted: Some(wanted),
                ..SchemaStatus::default()
            };
            Ok(Schema::Applied(applied))
        }
        Some(false) => {
            let why = reason(&context.client, &owner.namespace, &job).await?;
            // Made again once the wait is over, under the same name.
            remove(&api, &job).await?;
            let status = SchemaStatus {
                failures: status.failures.saturating_add(1),
                last_failure: Some(why),
                last_failure_at: Some(context.now()),
                ..status
            };
            Ok(Schema::Failed(status))
        }
    }
}

/// The region whose datacenter the Job connects to first.
fn oldest(found: &Found) -> Option<&IrisRegion> {
    let key = |region: &&std::sync::Arc<IrisRegion>| {
        (region.metadata.creation_timestamp.clone().map(|time| time.0), region.name_any())
    };
    found.regions.iter().min_by_key(key).map(|region| &**region)
}

/// What decides the schema: the program that applies it and how it reaches the database.
fn digest(cluster: &IrisCluster, found: &Found, images: &AdoptedImages) -> Result<String, Error> {
    let mut datacenters: Vec<_> =
        found.regions.iter().map(|region| &region.spec.cassandra_datacenter).collect();
    datacenters.sort();
    datacenters.dedup();
    let spec = &cluster.spec;
    let parts: [&dyn rollout::erased::Json; 5] =
        [&images.dataplane, &spec.cassandra, &spec.profile, &spec.ack_policy, &datacenters];
    Ok(rollout::inputs(&parts)?.chars().take(8).collect())
}

/// Failures of something that is no longer wanted are forgotten.
fn carried(before: SchemaStatus, wanted: &str) -> SchemaStatus {
    if before.wanted.as_deref() == Some(wanted) {
        return before;
    }
    SchemaStatus {
        applied: before.applied,
        wanted: Some(wanted.to_owned()),
        ..SchemaStatus::default()
    }
}

fn waits(status: &SchemaStatus, now_s: u64) -> bool {
    let Some(failed) = status.last_failure_at.map(Time::unix) else { return false };
    let doublings = status.failures.saturating_sub(1).min(10);
    let wait_s = (RETRY_FIRST_S << doublings).min(RETRY_LAST_S);
    now_s < failed.saturating_add(wait_s)
}

fn ended(job: &Job) -> Option<bool> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    let holds = |kind| {
        conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True")
    };
    if holds("Complete") {
        Some(true)
    } else if holds("Failed") {
        Some(false)
    } else {
        None
    }
}

async fn make(
    context: &Context,
    cluster: &IrisCluster,
    region: &IrisRegion,
    owner: &Owner,
    images: &AdoptedImages,
    name: &str,
) -> Result<(), Error> {
    let cluster_name = cluster.name_any();
    let labels = labels(&cluster_name);
    let account = ServiceAccount {
        metadata: owner.part(names::schema(&cluster_name), &labels),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    context.applier.apply(owner, &account).await?;
    let told = settings::build(cluster, region, None, &context.built_in);
    let map = ConfigMap {
        metadata: owner.part(names::schema(&cluster_name), &labels),
        data: Some([(settings::FILE.to_owned(), settings::text(&told)?)].into()),
        ..ConfigMap::default()
    };
    context.applier.apply(owner, &map).await?;
    let job = build(cluster, owner, images, name)?;
    let api: Api<Job> = Api::namespaced(context.client.clone(), &owner.namespace);
    match api.create(&PostParams::default(), &job).await {
        Ok(_) => Ok(()),
        // The one that failed is still being removed.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error).tried(|| format!("cannot make Job {name}")),
    }
}

fn labels(cluster: &str) -> Labels {
    Labels { role: Some(SCHEMA_ROLE), ..Labels::of_cluster(cluster) }
}

/// The Job.
fn build(
    cluster: &IrisCluster,
    owner: &Owner,
    images: &AdoptedImages,
    name: &str,
) -> Result<Job, Error> {
    let cluster_name = cluster.name_any();
    let labels = labels(&cluster_name);
    let mut mounts = vec![Mount::config_map("config", names::schema(&cluster_name), CONFIG_PATH)];
    mounts.extend(database_mounts(cluster));
    let plan = Plan {
        labels: &labels,
        service_account: names::schema(&cluster_name),
        image: images.dataplane.clone(),
        images: &cluster.spec.images,
        args: ["schema", "apply", "--config", CONFIG_PATH].map(str::to_owned).into(),
        ports: Vec::new(),
        mounts,
        env: Vec::new(),
        resources: &Resources::default(),
        fallback: Fallback { cpu: "20m", memory: "64Mi", memory_max: "256Mi" },
        overlay: &PodOverlay::default(),
        grace_s: 30,
        linger_s: None,
        settings: name.to_owned(),
    };
    Ok(Job {
        metadata: owner.part(name, &labels),
        spec: Some(JobSpec {
            // The operator makes it again, with the reason of the failure at hand.
            backoff_limit: Some(0),
            active_deadline_seconds: i64::try_from(DEADLINE.as_secs()).ok(),
            // That it was applied is in the cluster's status by then.
            ttl_seconds_after_finished: Some(86_400),
            template: pods::job_template(&plan)?,
            ..JobSpec::default()
        }),
        status: None,
    })
}

/// What reaches the database.
pub(crate) fn database_mounts(cluster: &IrisCluster) -> Vec<Mount> {
    let cassandra = &cluster.spec.cassandra;
    let credentials = cassandra.credentials_secret_ref.as_ref();
    let credentials =
        credentials.map(|secret| Mount::secret("cassandra", secret.name.clone(), CASSANDRA_PATH));
    let tls = cassandra
        .tls
        .as_ref()
        .map(|tls| Mount::secret("cassandra-tls", tls.secret_ref.name.clone(), CASSANDRA_TLS_PATH));
    credentials.into_iter().chain(tls).collect()
}

/// Why a Job failed, in the words of its pod where there are any.
async fn reason(client: &Client, namespace: &str, job: &Job) -> Result<String, Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let of_job = format!("batch.kubernetes.io/job-name={}", job.name_any());
    let pods = api.list(&ListParams::default().labels(&of_job)).await;
    let pods = pods.tried(|| "cannot list the schema job's pods".to_owned())?;
    let said = pods.items.iter().filter_map(crate::troubles::last_words).next_back();
    let by_job = job.status.as_ref().and_then(|status| {
        let failed = status.conditions.as_deref()?.iter().find(|one| one.type_ == "Failed")?;
        failed.message.clone().or_else(|| failed.reason.clone())
    });
    Ok(said.or(by_job).unwrap_or_else(|| "the Job failed and left no word".to_owned()))
}

async fn remove(api: &Api<Job>, job: &Job) -> Result<(), Error> {
    let params = DeleteParams::background()
        .preconditions(Preconditions { uid: job.uid(), resource_version: None });
    match api.delete(&job.name_any(), &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).tried(|| format!("cannot delete Job {}", job.name_any())),
    }
}

//! What pods are told: `config.json`, from what people said.

use iris_crds::cluster::{AckPolicy, Profile};
use iris_crds::{IrisCluster, IrisEdgePool, IrisRegion};
use iris_runtime::config::{self, Cassandra, Drain, Etcd, Limits, Retention, Settings};
use kube::ResourceExt;

use crate::context::BuiltIn;
use crate::error::Error;
use crate::names;
use crate::pods::{CASSANDRA_PATH, CASSANDRA_TLS_PATH, ETCD_TLS_PATH};

/// The key in ConfigMaps.
pub const FILE: &str = "config.json";

/// Of the grace that a pod has to end, what is left after the shards have gone.
const LAST_SECONDS: u32 = 5;

/// The settings of a region's pods; those of a pool's edges say how they let clients go.
pub fn build(
    cluster: &IrisCluster,
    region: &IrisRegion,
    pool: Option<&IrisEdgePool>,
    built_in: &BuiltIn,
) -> Settings {
    let namespace = cluster.namespace().unwrap_or_default();
    let (name, region_name) = (cluster.name_any(), region.name_any());
    let spec = &cluster.spec;
    let token_issuer = spec.auth.token_issuer.clone();
    Settings {
        shard_count: spec.shard_count,
        ack_policy: ack_policy(spec.ack_policy),
        profile: profile(spec.profile),
        cassandra: cassandra(cluster, region),
        etcd: Etcd {
            endpoints: region.spec.etcd.endpoints.clone(),
            tls_path: region.spec.etcd.tls.as_ref().map(|_| ETCD_TLS_PATH.into()),
            prefix: format!("/iris/{namespace}/{name}/{region_name}/"),
        },
        control_plane: names::control_plane_address(&namespace, &region_name),
        owners: region.spec.owners.replicas,
        issuer: built_in.issuer.clone(),
        retention: Retention {
            undelivered_days: spec.retention.undelivered_days,
            history_days: spec.retention.history_days,
        },
        limits: Limits {
            handshakes_per_second: spec.limits.handshakes_per_second,
            connections_per_edge: spec.limits.connections_per_edge,
            registrations_per_second: spec.limits.registrations_per_second,
            sends_per_second: spec.limits.sends_per_second,
        },
        token_issuer: token_issuer
            .unwrap_or_else(|| format!("https://iris.dev/{namespace}/{name}")),
        drain: pool.map_or_else(Drain::default, |pool| Drain {
            connections_per_second: pool.spec.drain.connections_per_second,
            timeout_seconds: pool.spec.drain.timeout_seconds,
        }),
        leave_seconds: region.spec.owners.grace_seconds.saturating_sub(LAST_SECONDS).max(1),
        namespace,
        cluster: name,
        region: region_name,
    }
}

/// As it is mounted.
pub fn text(settings: &Settings) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(settings)
        .map_err(|error| Error::Internal(format!("settings cannot be written: {error}")))?;
    Ok(format!("{text}\n"))
}

/// A digest of what a process reads once: a change of it needs a restart. How many owners there are is
/// not among it, nor how long they may take to leave: the template of their pods has that.
pub fn digest(settings: &Settings) -> Result<String, Error> {
    let leave_seconds = config::leave_seconds();
    let read_once = Settings { owners: 0, leave_seconds, ..settings.clone() };
    crate::rollout::inputs(&[&read_once])
}

fn cassandra(cluster: &IrisCluster, region: &IrisRegion) -> Cassandra {
    let said = &cluster.spec.cassandra;
    Cassandra {
        contact_points: said.contact_points.clone(),
        datacenter: region.spec.cassandra_datacenter.clone(),
        keyspace: said.keyspace.clone(),
        credentials_path: said.credentials_secret_ref.as_ref().map(|_| CASSANDRA_PATH.into()),
        tls_path: said.tls.as_ref().map(|_| CASSANDRA_TLS_PATH.into()),
    }
}

fn ack_policy(policy: AckPolicy) -> config::AckPolicy {
    match policy {
        AckPolicy::HomeRegion => config::AckPolicy::HomeRegion,
        AckPolicy::MajorityOfRegions => config::AckPolicy::MajorityOfRegions,
        AckPolicy::AllRegions => config::AckPolicy::AllRegions,
    }
}

fn profile(profile: Profile) -> config::Profile {
    match profile {
        Profile::Production => config::Profile::Production,
        Profile::Development => config::Profile::Development,
    }
}

//! What a pool's status says. Pure.

use iris_crds::common::Time;
use iris_crds::conditions::{Conditions, Progress, State};
use iris_crds::edge_pool::ServiceType;
use iris_crds::{IrisCluster, IrisEdgePool, IrisEdgePoolStatus};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use super::{Applied, Seen};
use crate::error::{Error, Remedy};
use crate::names::{self, CLUSTER_LABEL, POOL_LABEL, ROLE_LABEL};
use crate::region::count;
use crate::status::{Reported, conditions_of};

/// What a status is made from.
pub(super) struct Facts<'a> {
    pub(super) cluster: &'a IrisCluster,
    pub(super) pool: &'a IrisEdgePool,
    pub(super) seen: &'a Seen,
}

/// Pods of the Deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) wanted: u32,
    pub(super) running: u32,
    pub(super) ready: u32,
    pub(super) updated: u32,
    pub(super) observed: bool,
}

impl Counts {
    pub(super) fn of(deployment: Option<&Deployment>) -> Self {
        let Some(deployment) = deployment else { return Self::default() };
        let wanted = count(deployment.spec.as_ref().and_then(|spec| spec.replicas));
        let Some(status) = &deployment.status else { return Self { wanted, ..Self::default() } };
        Self {
            wanted,
            running: count(status.replicas),
            ready: count(status.ready_replicas),
            updated: count(status.updated_replicas),
            observed: status.observed_generation == deployment.metadata.generation,
        }
    }

    fn settled(self) -> bool {
        self.observed
            && self.ready >= self.wanted
            && self.updated >= self.wanted
            && self.running <= self.wanted
    }
}

/// The status of a pool that people have stopped.
pub(super) fn paused(pool: &IrisEdgePool, now: Time) -> IrisEdgePoolStatus {
    let mut conditions = conditions_of(pool, now);
    conditions.set_progress(Progress::Done);
    conditions.set("Paused", true, "PausedByPeople", "spec.paused is true: nothing is changed");
    let mut status = pool.status.clone().unwrap_or_default();
    IrisEdgePool::set_conditions(&mut status, conditions.into_vec(), pool.metadata.generation);
    status
}

/// The status, and whether everything is as it should be.
pub(super) fn report(
    facts: &Facts<'_>,
    applied: &Result<Applied, Error>,
    now: Time,
) -> (IrisEdgePoolStatus, bool) {
    let Facts { cluster, pool, seen } = facts;
    let counts = Counts::of(seen.deployment.as_ref());
    let mut conditions = conditions_of(*pool, now);
    conditions.remove("Paused");
    conditions.expect(&["RequiresUpdate", "CertificateReady"]);
    availability(&mut conditions, counts, &seen.troubles);
    let settled = counts.settled();
    let text = format!("{}/{} ready, {} updated", counts.ready, counts.wanted, counts.updated);
    let reason = if settled { "AsDesired" } else { "PodsComing" };
    conditions.set("Progressing", !settled, reason, if settled { String::new() } else { text });
    let short = counts.ready > 0 && counts.ready < counts.wanted;
    let message = format!("{} of {} edges are ready", counts.ready, counts.wanted);
    let reason = if short { "BelowDesired" } else { "AsDesired" };
    conditions.set("Degraded", short, reason, if short { message } else { String::new() });
    autoscaling(&mut conditions, facts);
    if let Ok(applied) = applied {
        certificate(&mut conditions, applied, now);
        match &applied.waiting {
            Some(what) => conditions.set("RequiresUpdate", true, "OperatorIsNewer", what.clone()),
            None => conditions.set("RequiresUpdate", false, "UpToDate", ""),
        }
    }
    progress(&mut conditions, applied, settled);
    let before = pool.status.clone().unwrap_or_default();
    let certificate = applied.as_ref().ok().map(|applied| applied.certificate.not_after_s);
    let mut status = IrisEdgePoolStatus {
        observed_generation: None,
        conditions: Vec::new(),
        replicas: counts.running,
        ready_replicas: counts.ready,
        updated_replicas: counts.updated,
        selector: Some(selector(cluster, pool)),
        summary: Some(format!("{}/{}", counts.ready, counts.wanted)),
        connections: seen.connections,
        address: address(pool, seen),
        certificate_not_after: certificate.map(Time::from_unix).or(before.certificate_not_after),
    };
    IrisEdgePool::set_conditions(&mut status, conditions.into_vec(), pool.metadata.generation);
    (status, settled && applied.is_ok())
}

fn availability(conditions: &mut Conditions, counts: Counts, troubles: &[String]) {
    let told =
        if troubles.is_empty() { String::new() } else { format!(". {}", troubles.join("; ")) };
    let message = format!("{} of {} edges are ready{told}", counts.ready, counts.wanted);
    if counts.ready > 0 {
        conditions.set("Available", true, "EdgesReady", message);
    } else {
        conditions.set("Available", false, "NoEdgeReady", message);
    }
}

/// An autoscaler that cannot read its metric does nothing, and says so nowhere that people look.
fn autoscaling(conditions: &mut Conditions, facts: &Facts<'_>) {
    if facts.pool.spec.autoscale.is_none() {
        conditions.remove("AutoscaleActive");
        return;
    }
    let status = facts.seen.autoscaler.as_ref().and_then(|scaler| scaler.status.as_ref());
    let list = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let told = list.iter().find(|condition| condition.type_ == "ScalingActive");
    let Some(told) = told else {
        let message = "the autoscaler has not said yet whether it can read iris_edge_connections";
        conditions.set("AutoscaleActive", State::Unknown, "NotToldYet", message);
        return;
    };
    let message = told.message.clone().unwrap_or_default();
    if told.status == "True" {
        conditions.set("AutoscaleActive", true, "ScalingActive", message);
    } else {
        let message = format!(
            "{message}. The cluster needs a metrics adapter that serves the pod metric \
             iris_edge_connections"
        );
        conditions.set("AutoscaleActive", false, "MetricMissing", message);
    }
}

fn certificate(conditions: &mut Conditions, applied: &Applied, now: Time) {
    let certificate = &applied.certificate;
    let ends = Time::from_unix(certificate.not_after_s);
    match certificate.judge(now.unix()) {
        (_, true) => {
            let message =
                format!("the certificate ended at {ends}: clients refuse it. Renew the Secret");
            conditions.set("CertificateReady", false, "CertificateExpired", message);
        }
        (true, false) => {
            let message = format!("the certificate ends at {ends}: renew the Secret");
            conditions.set("CertificateReady", true, "CertificateEndsSoon", message);
        }
        (false, false) => {
            conditions.set("CertificateReady", true, "Valid", format!("until {ends}"));
        }
    }
}

fn progress(conditions: &mut Conditions, applied: &Result<Applied, Error>, settled: bool) {
    match applied {
        Err(error) => {
            let (reason, message) = (error.category(), error.to_string());
            let message = message.as_str();
            conditions.set_progress(match error.remedy() {
                Remedy::Time => Progress::Underway { reason, message },
                Remedy::Person => Progress::Stuck { reason, message },
            });
        }
        Ok(_) if settled => conditions.set_progress(Progress::Done),
        Ok(_) => conditions.set_progress(Progress::Underway {
            reason: "ComingUp",
            message: "see Available and Progressing",
        }),
    }
}

fn selector(cluster: &IrisCluster, pool: &IrisEdgePool) -> String {
    let region = (names::REGION_LABEL.to_owned(), pool.spec.region_ref.name.clone());
    let labels = [
        (CLUSTER_LABEL.to_owned(), cluster.name_any()),
        (POOL_LABEL.to_owned(), pool.name_any()),
        region,
        (ROLE_LABEL.to_owned(), "edge".to_owned()),
    ];
    names::selector_text(&labels.into())
}

/// Where clients connect, as far as it is known.
fn address(pool: &IrisEdgePool, seen: &Seen) -> Option<String> {
    let service = seen.service.as_ref()?;
    let port = pool.spec.listener.port;
    match pool.spec.service.kind {
        ServiceType::ClusterIP => {
            let namespace = service.namespace().unwrap_or_default();
            Some(format!("{}.{namespace}.svc:{port}", service.name_any()))
        }
        ServiceType::NodePort => {
            let ports = service.spec.as_ref()?.ports.as_ref()?;
            Some(format!("<any node>:{}", ports.first()?.node_port?))
        }
        ServiceType::LoadBalancer => {
            let balancer = service.status.as_ref()?.load_balancer.as_ref()?;
            let first = balancer.ingress.as_ref()?.first()?;
            let host = first.hostname.clone().or_else(|| first.ip.clone())?;
            Some(format!("{host}:{port}"))
        }
    }
}

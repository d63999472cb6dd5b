//! The pods of Iris, the same in all that makes them safe: no root, no rights, no writable root file
//! system, no token but the one for the issuer, and every file mounted as a directory so that what is
//! rotated reaches them.
//!
//! Nothing here talks to the API server.

mod overlay;
mod security;

use std::collections::BTreeMap;

use iris_crds::cluster::{Images, PullPolicy};
use iris_crds::common::{PodOverlay, Resources};
use iris_runtime::config::{CONFIG_PATH, IDENTITY_CACHE, TOKEN_PATH, TRUST_PATH, ports};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    HTTPGetAction, Lifecycle, LifecycleHandler, LocalObjectReference, ObjectFieldSelector, PodSpec,
    PodTemplateSpec, Probe, ProjectedVolumeSource, ResourceFieldSelector, ResourceRequirements,
    SecretVolumeSource, ServiceAccountTokenProjection, SleepAction, TopologySpreadConstraint,
    Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::error::Error;
use crate::names::Labels;

/// Where the database's user name and password are mounted.
pub const CASSANDRA_PATH: &str = "/etc/iris/cassandra";
/// Where the certificates for the database are mounted.
pub const CASSANDRA_TLS_PATH: &str = "/etc/iris/cassandra-tls";
/// Where the certificates for etcd are mounted.
pub const ETCD_TLS_PATH: &str = "/etc/iris/etcd-tls";

/// On pods: a digest of those settings that a process reads once.
pub const SETTINGS_ANNOTATION: &str = "iris.dev/settings";

/// What a pod is to be.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// Its labels; the selector is among them.
    pub labels: &'a Labels,
    /// Its service account.
    pub service_account: String,
    /// Its image.
    pub image: String,
    /// How images are pulled.
    pub images: &'a Images,
    /// The program's arguments.
    pub args: Vec<String>,
    /// Names and numbers of its ports, beside the admin port.
    pub ports: Vec<(&'static str, u16)>,
    /// What it is given to read.
    pub mounts: Vec<Mount>,
    /// Variables beside those that every pod has.
    pub env: Vec<(&'static str, String)>,
    /// What people say of its resources.
    pub resources: &'a Resources,
    /// What it gets where they say nothing.
    pub fallback: Fallback,
    /// What people say of it besides.
    pub overlay: &'a PodOverlay,
    /// How long it may take to end.
    pub grace_s: u32,
    /// How long it goes on as before when it is told to end: until others have heard of it.
    pub linger_s: Option<u32>,
    /// A digest of what it reads once.
    pub settings: String,
}

/// Resources where people say nothing.
#[derive(Debug, Clone, Copy)]
pub struct Fallback {
    /// Requested.
    pub cpu: &'static str,
    /// Requested.
    pub memory: &'static str,
    /// The limit.
    pub memory_max: &'static str,
}

/// A directory that a pod is given to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The volume's name.
    pub volume: &'static str,
    /// Where.
    pub path: String,
    /// What.
    pub source: Source,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A ConfigMap.
    ConfigMap(String),
    /// A Secret.
    Secret(String),
    /// The token for the issuer.
    IssuerToken,
    /// Memory, for the pod's own certificate.
    Memory,
}

impl Mount {
    /// A ConfigMap at the directory of `file`.
    pub fn config_map(volume: &'static str, name: String, file: &str) -> Self {
        Self { volume, path: directory_of(file), source: Source::ConfigMap(name) }
    }

    /// A Secret at a directory.
    pub fn secret(volume: &'static str, name: String, path: &str) -> Self {
        Self { volume, path: path.to_owned(), source: Source::Secret(name) }
    }

    /// What a pod needs to have a certificate, with its settings: in every pod that talks to others.
    pub fn for_identity(settings: String, trust: String) -> Vec<Self> {
        vec![
            Self::config_map("config", settings, CONFIG_PATH),
            Self::config_map("trust", trust, TRUST_PATH),
            Self {
                volume: "issuer-token",
                path: directory_of(TOKEN_PATH),
                source: Source::IssuerToken,
            },
            Self { volume: "identity", path: IDENTITY_CACHE.to_owned(), source: Source::Memory },
        ]
    }

    fn volume(&self) -> Volume {
        let mut volume = Volume { name: self.volume.to_owned(), ..Volume::default() };
        match &self.source {
            Source::ConfigMap(name) => {
                let source = ConfigMapVolumeSource { name: name.clone(), ..Default::default() };
                volume.config_map = Some(source);
            }
            Source::Secret(name) => {
                volume.secret = Some(SecretVolumeSource {
                    secret_name: Some(name.clone()),
                    default_mode: Some(0o440),
                    ..Default::default()
                });
            }
            Source::IssuerToken => volume.projected = Some(issuer_token()),
            Source::Memory => {
                volume.empty_dir = Some(EmptyDirVolumeSource {
                    medium: Some("Memory".to_owned()),
                    size_limit: Some(Quantity("1Mi".to_owned())),
                });
            }
        }
        volume
    }

    fn mount(&self) -> VolumeMount {
        VolumeMount {
            name: self.volume.to_owned(),
            mount_path: self.path.clone(),
            read_only: Some(self.source != Source::Memory),
            ..VolumeMount::default()
        }
    }
}

fn issuer_token() -> ProjectedVolumeSource {
    let token = ServiceAccountTokenProjection {
        audience: Some("iris-issuer".to_owned()),
        expiration_seconds: Some(3600),
        path: file_name_of(TOKEN_PATH),
    };
    ProjectedVolumeSource {
        default_mode: Some(0o440),
        sources: Some(vec![VolumeProjection {
            service_account_token: Some(token),
            ..VolumeProjection::default()
        }]),
    }
}

/// The template of a pod.
pub fn template(plan: &Plan<'_>) -> Result<PodTemplateSpec, Error> {
    let role = plan.labels.role.unwrap_or("pod");
    let container = Container {
        name: role.to_owned(),
        image: Some(plan.image.clone()),
        image_pull_policy: Some(pull_policy(plan.images.pull_policy)),
        args: Some(plan.args.clone()),
        env: Some(environment(plan)),
        ports: Some(container_ports(plan)),
        resources: Some(resources(plan)),
        volume_mounts: Some(plan.mounts.iter().map(Mount::mount).collect()),
        security_context: Some(security::of_container()),
        startup_probe: Some(probe("/livez", 1, 300)),
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        lifecycle: plan.linger_s.map(linger),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    };
    let mut template = bare_template(plan, container);
    let spec = template.spec.get_or_insert_default();
    spec.topology_spread_constraints = Some(spread(plan.labels));
    overlay::lay(plan.overlay, &mut template)?;
    Ok(template)
}

/// The template of a pod that runs once: it has no health to ask for.
pub fn job_template(plan: &Plan<'_>) -> Result<PodTemplateSpec, Error> {
    let mut template = template(plan)?;
    let spec = template.spec.get_or_insert_default();
    spec.restart_policy = Some("Never".to_owned());
    spec.topology_spread_constraints = None;
    for container in &mut spec.containers {
        (container.startup_probe, container.liveness_probe) = (None, None);
        (container.readiness_probe, container.ports) = (None, None);
    }
    Ok(template)
}

fn bare_template(plan: &Plan<'_>, container: Container) -> PodTemplateSpec {
    let secrets = plan.images.pull_secrets.iter();
    let secrets: Vec<_> =
        secrets.map(|secret| LocalObjectReference { name: secret.name.clone() }).collect();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(plan.labels.all()),
            annotations: Some([(SETTINGS_ANNOTATION.to_owned(), plan.settings.clone())].into()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(plan.service_account.clone()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(i64::from(plan.grace_s)),
            security_context: Some(security::of_pod()),
            image_pull_secrets: Some(secrets).filter(|secrets| !secrets.is_empty()),
            volumes: Some(plan.mounts.iter().map(Mount::volume).collect()),
            containers: vec![container],
            ..PodSpec::default()
        }),
    }
}

fn environment(plan: &Plan<'_>) -> Vec<EnvVar> {
    let fields = [
        ("IRIS_POD_NAME", "metadata.name"),
        ("IRIS_POD_UID", "metadata.uid"),
        ("IRIS_POD_IP", "status.podIP"),
        ("IRIS_NODE", "spec.nodeName"),
        // Empty where the API server does not copy a node's zone to its pods.
        ("IRIS_ZONE", "metadata.labels['topology.kubernetes.io/zone']"),
    ];
    let fields = fields.into_iter().map(|(name, path)| EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: path.to_owned(),
            }),
            ..EnvVarSource::default()
        }),
    });
    let cores = EnvVar {
        name: "IRIS_CORES".to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            resource_field_ref: Some(ResourceFieldSelector {
                container_name: None,
                resource: "requests.cpu".to_owned(),
                // Whole cores, rounded up.
                divisor: Some(Quantity("1".to_owned())),
            }),
            ..EnvVarSource::default()
        }),
    };
    let values = plan.env.iter().map(|(name, value)| EnvVar {
        name: (*name).to_owned(),
        value: Some(value.clone()),
        value_from: None,
    });
    fields.chain([cores]).chain(values).collect()
}

fn container_ports(plan: &Plan<'_>) -> Vec<ContainerPort> {
    let all = plan.ports.iter().copied().chain([("admin", ports::ADMIN)]);
    all.map(|(name, port)| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(port),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    })
    .collect()
}

fn resources(plan: &Plan<'_>) -> ResourceRequirements {
    let said = |amounts: &BTreeMap<String, iris_crds::common::Amount>| {
        let amounts = amounts.iter();
        amounts.map(|(name, amount)| (name.clone(), Quantity(amount.0.clone()))).collect()
    };
    let mut requests: BTreeMap<String, Quantity> = said(&plan.resources.requests);
    let mut limits: BTreeMap<String, Quantity> = said(&plan.resources.limits);
    let or = |amounts: &mut BTreeMap<String, Quantity>, name: &str, amount: &str| {
        amounts.entry(name.to_owned()).or_insert_with(|| Quantity(amount.to_owned()));
    };
    // A limit that people set also bounds the request, so the fallback must not exceed it.
    if !limits.contains_key("cpu") {
        or(&mut requests, "cpu", plan.fallback.cpu);
    }
    if !limits.contains_key("memory") {
        or(&mut requests, "memory", plan.fallback.memory);
        if !plan.resources.requests.contains_key("memory") {
            or(&mut limits, "memory", plan.fallback.memory_max);
        }
    }
    ResourceRequirements {
        requests: Some(requests).filter(|requests| !requests.is_empty()),
        limits: Some(limits).filter(|limits| !limits.is_empty()),
        claims: None,
    }
}

fn probe(path: &str, period_s: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(i32::from(ports::ADMIN)),
            scheme: Some("HTTPS".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_s),
        timeout_seconds: Some(5.min(period_s.max(2))),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn linger(seconds: u32) -> Lifecycle {
    let sleep = SleepAction { seconds: i64::from(seconds) };
    let pre_stop = LifecycleHandler { sleep: Some(sleep), ..LifecycleHandler::default() };
    Lifecycle { pre_stop: Some(pre_stop), ..Lifecycle::default() }
}

fn spread(labels: &Labels) -> Vec<TopologySpreadConstraint> {
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .into_iter()
        .map(|key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.to_owned(),
            // A pod in the wrong place serves; one that waits does not.
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(LabelSelector {
                match_labels: Some(labels.selector()),
                ..LabelSelector::default()
            }),
            ..TopologySpreadConstraint::default()
        })
        .collect()
}

fn pull_policy(policy: PullPolicy) -> String {
    match policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    }
    .to_owned()
}

fn directory_of(file: &str) -> String {
    file.rsplit_once('/').map_or(file, |(directory, _)| directory).to_owned()
}

fn file_name_of(file: &str) -> String {
    file.rsplit_once('/').map_or(file, |(_, name)| name).to_owned()
}

#[cfg(test)]
mod tests;

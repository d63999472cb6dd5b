//! The parts of a region, from what people said. Pure: the same words lead to the same objects.

use std::collections::BTreeMap;

use iris_crds::{IrisCluster, IrisRegion};
use iris_runtime::config::{JWT_PATH, ports};
use iris_runtime::tls::Role;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment, StatefulSet,
    StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    ConfigMap, PodTemplateSpec, Service, ServiceAccount, ServicePort, ServiceSpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::apply::Owner;
use crate::context::BuiltIn;
use crate::error::Error;
use crate::gate::ReadyCluster;
use crate::names::{self, Labels};
use crate::pods::{self, ETCD_TLS_PATH, Fallback, Mount, Plan};
use crate::rollout::{self, Settled};
use crate::{cluster, settings};

/// The Deployment and the Service of the control plane.
pub(super) fn control_plane_name(region: &IrisRegion) -> String {
    names::workload(&region.name_any(), Role::ControlPlane)
}

/// The StatefulSet and the Service of the owners.
pub(super) fn owners_name(region: &IrisRegion) -> String {
    names::workload(&region.name_any(), Role::Owner)
}

/// The labels of a role's pods.
pub(crate) fn labels(cluster: &str, region: &IrisRegion, role: Role) -> Labels {
    Labels::of_region(cluster, &region.name_any(), Some(role))
}

/// A service account for each role: what a pod is follows from it.
pub(super) fn accounts(
    cluster: &IrisCluster,
    region: &IrisRegion,
    owner: &Owner,
) -> Vec<ServiceAccount> {
    let roles = [Role::Owner, Role::ControlPlane, Role::Edge].into_iter();
    roles
        .map(|role| ServiceAccount {
            metadata: owner.part(
                names::workload(&region.name_any(), role),
                &labels(&cluster.name_any(), region, role),
            ),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        })
        .collect()
}

/// Builds what needs a cluster that is ready.
pub(super) struct Builder<'a> {
    pub(super) ready: &'a ReadyCluster,
    pub(super) region: &'a IrisRegion,
    pub(super) owner: &'a Owner,
    pub(super) built_in: &'a BuiltIn,
}

impl Builder<'_> {
    fn cluster(&self) -> &IrisCluster {
        &self.ready.cluster
    }

    fn labels(&self, role: Role) -> Labels {
        labels(&self.cluster().name_any(), self.region, role)
    }

    /// The settings of the region's own pods.
    pub(super) fn config(&self) -> Result<ConfigMap, Error> {
        let told = settings::build(self.cluster(), self.region, None, self.built_in);
        let labels = Labels::of_region(&self.cluster().name_any(), &self.region.name_any(), None);
        Ok(ConfigMap {
            metadata: self.owner.part(names::config(&self.region.name_any()), &labels),
            data: Some([(settings::FILE.to_owned(), settings::text(&told)?)].into()),
            ..ConfigMap::default()
        })
    }

    /// Headless: each pod is reached by itself, ready or not, because they find each other first.
    pub(super) fn services(&self) -> Vec<Service> {
        let parts = [
            (Role::Owner, owners_name(self.region), "peer", ports::PEER),
            (Role::ControlPlane, control_plane_name(self.region), "control", ports::CONTROL),
        ];
        let service = |(role, name, port_name, port): (Role, String, &str, u16)| {
            let labels = self.labels(role);
            Service {
                metadata: self.owner.part(name, &labels),
                spec: Some(ServiceSpec {
                    cluster_ip: Some("None".to_owned()),
                    publish_not_ready_addresses: Some(true),
                    selector: Some(labels.selector()),
                    ports: Some(vec![service_port(port_name, port)]),
                    ..ServiceSpec::default()
                }),
                status: None,
            }
        };
        parts.into_iter().map(service).collect()
    }

    /// One at a time, and a pod that is broken anyway does not hold up a node's drain.
    pub(super) fn budgets(&self) -> Vec<PodDisruptionBudget> {
        let parts = [
            (Role::Owner, owners_name(self.region)),
            (Role::ControlPlane, control_plane_name(self.region)),
        ];
        parts.into_iter().map(|(role, name)| budget(self.owner, name, &self.labels(role))).collect()
    }

    /// The control plane, and what waits to be let through.
    pub(super) fn control_plane(
        &self,
        live: Option<&BTreeMap<String, String>>,
    ) -> Result<(Deployment, Option<String>), Error> {
        let labels = self.labels(Role::ControlPlane);
        let said = &self.region.spec.control_plane;
        let plan = Plan {
            labels: &labels,
            service_account: control_plane_name(self.region),
            image: self.ready.images.control_plane.clone(),
            images: &self.cluster().spec.images,
            args: Vec::new(),
            ports: vec![("control", ports::CONTROL)],
            mounts: self.mounts(false),
            env: Vec::new(),
            resources: &said.resources,
            fallback: Fallback { cpu: "50m", memory: "64Mi", memory_max: "512Mi" },
            overlay: &said.template,
            grace_s: 30,
            linger_s: None,
            settings: self.settings_digest()?,
        };
        let Settled { template, annotations, waiting } =
            self.settle(live, pods::template(&plan)?, &(&said.resources, &said.template))?;
        let mut metadata = self.owner.part(control_plane_name(self.region), &labels);
        metadata.annotations = Some(annotations);
        let deployment = Deployment {
            metadata,
            spec: Some(DeploymentSpec {
                replicas: i32::try_from(said.replicas).ok(),
                selector: selector(&labels),
                strategy: Some(gently()),
                revision_history_limit: Some(3),
                template,
                ..DeploymentSpec::default()
            }),
            status: None,
        };
        Ok((deployment, waiting))
    }

    /// The owners, and what waits to be let through.
    pub(super) fn owners(
        &self,
        live: Option<&BTreeMap<String, String>>,
    ) -> Result<(StatefulSet, Option<String>), Error> {
        let labels = self.labels(Role::Owner);
        let said = &self.region.spec.owners;
        let plan = Plan {
            labels: &labels,
            service_account: owners_name(self.region),
            image: self.ready.images.dataplane.clone(),
            images: &self.cluster().spec.images,
            args: vec!["owner".to_owned()],
            ports: vec![("peer", ports::PEER)],
            mounts: self.mounts(true),
            env: Vec::new(),
            resources: &said.resources,
            fallback: Fallback { cpu: "100m", memory: "192Mi", memory_max: "1Gi" },
            overlay: &said.template,
            grace_s: said.grace_seconds,
            linger_s: None,
            settings: self.settings_digest()?,
        };
        let own = (&said.resources, &said.template, said.grace_seconds);
        let Settled { template, annotations, waiting } =
            self.settle(live, pods::template(&plan)?, &own)?;
        let mut metadata = self.owner.part(owners_name(self.region), &labels);
        metadata.annotations = Some(annotations);
        let set = StatefulSet {
            metadata,
            spec: Some(StatefulSetSpec {
                replicas: i32::try_from(said.replicas).ok(),
                selector: selector(&labels),
                service_name: Some(owners_name(self.region)),
                pod_management_policy: Some("Parallel".to_owned()),
                update_strategy: Some(StatefulSetUpdateStrategy {
                    type_: Some("OnDelete".to_owned()),
                    rolling_update: None,
                }),
                revision_history_limit: Some(3),
                template,
                ..StatefulSetSpec::default()
            }),
            status: None,
        };
        Ok((set, waiting))
    }

    fn mounts(&self, signs_tokens: bool) -> Vec<Mount> {
        let cluster_name = self.cluster().name_any();
        let config = names::config(&self.region.name_any());
        let mut mounts = Mount::for_identity(config, names::trust(&cluster_name));
        mounts.extend(cluster::database_mounts(self.cluster()));
        let etcd = self.region.spec.etcd.tls.as_ref().map(|tls| tls.secret_ref.name.clone());
        mounts.extend(etcd.map(|secret| Mount::secret("etcd-tls", secret, ETCD_TLS_PATH)));
        if signs_tokens {
            let keys = names::signing_keys(&cluster_name);
            mounts.push(Mount::secret("jwt", keys, JWT_PATH));
        }
        mounts
    }

    fn settings_digest(&self) -> Result<String, Error> {
        let told = settings::build(self.cluster(), self.region, None, self.built_in);
        settings::digest(&told)
    }

    fn settle(
        &self,
        live: Option<&BTreeMap<String, String>>,
        built: PodTemplateSpec,
        own: &impl serde::Serialize,
    ) -> Result<Settled, Error> {
        let region = &self.region.spec;
        let common = (&region.etcd, &region.cassandra_datacenter, &self.ready.images);
        let inputs = rollout::inputs(&[&said_of(self.cluster()), &common, own])?;
        rollout::settle(live, built, &inputs, self.cluster().spec.update_policy.operator_changes)
    }
}

/// What people said in a cluster that may change its pods.
pub(crate) fn said_of(cluster: &IrisCluster) -> impl serde::Serialize + use<> {
    let spec = &cluster.spec;
    (
        (spec.shard_count, spec.profile, spec.ack_policy, spec.cassandra.clone()),
        (spec.auth.token_issuer.clone(), spec.retention.clone(), spec.limits.clone()),
        (spec.images.clone(), spec.update_policy.request),
    )
}

/// Selects the pods of a workload.
pub(crate) fn selector(labels: &Labels) -> LabelSelector {
    LabelSelector { match_labels: Some(labels.selector()), match_expressions: None }
}

/// No pod ends before its successor is ready.
pub(crate) fn gently() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_unavailable: Some(IntOrString::Int(0)),
            max_surge: Some(IntOrString::Int(1)),
        }),
    }
}

/// At most one pod at a time.
pub(crate) fn budget(owner: &Owner, name: String, labels: &Labels) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: owner.part(name, labels),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(labels)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

fn service_port(name: &str, port: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(port),
        target_port: Some(IntOrString::Int(i32::from(port))),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

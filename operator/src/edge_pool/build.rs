//! The parts of a pool, from what people said. Pure.

use std::collections::BTreeMap;

use iris_crds::edge_pool::{ServiceType, TrafficPolicy};
use iris_crds::{IrisCluster, IrisEdgePool, IrisRegion};
use iris_runtime::config::{JWT_PATH, LISTENER_PATH, ports};
use iris_runtime::tls::Role;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec,
    MetricTarget, PodsMetricSource,
};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::apply::Owner;
use crate::context::BuiltIn;
use crate::error::Error;
use crate::gate::ReadyCluster;
use crate::names::{self, Labels};
use crate::pods::{self, Fallback, Mount, Plan};
use crate::region::{budget, gently, said_of, selector};
use crate::{rollout, settings};

/// How many edges there are when people say nothing.
pub(super) const REPLICAS: u32 = 2;
/// What edges publish and the autoscaler reads.
const METRIC: &str = "iris_edge_connections";
/// For so long an edge that ends still takes connections: until nobody sends it new ones.
const LINGER_S: u32 = 5;
/// Beyond the drain, for what is left to close.
const GRACE_EXTRA_S: u32 = 15;

/// The labels of a pool's edges.
pub(super) fn labels(cluster: &IrisCluster, region: &IrisRegion, pool: &IrisEdgePool) -> Labels {
    Labels::of_pool(&cluster.name_any(), &region.name_any(), &pool.name_any())
}

/// Builds the parts.
pub(super) struct Builder<'a> {
    pub(super) ready: &'a ReadyCluster,
    pub(super) region: &'a IrisRegion,
    pub(super) pool: &'a IrisEdgePool,
    pub(super) owner: &'a Owner,
    pub(super) built_in: &'a BuiltIn,
}

impl Builder<'_> {
    fn labels(&self) -> Labels {
        labels(&self.ready.cluster, self.region, self.pool)
    }

    fn name(&self) -> String {
        names::edge(&self.pool.name_any())
    }

    fn settings(&self) -> iris_runtime::config::Settings {
        settings::build(&self.ready.cluster, self.region, Some(self.pool), self.built_in)
    }

    /// What the edges are told.
    pub(super) fn config(&self) -> Result<ConfigMap, Error> {
        Ok(ConfigMap {
            metadata: self.owner.part(self.name(), &self.labels()),
            data: Some([(settings::FILE.to_owned(), settings::text(&self.settings())?)].into()),
            ..ConfigMap::default()
        })
    }

    /// What clients connect to.
    pub(super) fn service(&self) -> Service {
        let labels = self.labels();
        let said = &self.pool.spec.service;
        let mut metadata = self.owner.part(self.name(), &labels);
        metadata.annotations = Some(said.annotations.clone()).filter(|said| !said.is_empty());
        let outside = said.kind != ServiceType::ClusterIP;
        let policy = match said.external_traffic_policy {
            TrafficPolicy::Cluster => "Cluster",
            TrafficPolicy::Local => "Local",
        };
        Service {
            metadata,
            spec: Some(ServiceSpec {
                type_: Some(service_type(said.kind).to_owned()),
                selector: Some(labels.selector()),
                ports: Some(vec![ServicePort {
                    name: Some("client".to_owned()),
                    port: i32::from(self.pool.spec.listener.port),
                    target_port: Some(IntOrString::Int(i32::from(ports::CLIENT))),
                    protocol: Some("TCP".to_owned()),
                    node_port: said.node_port.map(i32::from),
                    app_protocol: None,
                }]),
                load_balancer_class: said.load_balancer_class.clone(),
                external_traffic_policy: outside.then(|| policy.to_owned()),
                ..ServiceSpec::default()
            }),
            status: None,
        }
    }

    /// One edge at a time.
    pub(super) fn budget(&self) -> PodDisruptionBudget {
        budget(self.owner, self.name(), &self.labels())
    }

    /// The edges, and what waits to be let through.
    pub(super) fn deployment(
        &self,
        live: Option<&Deployment>,
    ) -> Result<(Deployment, Option<String>), Error> {
        let labels = self.labels();
        let said = &self.pool.spec;
        let plan = Plan {
            labels: &labels,
            service_account: names::workload(&self.region.name_any(), Role::Edge),
            image: self.ready.images.dataplane.clone(),
            images: &self.ready.cluster.spec.images,
            args: vec!["edge".to_owned()],
            ports: vec![("client", ports::CLIENT)],
            mounts: self.mounts(),
            env: Vec::new(),
            resources: &said.resources,
            fallback: Fallback { cpu: "100m", memory: "128Mi", memory_max: "1Gi" },
            overlay: &said.template,
            grace_s: said.drain.timeout_seconds + LINGER_S + GRACE_EXTRA_S,
            linger_s: Some(LINGER_S),
            settings: settings::digest(&self.settings())?,
        };
        let own =
            (&said.drain, &said.resources, &said.template, &said.listener.certificate_secret_ref);
        let common = (&self.ready.images, self.region.name_any());
        let inputs = rollout::inputs(&[&said_of(&self.ready.cluster), &common, &own])?;
        let changes = self.ready.cluster.spec.update_policy.operator_changes;
        let annotations: Option<&BTreeMap<String, String>> =
            live.and_then(|live| live.metadata.annotations.as_ref());
        let settled = rollout::settle(annotations, pods::template(&plan)?, &inputs, changes)?;
        let mut metadata = self.owner.part(self.name(), &labels);
        metadata.annotations = Some(settled.annotations);
        let deployment = Deployment {
            metadata,
            spec: Some(DeploymentSpec {
                replicas: Some(self.replicas(live)),
                selector: selector(&labels),
                strategy: Some(gently()),
                revision_history_limit: Some(3),
                template: settled.template,
                ..DeploymentSpec::default()
            }),
            status: None,
        };
        Ok((deployment, settled.waiting))
    }

    /// What people said; with an autoscaler what it chose, because leaving the number out would make it 1.
    fn replicas(&self, live: Option<&Deployment>) -> i32 {
        let number = match &self.pool.spec.autoscale {
            None => self.pool.spec.replicas.unwrap_or(REPLICAS),
            Some(autoscale) => {
                let chosen = live.and_then(|live| live.spec.as_ref()?.replicas);
                let chosen = chosen.and_then(|number| u32::try_from(number).ok());
                chosen.unwrap_or(autoscale.min).clamp(autoscale.min, autoscale.max)
            }
        };
        i32::try_from(number).unwrap_or(i32::MAX)
    }

    fn mounts(&self) -> Vec<Mount> {
        let cluster = self.ready.cluster.name_any();
        let pool = self.pool.name_any();
        let mut mounts = Mount::for_identity(self.name(), names::trust(&cluster));
        let public = names::public_keys(&cluster);
        let jwks = format!("{JWT_PATH}/jwks.json");
        mounts.push(Mount::config_map("jwt", public, &jwks));
        let said = self.pool.spec.listener.certificate_secret_ref.as_ref();
        let secret = said.map_or_else(|| names::listener(&pool), |secret| secret.name.clone());
        mounts.push(Mount::secret("listener", secret, LISTENER_PATH));
        mounts
    }

    /// Lets the number of edges follow their connections.
    pub(super) fn autoscaler(&self) -> Option<HorizontalPodAutoscaler> {
        let autoscale = self.pool.spec.autoscale.as_ref()?;
        let target = MetricTarget {
            type_: "AverageValue".to_owned(),
            average_value: Some(Quantity(autoscale.connections_per_pod.to_string())),
            ..MetricTarget::default()
        };
        let metric = MetricIdentifier { name: METRIC.to_owned(), selector: None };
        // Connections that an edge sends away come back to another: slowly down, quickly up.
        let scale_down = HPAScalingRules {
            stabilization_window_seconds: Some(600),
            policies: Some(vec![HPAScalingPolicy {
                type_: "Pods".to_owned(),
                value: 1,
                period_seconds: 120,
            }]),
            ..HPAScalingRules::default()
        };
        Some(HorizontalPodAutoscaler {
            metadata: self.owner.part(self.name(), &self.labels()),
            spec: Some(HorizontalPodAutoscalerSpec {
                scale_target_ref: CrossVersionObjectReference {
                    api_version: Some("apps/v1".to_owned()),
                    kind: "Deployment".to_owned(),
                    name: self.name(),
                },
                min_replicas: i32::try_from(autoscale.min).ok(),
                max_replicas: i32::try_from(autoscale.max).unwrap_or(i32::MAX),
                metrics: Some(vec![MetricSpec {
                    type_: "Pods".to_owned(),
                    pods: Some(PodsMetricSource { metric, target }),
                    ..MetricSpec::default()
                }]),
                behavior: Some(HorizontalPodAutoscalerBehavior {
                    scale_down: Some(scale_down),
                    scale_up: None,
                }),
            }),
            status: None,
        })
    }
}

fn service_type(kind: ServiceType) -> &'static str {
    match kind {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    }
}

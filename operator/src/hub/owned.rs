//! The watches of what the operator makes: metadata only. A change wakes the owner's controller, and
//! tells whether what was applied is still as it was applied.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use iris_runtime::task::Tasks;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{NamespaceResourceScope, ObjectMeta, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, Resource};
use parking_lot::Mutex;

use super::{Bell, Key, Kind, Scope};
use crate::names::MANAGER;

/// The versions of what the operator made, as the watches saw them last.
#[derive(Debug, Clone, Default)]
pub struct Owned {
    versions: Arc<Mutex<HashMap<Place, String>>>,
}

/// Kind, namespace, name.
type Place = (String, String, String);

impl Owned {
    /// The version of an object as it was seen last; none if it was not seen, or is gone.
    pub fn version(&self, kind: &str, namespace: &str, name: &str) -> Option<String> {
        let place = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.versions.lock().get(&place).cloned()
    }

    fn saw(&self, place: Place, version: Option<String>) {
        let mut versions = self.versions.lock();
        match version {
            Some(version) => versions.insert(place, version),
            None => versions.remove(&place),
        };
    }

    fn forget(&self, kind: &str) {
        self.versions.lock().retain(|place, _| place.0 != kind);
    }
}

pub(super) fn start(client: &Client, scope: &Scope, bell: &Bell, tasks: &Tasks) -> Owned {
    let owned = Owned::default();
    let from = (client, scope, bell, tasks);
    owned.watch::<Deployment>(from, "watch deployments");
    owned.watch::<StatefulSet>(from, "watch stateful sets");
    owned.watch::<Job>(from, "watch jobs");
    owned.watch::<Service>(from, "watch services");
    owned.watch::<ServiceAccount>(from, "watch service accounts");
    owned.watch::<ConfigMap>(from, "watch config maps");
    owned.watch::<PodDisruptionBudget>(from, "watch disruption budgets");
    owned.watch::<NetworkPolicy>(from, "watch network policies");
    owned.watch::<HorizontalPodAutoscaler>(from, "watch autoscalers");
    owned
}

impl Owned {
    fn watch<K>(
        &self,
        (client, scope, bell, tasks): (&Client, &Scope, &Bell, &Tasks),
        name: &'static str,
    ) where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let api = scope.api::<PartialObjectMeta<K>>(client);
        let ours = format!("app.kubernetes.io/managed-by={MANAGER}");
        let events = watch(api, watcher::Config::default().labels(&ours)).default_backoff();
        let (owned, bell) = (self.clone(), bell.clone());
        let kind = K::kind(&()).into_owned();
        tasks.spawn_critical(name, async move {
            pin_mut!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Init) => owned.forget(&kind),
                    Ok(Event::InitApply(object) | Event::Apply(object)) => {
                        let version = object.metadata.resource_version.clone();
                        owned.saw(place(&kind, &object.metadata), version);
                        ring(&bell, &object.metadata).await;
                    }
                    Ok(Event::Delete(object)) => {
                        owned.saw(place(&kind, &object.metadata), None);
                        ring(&bell, &object.metadata).await;
                    }
                    Ok(Event::InitDone) => {}
                    Err(error) => {
                        tracing::warn!(kind, error = %iris_runtime::rpc::chain(&error), "a watch was interrupted");
                    }
                }
            }
        });
    }
}

fn place(kind: &str, meta: &ObjectMeta) -> Place {
    (
        kind.to_owned(),
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

async fn ring(bell: &Bell, meta: &ObjectMeta) {
    let owners = meta.owner_references.iter().flatten();
    let ours = owners.filter(|owner| owner.api_version.starts_with("iris.dev/"));
    for owner in ours.filter(|owner| owner.controller == Some(true)) {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == owner.kind);
        if let Some(kind) = kind {
            let namespace = meta.namespace.clone().unwrap_or_default();
            bell.ring(Key { kind, namespace, name: owner.name.clone() }).await;
        }
    }
}

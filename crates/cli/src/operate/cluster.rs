//! The way to the API server, and what is read there.

use std::fmt::Debug;

use iris_crds::{IrisCluster, IrisEdgePool, IrisRegion, IrisShardMap, IrisShardMigration};
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Client, Config, Resource};
use serde::de::DeserializeOwned;

use crate::failure::Failure;

use super::args::Global;

/// A client, and the namespace that is meant.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// Whether a person named it.
    pub(super) named: bool,
}

/// Every object of Iris.
pub(super) struct Objects {
    pub(super) clusters: Vec<IrisCluster>,
    pub(super) regions: Vec<IrisRegion>,
    pub(super) pools: Vec<IrisEdgePool>,
    pub(super) maps: Vec<IrisShardMap>,
    pub(super) moves: Vec<IrisShardMigration>,
}

impl Cluster {
    pub(super) async fn connect(global: &Global) -> Result<Self, Failure> {
        // Another part of the process may have chosen one before.
        let _chosen = rustls::crypto::aws_lc_rs::default_provider().install_default().is_ok();
        let options =
            KubeConfigOptions { context: global.context.clone(), ..KubeConfigOptions::default() };
        let hint = "is there a kubeconfig (KUBECONFIG, --kubeconfig), and is --context one of its \
                    contexts? `kubectl config get-contexts` lists them";
        let failed = |error: String| Failure::new(error).hint(hint);
        let mut config = match &global.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(|error| failed(told(&error)))?;
                Config::from_custom_kubeconfig(file, &options)
                    .await
                    .map_err(|error| failed(told(&error)))?
            }
            None if global.context.is_some() => {
                Config::from_kubeconfig(&options).await.map_err(|error| failed(told(&error)))?
            }
            None => Config::infer().await.map_err(|error| failed(told(&error)))?,
        };
        config.connect_timeout = Some(std::time::Duration::from_secs(10));
        let namespace = global.namespace.clone().unwrap_or(config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| failed(told(&error)))?;
        Ok(Self { client, namespace, named: global.namespace.is_some() })
    }

    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The objects of the namespace, or of all namespaces where nobody named one.
    pub(super) async fn objects(&self, everywhere: bool) -> Result<Objects, Failure> {
        let (clusters, regions, pools, maps, moves) = futures::try_join!(
            self.list(everywhere),
            self.list(everywhere),
            self.list(everywhere),
            self.list(everywhere),
            self.list(everywhere),
        )?;
        Ok(Objects { clusters, regions, pools, maps, moves })
    }

    async fn list<K>(&self, everywhere: bool) -> Result<Vec<K>, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = if everywhere { Api::all(self.client.clone()) } else { self.api() };
        let listed = api.list(&ListParams::default()).await;
        Ok(listed.map_err(|error| explained(&error))?.items)
    }
}

/// What the API server said, with what to do about it.
pub(super) fn explained(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => {
            let failure = Failure::new(status.message.clone());
            match status.code {
                404 if status.message.contains("could not find the requested resource")
                    || status.message.contains("page not found") =>
                {
                    failure
                        .hint("Iris is not installed in this cluster: install its CRD chart first")
                }
                401 | 403 => failure.hint(
                    "this user may not do that: `kubectl auth can-i --list | grep iris.dev` shows \
                     what it may",
                ),
                _ => failure,
            }
        }
        other => Failure::new(told(other)).hint(
            "is the cluster up? `kubectl version` asks its API server; --context names another one",
        ),
    }
}

/// An error with everything that it was caused by.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

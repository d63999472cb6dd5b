//! The authorities of all clusters, in the memory of every replica: the issuer shows a certificate of
//! the right one, and calls to control planes are made in the operator's own name.
//!
//! Never writes anything: the leader's cluster reconciler does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::{StreamExt, pin_mut};
use iris_crds::IrisCluster;
use iris_runtime::clock::SharedClock;
use iris_runtime::identity::issuer_server_name;
use iris_runtime::tls::{self, Identity, Material, MaterialError, PeerName, Role};
use k8s_openapi::api::core::v1::Secret;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource};
use rustls::sign::CertifiedKey;

use crate::hub::Scope;
use crate::names;
use crate::pki::authority::Authority;
use crate::pki::{PkiError, leaf};
use crate::vault::{Kept, text_of};

/// What the watch missed is found this often.
const REFRESH: Duration = Duration::from_secs(60);

/// A cluster: its namespace and name.
pub type ClusterName = (String, String);

/// The authorities of all clusters.
#[derive(Clone)]
pub struct Keyring {
    entries: Arc<ArcSwap<BTreeMap<ClusterName, Arc<Entry>>>>,
    pod: String,
    clock: SharedClock,
}

/// A cluster's authority, and what was made with it for this replica.
pub struct Entry {
    /// Signs.
    pub authority: Authority,
    /// For how long.
    pub leaf_s: u64,
    /// This replica, in the eyes of the cluster's pods.
    pub identity: Identity,
    certified: Arc<CertifiedKey>,
    not_after_s: u64,
}

/// Why there is no entry.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// What is kept cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// What was made cannot be used.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// The API server did not give it.
    #[error("cannot read Secret {0}: {1}")]
    Api(String, Box<kube::Error>),
}

impl Keyring {
    /// Empty, for the replica in `pod`.
    pub fn new(pod: &str, clock: SharedClock) -> Self {
        Self { entries: Arc::default(), pod: pod.to_owned(), clock }
    }

    /// This replica's identity towards a cluster.
    pub fn identity(&self, cluster: &ClusterName) -> Option<Identity> {
        Some(self.entries.load().get(cluster)?.identity.clone())
    }

    /// A cluster's entry.
    pub fn entry(&self, cluster: &ClusterName) -> Option<Arc<Entry>> {
        self.entries.load().get(cluster).cloned()
    }

    /// The certificate to show to who asks by this name.
    pub fn certificate_for(&self, server_name: &str) -> Option<Arc<CertifiedKey>> {
        let entries = self.entries.load();
        let named = |(name, _): &(&ClusterName, &Arc<Entry>)| {
            issuer_server_name(&name.0, &name.1) == server_name
        };
        let (_, entry) = entries.iter().find(named)?;
        Some(Arc::clone(&entry.certified))
    }

    /// How many clusters there are.
    pub fn len(&self) -> usize {
        self.entries.load().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes over what is kept of a cluster. Nothing happens if nothing has changed and what was made
    /// with it is good for a while yet.
    pub fn put(
        &self,
        cluster: &ClusterName,
        authority: &Authority,
        leaf_s: u64,
    ) -> Result<(), KeyringError> {
        let now_s = self.clock.now().wall.0 / 1000;
        let before = self.entry(cluster);
        if let Some(before) = &before
            && before.authority == *authority
            && before.leaf_s == leaf_s
            && now_s + leaf_s / 3 < before.not_after_s
        {
            return Ok(());
        }
        let entry = Arc::new(self.make(cluster, authority, leaf_s, now_s, before.as_deref())?);
        tracing::info!(
            namespace = cluster.0,
            cluster = cluster.1,
            until_s = entry.not_after_s,
            "the operator's certificate for a cluster was made"
        );
        self.entries.rcu(|entries| {
            let mut entries = BTreeMap::clone(entries);
            entries.insert(cluster.clone(), Arc::clone(&entry));
            entries
        });
        Ok(())
    }

    /// Forgets a cluster that is gone.
    pub fn remove(&self, cluster: &ClusterName) {
        self.entries.rcu(|entries| {
            let mut entries = BTreeMap::clone(entries);
            entries.remove(cluster);
            entries
        });
    }

    fn make(
        &self,
        cluster: &ClusterName,
        authority: &Authority,
        leaf_s: u64,
        now_s: u64,
        before: Option<&Entry>,
    ) -> Result<Entry, KeyringError> {
        let (namespace, name) = cluster;
        let peer = PeerName {
            namespace: namespace.clone(),
            cluster: name.clone(),
            role: Role::Operator,
            pod: self.pod.clone(),
        };
        let dns = [issuer_server_name(namespace, name)];
        let (pair, not_after_s) = leaf::issue(authority, &peer, &dns, leaf_s, now_s)?;
        let (chain, key) = (pair.certificate.as_bytes(), pair.key.as_bytes());
        let certified = Arc::new(tls::certified_key(chain, key)?);
        let material = Material::from_pem(chain, key, authority.bundle().as_bytes())?;
        // Connections that are being made use the identity that they were given: it is renewed in place.
        let identity = match before {
            Some(before) => {
                before.identity.replace(material);
                before.identity.clone()
            }
            None => Identity::new(material),
        };
        Ok(Entry { authority: authority.clone(), leaf_s, identity, certified, not_after_s })
    }
}

/// Keeps the keyring as the clusters are, for ever.
pub async fn keep(client: Client, scope: Scope, keyring: Keyring) {
    let api = scope.api::<DeserializeGuard<IrisCluster>>(&client);
    let events = watch(api, watcher::Config::default()).default_backoff();
    pin_mut!(events);
    let mut known: BTreeMap<ClusterName, u64> = BTreeMap::new();
    let mut tick = tokio::time::interval(REFRESH);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Apply(object) | Event::InitApply(object))) => {
                    let cluster = name_of(&object);
                    let leaf_s = object.0.as_ref().map_or(86_400, |c| u64::from(c.spec.tls.leaf_seconds));
                    refresh(&client, &keyring, &cluster, leaf_s).await;
                    known.insert(cluster, leaf_s);
                }
                Some(Ok(Event::Delete(object))) => {
                    let cluster = name_of(&object);
                    known.remove(&cluster);
                    keyring.remove(&cluster);
                }
                Some(Ok(Event::Init | Event::InitDone)) => {}
                Some(Err(error)) => {
                    tracing::warn!(error = %iris_runtime::rpc::chain(&error), "the watch of clusters was interrupted");
                }
                None => return,
            },
            _ = tick.tick() => {
                for (cluster, leaf_s) in &known {
                    refresh(&client, &keyring, cluster, *leaf_s).await;
                }
            }
        }
    }
}

async fn refresh(client: &Client, keyring: &Keyring, cluster: &ClusterName, leaf_s: u64) {
    match read(client, cluster).await {
        Ok(Some(authority)) => {
            if let Err(error) = keyring.put(cluster, &authority, leaf_s) {
                tracing::warn!(%error, cluster = cluster.1, "no certificate for a cluster");
            }
        }
        // The leader has not made it yet.
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, cluster = cluster.1, "an authority cannot be used"),
    }
}

async fn read(client: &Client, cluster: &ClusterName) -> Result<Option<Authority>, KeyringError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &cluster.0);
    let name = names::authority(&cluster.1);
    let secret = api
        .get_opt(&name)
        .await
        .map_err(|error| KeyringError::Api(name.clone(), Box::new(error)))?;
    let Some(secret) = secret else { return Ok(None) };
    Ok(Some(Authority::from_data(&name, &text_of(&secret))?))
}

fn name_of<K: Resource>(object: &K) -> ClusterName {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

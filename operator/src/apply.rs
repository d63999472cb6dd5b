//! Putting what was built onto the API server: server-side apply, one field manager, and nothing
//! written again that is still as it was applied.
//!
//! Never touches an object that belongs to somebody else, whatever its name.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::{Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Tried};
use crate::hub::Owned;
use crate::names::{Labels, MANAGER};

/// The object that what is built belongs to.
#[derive(Debug, Clone)]
pub struct Owner {
    /// Its namespace.
    pub namespace: String,
    reference: OwnerReference,
}

impl Owner {
    /// Of an object that people made.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        let mut reference = object.controller_owner_ref(&()).unwrap_or_default();
        // The object need not wait for what belongs to it: that would need the right to change its
        // finalizers.
        reference.block_owner_deletion = None;
        Self { namespace: object.meta().namespace.clone().unwrap_or_default(), reference }
    }

    /// The metadata of a part.
    pub fn part(&self, name: impl Into<String>, labels: &Labels) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.into()),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels.all()),
            owner_references: Some(vec![self.reference.clone()]),
            ..ObjectMeta::default()
        }
    }

    /// Whether an object is a part of this one.
    pub fn owns(&self, meta: &ObjectMeta) -> bool {
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        owners.iter().any(|owner| owner.uid == self.reference.uid)
    }

    /// Whether an object is a part of an earlier one of the same name.
    fn owned_before(&self, meta: &ObjectMeta) -> bool {
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        owners.iter().any(|owner| {
            owner.kind == self.reference.kind
                && owner.name == self.reference.name
                && owner.uid != self.reference.uid
        })
    }

    /// Refuses an object that is there and is not a part of this one.
    pub fn check(&self, kind: &str, meta: &ObjectMeta) -> Result<(), Error> {
        if self.owns(meta) {
            return Ok(());
        }
        let name = meta.name.as_deref().unwrap_or_default();
        let (namespace, owner) = (&self.namespace, &self.reference);
        if self.owned_before(meta) {
            return Err(Error::waiting(
                "OldPartLeaving",
                format!(
                    "{kind} {namespace}/{name} is of an earlier {} and is being removed",
                    owner.kind
                ),
            ));
        }
        Err(Error::blocked(
            "NameTaken",
            format!(
                "{kind} {namespace}/{name} is there and does not belong to {} {}: \
                 rename or delete one of the two",
                owner.kind, owner.name
            ),
        ))
    }
}

/// Kinds that the operator makes.
pub trait Part:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Serialize
    + DeserializeOwned
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Part for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + Sync
        + 'static
{
}

/// Applies what was built.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    owned: Owned,
    applied: Arc<Mutex<HashMap<Place, Applied>>>,
}

/// Kind, namespace, name.
type Place = (String, String, String);

/// What was applied, and the version that it led to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Applied {
    content: u64,
    version: String,
}

impl Applier {
    /// With what the watches see.
    pub fn new(client: Client, owned: Owned) -> Self {
        Self { client, owned, applied: Arc::default() }
    }

    /// Makes the object as it was built, unless it is so.
    pub async fn apply<K: Part>(&self, owner: &Owner, object: &K) -> Result<(), Error> {
        let (kind, name) = (K::kind(&()).into_owned(), object.name_any());
        let content = serde_json::to_value(object).map_err(|error| {
            Error::Internal(format!("{kind} {name} cannot be written: {error}"))
        })?;
        let content_hash = hash(&content.to_string());
        let place = (kind.clone(), owner.namespace.clone(), name.clone());
        if self.is_applied(&place, content_hash) {
            return Ok(());
        }
        let named = || format!("{kind} {}/{name}", owner.namespace);
        let api: Api<K> = Api::namespaced(self.client.clone(), &owner.namespace);
        let there = api.get_metadata_opt(&name).await;
        if let Some(there) = there.tried(|| format!("cannot read {}", named()))? {
            owner.check(&kind, &there.metadata)?;
        }
        let params = PatchParams::apply(MANAGER).force();
        let made = api.patch(&name, &params, &Patch::Apply(&content)).await;
        let made = made.tried(|| format!("cannot apply {}", named()))?;
        if let Some(version) = made.resource_version() {
            self.applied.lock().insert(place, Applied { content: content_hash, version });
        }
        Ok(())
    }

    /// Removes a part that is no longer wanted, if it is there.
    pub async fn remove<K: Part>(&self, owner: &Owner, name: &str) -> Result<(), Error> {
        let kind = K::kind(&()).into_owned();
        if self.owned.version(&kind, &owner.namespace, name).is_none() {
            return Ok(());
        }
        let named = || format!("{kind} {}/{name}", owner.namespace);
        let api: Api<K> = Api::namespaced(self.client.clone(), &owner.namespace);
        let there: Option<PartialObjectMeta<K>> =
            api.get_metadata_opt(name).await.tried(|| format!("cannot read {}", named()))?;
        let Some(there) = there.filter(|there| owner.owns(&there.metadata)) else { return Ok(()) };
        // Exactly the object that was looked at.
        let params = DeleteParams::background()
            .preconditions(Preconditions { uid: there.uid(), resource_version: None });
        match api.delete(name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error).tried(|| format!("cannot delete {}", named())),
        }
    }

    fn is_applied(&self, place: &Place, content: u64) -> bool {
        let applied = self.applied.lock();
        let Some(applied) = applied.get(place) else { return false };
        let seen = self.owned.version(&place.0, &place.1, &place.2);
        applied.content == content && seen.as_ref() == Some(&applied.version)
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

//! The keys of a cluster: its authority, the one that clients trust, and those of tokens. Each is a
//! Secret that only the operator reads, except that owners mount the keys of tokens, and a ConfigMap
//! with the public half for everybody.

use std::collections::BTreeMap;

use iris_crds::IrisCluster;
use iris_crds::cluster::{KeyStatus, PkiStatus};
use iris_crds::common::Time;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

use crate::apply::Owner;
use crate::context::Context;
use crate::error::Error;
use crate::names::{self, Labels};
use crate::pki::PkiError;
use crate::pki::authority::{Authority, Lifetimes};
use crate::pki::tokens::{self, Keys};
use crate::vault::{self, Change, Place};

/// What of the keys people may see.
pub(super) struct Keyed {
    pub(super) pki: PkiStatus,
    pub(super) keys: KeyStatus,
}

/// How a cluster's authorities live.
fn lifetimes(cluster: &IrisCluster, leaf_s: u32) -> Lifetimes {
    let tls = &cluster.spec.tls;
    Lifetimes {
        valid_s: tls.ca_seconds.into(),
        rotate_after_s: tls.rotate_after_seconds.into(),
        settle_s: tls.settle_seconds.into(),
        leaf_s: leaf_s.into(),
        rotation: tls.rotation,
    }
}

/// How a cluster's authority for clients lives.
pub(crate) fn client_lifetimes(cluster: &IrisCluster) -> Lifetimes {
    let lifetimes = lifetimes(cluster, cluster.spec.tls.client_leaf_seconds);
    // Clients have it in their own settings: it is replaced only when it must be, or when people ask.
    Lifetimes { rotate_after_s: lifetimes.valid_s, ..lifetimes }
}

pub(super) async fn keep(
    context: &Context,
    cluster: &IrisCluster,
    owner: &Owner,
    labels: &Labels,
) -> Result<Keyed, Error> {
    let name = cluster.name_any();
    let authority = pod_authority(context, cluster, owner, labels).await?;
    let trust = one_file("ca.crt", authority.bundle());
    apply_map(context, owner, labels, names::trust(&name), trust).await?;
    let for_clients = client_authority(context, cluster, owner, labels).await?;
    let public = one_file("ca.crt", for_clients.bundle());
    apply_map(context, owner, labels, names::client_authority(&name), public).await?;
    let keys = token_keys(context, cluster, owner, labels).await?;
    let jwks = one_file("jwks.json", keys.jwks());
    apply_map(context, owner, labels, names::public_keys(&name), jwks).await?;
    Ok(Keyed { pki: pki_status(&authority)?, keys: key_status(&keys) })
}

async fn pod_authority(
    context: &Context,
    cluster: &IrisCluster,
    owner: &Owner,
    labels: &Labels,
) -> Result<Authority, Error> {
    let name = cluster.name_any();
    let place =
        Place { owner, labels, secret: names::authority(&name), name: format!("iris {name}") };
    let lifetimes = lifetimes(cluster, cluster.spec.tls.leaf_seconds);
    let kept = vault::advance(&context.client, &place, &lifetimes, context.now_s()).await?;
    let (authority, change): (Authority, Change) = kept;
    let id = (owner.namespace.clone(), name);
    if let Err(error) = context.keyring.put(&id, &authority, lifetimes.leaf_s) {
        return Err(Error::Pki(PkiError::Damaged { what: place.secret, why: error.to_string() }));
    }
    tell(context, cluster, change, "CertificateAuthority", authority.record.step.as_str()).await;
    Ok(authority)
}

/// The authority that clients trust; pools whose certificate the operator makes have it signed by it.
pub(crate) async fn client_authority(
    context: &Context,
    cluster: &IrisCluster,
    owner: &Owner,
    labels: &Labels,
) -> Result<Authority, Error> {
    let name = cluster.name_any();
    let place = Place {
        owner,
        labels,
        secret: names::client_authority(&name),
        name: format!("iris {name} clients"),
    };
    let lifetimes = client_lifetimes(cluster);
    let (authority, _) =
        vault::advance(&context.client, &place, &lifetimes, context.now_s()).await?;
    Ok(authority)
}

async fn token_keys(
    context: &Context,
    cluster: &IrisCluster,
    owner: &Owner,
    labels: &Labels,
) -> Result<Keys, Error> {
    let name = cluster.name_any();
    let place = Place { owner, labels, secret: names::signing_keys(&name), name: name.clone() };
    let auth = &cluster.spec.auth;
    let lifetimes = tokens::Lifetimes {
        rotate_after_s: auth.rotate_after_seconds.into(),
        settle_s: auth.settle_seconds.into(),
        retire_after_s: auth.retire_after_seconds.into(),
        rotation: auth.rotation,
    };
    let kept = vault::advance(&context.client, &place, &lifetimes, context.now_s()).await?;
    let (keys, change): (Keys, Change) = kept;
    tell(context, cluster, change, "TokenKeys", &keys.signing.public.kid).await;
    Ok(keys)
}

async fn tell(context: &Context, cluster: &IrisCluster, change: Change, what: &str, state: &str) {
    let (reason, note) = match change {
        Change::None => return,
        Change::Created => (format!("{what}Created"), state.to_owned()),
        Change::Advanced => (format!("{what}Rotated"), format!("now {state}")),
    };
    context.events.normal(cluster, &reason, note).await;
}

async fn apply_map(
    context: &Context,
    owner: &Owner,
    labels: &Labels,
    name: String,
    data: BTreeMap<String, String>,
) -> Result<(), Error> {
    let map =
        ConfigMap { metadata: owner.part(name, labels), data: Some(data), ..ConfigMap::default() };
    context.applier.apply(owner, &map).await
}

fn one_file(name: &str, text: String) -> BTreeMap<String, String> {
    [(name.to_owned(), text)].into()
}

fn pki_status(authority: &Authority) -> Result<PkiStatus, Error> {
    Ok(PkiStatus {
        step: authority.record.step.as_str().to_owned(),
        fingerprint: authority.fingerprint()?,
        not_after: Time::from_unix(authority.not_after_s()?),
        trusted: authority.trusted(),
        rotation: authority.record.rotation,
    })
}

fn key_status(keys: &Keys) -> KeyStatus {
    KeyStatus {
        signing: keys.signing.public.kid.clone(),
        published: keys.published().into_iter().map(|public| public.kid.clone()).collect(),
        rotation: keys.rotation,
    }
}

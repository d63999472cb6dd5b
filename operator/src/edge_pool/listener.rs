//! The certificate that clients see: people's, checked, or the operator's own, renewed.

use iris_crds::{IrisCluster, IrisEdgePool};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, PostParams};

use crate::apply::Owner;
use crate::cluster;
use crate::context::Context;
use crate::error::{Error, Tried};
use crate::names::{self, Labels};
use crate::pki::authority::not_after_s;
use crate::pki::leaf;
use crate::rollout;
use crate::secrets::{self, Need};
use crate::vault::text_of;

/// On the operator's own: a digest of whom it is for and who signed it.
const FOR: &str = "iris.dev/for";
/// People are told of a certificate that ends sooner.
const SOON_S: u64 = 14 * 86_400;

/// The certificate that clients see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) not_after_s: u64,
    /// Whether people provide it.
    pub(super) provided: bool,
}

impl Certificate {
    /// Whether people must renew it, and whether it has ended.
    pub(super) fn judge(&self, now_s: u64) -> (bool, bool) {
        (self.provided && now_s + SOON_S >= self.not_after_s, now_s >= self.not_after_s)
    }
}

pub(super) async fn keep(
    context: &Context,
    cluster: &IrisCluster,
    pool: &IrisEdgePool,
    owner: &Owner,
) -> Result<Certificate, Error> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &owner.namespace);
    match &pool.spec.listener.certificate_secret_ref {
        Some(reference) => {
            let need = Need {
                name: reference.name.clone(),
                keys: &["tls.crt", "tls.key"],
                field: "spec.listener.certificateSecretRef",
            };
            secrets::check(&context.client, &owner.namespace, &[need]).await?;
            provided(&api, &reference.name).await
        }
        None => own(context, &api, cluster, pool, owner).await,
    }
}

async fn provided(api: &Api<Secret>, name: &str) -> Result<Certificate, Error> {
    let secret = api.get(name).await.tried(|| format!("cannot read Secret {name}"))?;
    let data = text_of(&secret);
    let part = |key: &str| data.get(key).cloned().unwrap_or_default();
    let (chain, key) = (part("tls.crt"), part("tls.key"));
    let unusable = |why: String| {
        Error::blocked(
            "CertificateUnusable",
            format!(
                "Secret {name}: {why}. spec.listener.certificateSecretRef needs a certificate in tls.crt \
             and its key in tls.key, PEM"
            ),
        )
    };
    iris_runtime::tls::certified_key(chain.as_bytes(), key.as_bytes())
        .map_err(|error| unusable(error.to_string()))?;
    let not_after_s = not_after_s(&chain).map_err(|error| unusable(error.to_string()))?;
    Ok(Certificate { not_after_s, provided: true })
}

async fn own(
    context: &Context,
    api: &Api<Secret>,
    cluster: &IrisCluster,
    pool: &IrisEdgePool,
    owner: &Owner,
) -> Result<Certificate, Error> {
    let cluster_owner = Owner::of(cluster);
    let cluster_labels = Labels::of_cluster(&cluster.name_any());
    let authority =
        cluster::client_authority(context, cluster, &cluster_owner, &cluster_labels).await?;
    let hosts = hosts(pool, &owner.namespace);
    let lives_s = cluster::client_lifetimes(cluster).leaf_s;
    let wanted = rollout::inputs(&[&hosts, &authority.fingerprint()?, &lives_s])?;
    let name = names::listener(&pool.name_any());
    let there = api.get_opt(&name).await.tried(|| format!("cannot read Secret {name}"))?;
    if let Some(there) = &there {
        owner.check("Secret", &there.metadata)?;
        let ends_s = text_of(there).get("tls.crt").and_then(|pem| not_after_s(pem).ok());
        let same = there.annotations().get(FOR) == Some(&wanted);
        if let Some(ends_s) =
            ends_s.filter(|ends_s| same && context.now_s() + lives_s / 3 < *ends_s)
        {
            return Ok(Certificate { not_after_s: ends_s, provided: false });
        }
    }
    let (pair, not_after_s) = leaf::issue_for_hosts(&authority, &hosts, lives_s, context.now_s())?;
    let labels = Labels { pool: Some(pool.name_any()), ..cluster_labels };
    let mut metadata = owner.part(&name, &labels);
    metadata.annotations = Some([(FOR.to_owned(), wanted)].into());
    metadata.resource_version = there.as_ref().and_then(ResourceExt::resource_version);
    let data = [("tls.crt", pair.certificate), ("tls.key", pair.key)];
    let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())));
    let secret = Secret {
        metadata,
        data: Some(data.into()),
        type_: Some("kubernetes.io/tls".to_owned()),
        ..Secret::default()
    };
    let params = PostParams::default();
    let written = match there {
        Some(_) => api.replace(&name, &params, &secret).await,
        None => api.create(&params, &secret).await,
    };
    written.tried(|| format!("cannot write Secret {name}"))?;
    let note = format!("for {}", hosts.join(", "));
    context.events.normal(pool, "CertificateIssued", note).await;
    Ok(Certificate { not_after_s, provided: false })
}

/// Whom the operator's certificate is for: the Service by all its names, and what people add.
fn hosts(pool: &IrisEdgePool, namespace: &str) -> Vec<String> {
    let service = names::edge(&pool.name_any());
    let mut hosts = vec![
        format!("{service}.{namespace}.svc.cluster.local"),
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}"),
        service,
        "localhost".to_owned(),
    ];
    hosts.extend(pool.spec.listener.hostnames.iter().cloned());
    hosts
}

//! etcd for Iris, apart from the one of Kubernetes: its own authority, and no connection without
//! a certificate of it.
//!
//! Never keeps the authority's key.

use std::{collections::BTreeMap, fs};

use anyhow::Result;

use super::{
    super::{Job, UpStep, always},
    address_line, await_rollout, exists, make_secret, volume,
};
use crate::{
    cache::remove_dir,
    cluster::plan::ETCD_SERVICE,
    images::dev,
    pki::{Authority, Pair, Subject},
    template::render,
};

const MANIFEST: &str = include_str!("../../../../../dev/etcd/manifest.yaml");
const PEERS: &str = "etcd-peers.iris.svc.cluster.local";
const SERVER_SECRET: &str = "etcd-server-tls";
const CLIENT_SECRET: &str = "etcd-client-tls";

pub(super) fn steps() -> Vec<UpStep> {
    vec![
        UpStep {
            name: "etcd-certificates",
            what: "making etcd's certificates",
            after: &["namespace"],
            remedy: "cargo xtask kubectl -n iris get secrets",
            is_done: |job| {
                Ok(exists(job, "secret", SERVER_SECRET)? && exists(job, "secret", CLIENT_SECRET)?)
            },
            run: certificates,
        },
        UpStep {
            name: "etcd",
            what: "starting etcd for Iris",
            after: &["etcd-certificates", "images", "kubelets", "storage"],
            remedy: "cargo xtask kubectl -n iris logs etcd-0",
            is_done: always,
            run: start,
        },
        UpStep {
            name: "etcd-ready",
            what: "waiting for etcd",
            after: &["etcd", "nodes-ready"],
            remedy: "cargo xtask kubectl -n iris describe pod etcd-0; then its logs",
            is_done: always,
            run: |job| await_rollout(job, "statefulset/etcd", 120),
        },
    ]
}

/// Both Secrets are of one authority, so both are made anew when one is missing. The authority's
/// own key is not kept: nothing more is signed by it.
fn certificates(job: &Job) -> Result<()> {
    let dir = job.env.state.join("etcd-pki");
    remove_dir(&dir)?;
    let authority = Authority::open(&job.env, dir.clone(), "iris-etcd")?;
    let mut alternatives =
        vec!["IP:127.0.0.1".to_owned(), format!("IP:{ETCD_SERVICE}"), format!("DNS:*.{PEERS}")];
    for name in ["localhost", "etcd", "etcd.iris", "etcd.iris.svc", "etcd.iris.svc.cluster.local"] {
        alternatives.push(format!("DNS:{name}"));
    }
    let subject =
        |name, alternatives| Subject { name, common_name: name, organization: None, alternatives };
    let server = authority.issue(&job.env, &subject("etcd-server", &alternatives))?;
    let client = authority.issue(&job.env, &subject("iris", &[]))?;
    for (secret, pair) in [(SERVER_SECRET, server), (CLIENT_SECRET, client)] {
        if exists(job, "secret", secret)? {
            job.kubectl()?.args(["-n", super::NAMESPACE, "delete", "secret", secret]).run()?;
        }
        make_secret(job, secret, &contents(&authority, &pair)?)?;
    }
    remove_dir(&dir)
}

fn contents(authority: &Authority, pair: &Pair) -> Result<BTreeMap<&'static str, String>> {
    let files = [
        ("ca.crt", authority.cert()),
        ("tls.crt", pair.cert.clone()),
        ("tls.key", pair.key.clone()),
    ];
    files.into_iter().map(|(name, path)| Ok((name, fs::read_to_string(path)?))).collect()
}

fn start(job: &Job) -> Result<()> {
    job.deliver(&[&dev::image(&job.env, "etcd")?])?;
    let members = job.options.etcd_members;
    let urls: Vec<String> = (0..members)
        .map(|number| format!("etcd-{number}=https://etcd-{number}.{PEERS}:2380"))
        .collect();
    let mut manifest = render(
        MANIFEST,
        &[
            ("IMAGE", &job.reference("etcd")?),
            ("ADDRESS", &address_line(job, ETCD_SERVICE)?),
            ("MEMBERS", &members.to_string()),
            ("INITIAL_CLUSTER", &urls.join(",")),
        ],
    )?;
    for number in 0..members {
        // Not on the node that Cassandra is on, where there is another.
        manifest += &volume(job, &format!("data-etcd-{number}"), number, 1)?;
    }
    job.apply(manifest)
}

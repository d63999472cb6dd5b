//! Cassandra for Iris: one real node with passwords, a role for Iris that may make keyspaces and
//! no more, and an administrator for people.
//!
//! Never leaves the role that every Cassandra is born with able to log in.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{
    super::{Job, UpStep, always},
    NAMESPACE, address_line, await_rollout, exists, make_secret, new_password, volume,
};
use crate::{
    cluster::{NodeId, plan::CASSANDRA_SERVICE, reach::Reach},
    cql::Session,
    images::dev,
    steps::wait_until,
    template::render,
};

const MANIFEST: &str = include_str!("../../../../../dev/cassandra/manifest.yaml");

/// The role of Iris and the Secret with its password.
const ROLE: (&str, &str) = ("iris", "cassandra");
/// The administrator and the Secret with its password.
const ADMIN: (&str, &str) = ("admin", "cassandra-admin");
/// The role that a new Cassandra has, with its own name as its password.
const BORN: &str = "cassandra";

pub(super) fn steps() -> Vec<UpStep> {
    vec![
        UpStep {
            name: "cassandra-secrets",
            what: "making Cassandra's passwords",
            after: &["namespace"],
            remedy: "cargo xtask kubectl -n iris get secrets",
            is_done: |job| Ok(exists(job, "secret", ROLE.1)? && exists(job, "secret", ADMIN.1)?),
            run: secrets,
        },
        UpStep {
            name: "cassandra-image",
            what: "importing Cassandra",
            after: &["images", "containerd"],
            remedy: "check that the disk is not full",
            is_done: always,
            run: |job| {
                let image = dev::image(&job.env, "cassandra")?;
                // Its volume ties it to one node, so the largest image need not go to the others.
                job.deliver_to(&[&image], Some(NodeId::new(1)?))
            },
        },
        UpStep {
            name: "cassandra",
            what: "starting Cassandra",
            after: &["cassandra-secrets", "cassandra-image", "kubelets", "storage"],
            remedy: "cargo xtask kubectl -n iris logs cassandra-0",
            is_done: always,
            run: start,
        },
        UpStep {
            name: "cassandra-ready",
            what: "waiting for Cassandra and making its roles",
            after: &["cassandra", "nodes-ready"],
            remedy: "cargo xtask kubectl -n iris describe pod cassandra-0; then its logs",
            is_done: always,
            run: ready,
        },
    ]
}

fn secrets(job: &Job) -> Result<()> {
    for (name, secret) in [ROLE, ADMIN] {
        if !exists(job, "secret", secret)? {
            let values = [("username", name.to_owned()), ("password", new_password()?)];
            make_secret(job, secret, &values.into())?;
        }
    }
    Ok(())
}

fn start(job: &Job) -> Result<()> {
    let mut manifest = render(
        MANIFEST,
        &[
            ("IMAGE", &job.reference("cassandra")?),
            ("ADDRESS", &address_line(job, CASSANDRA_SERVICE)?),
        ],
    )?;
    // The first node.
    manifest += &volume(job, "data-cassandra-0", 0, 0)?;
    job.apply(manifest)
}

fn ready(job: &Job) -> Result<()> {
    await_rollout(job, "statefulset/cassandra", 180)?;
    let password = job.cluster()?.secret(NAMESPACE, ROLE.1, "password")?;
    if open(job, ROLE.0, &password).is_ok() {
        return Ok(());
    }
    // The first role is made a moment after the port opens.
    let mut born = None;
    wait_until("Cassandra has roles", Duration::from_secs(60), Duration::from_millis(250), || {
        let admin = job.cluster()?.secret(NAMESPACE, ADMIN.1, "password")?;
        born = Some(open(job, ADMIN.0, &admin).or_else(|_| open(job, BORN, BORN))?);
        Ok(true)
    })?;
    let admin_password = job.cluster()?.secret(NAMESPACE, ADMIN.1, "password")?;
    let (mut session, _reach) = born.context("no session")?;
    make_roles(&mut session, &password, &admin_password)?;
    let (mut admin, _reach) = open(job, ADMIN.0, &admin_password)?;
    admin.query(&format!("ALTER ROLE {BORN} WITH SUPERUSER = false AND LOGIN = false"))?;
    open(job, ROLE.0, &password).map(drop)
}

/// A session, and the way that it takes.
fn open(job: &Job, role: &str, password: &str) -> Result<(Session, Reach)> {
    let reach = Reach::service(&job.cluster()?, NAMESPACE, "cassandra", 9042)?;
    Ok((Session::open(reach.address(), role, password)?, reach))
}

fn make_roles(session: &mut Session, password: &str, admin_password: &str) -> Result<()> {
    let (role, admin) = (ROLE.0, ADMIN.0);
    let statements = [
        format!(
            "CREATE ROLE IF NOT EXISTS {admin} \
             WITH SUPERUSER = true AND LOGIN = true AND PASSWORD = '{admin_password}'"
        ),
        format!("CREATE ROLE IF NOT EXISTS {role} WITH LOGIN = true AND PASSWORD = '{password}'"),
        // Who makes a keyspace may do everything in it, so this is all that Iris needs.
        format!("GRANT CREATE ON ALL KEYSPACES TO {role}"),
        format!("GRANT SELECT ON KEYSPACE system TO {role}"),
        format!("GRANT SELECT ON KEYSPACE system_views TO {role}"),
    ];
    statements.iter().try_for_each(|statement| session.query(statement).map(drop))
}

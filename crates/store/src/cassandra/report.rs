//! Whether this Cassandra keeps the promises that are made on top of it, in words that say what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::unprepared::Statement as Text;

use super::AckPolicy;
use super::client::{Client, Kind, unexpected};
use super::errors::{Effect, of_execution};
use crate::{StoreError, StoreReport};

/// What is asked of every node.
const SETTINGS: [&str; 4] = [
    "commitlog_sync",
    "paxos_variant",
    "minimum_timestamp_fail_threshold",
    "maximum_timestamp_fail_threshold",
];

/// Copies below which a lost disk can lose what was acknowledged.
const REPLICAS_MIN: u32 = 3;

/// Asks every node of the datacenter that can be reached, and the schema.
pub(super) async fn of(
    client: &Client,
    datacenter: &str,
    policy: AckPolicy,
) -> Result<StoreReport, StoreError> {
    let keyspace = replication(client).await?;
    let mut report = StoreReport {
        version: String::new(),
        replication: keyspace.copies.get(datacenter).copied().unwrap_or_default(),
        unfit: Vec::new(),
        development_only: Vec::new(),
        schema: super::schema::newest_applied(client).await?,
    };
    judge_keyspace(&keyspace, client.keyspace(), datacenter, policy, &mut report);
    let mut versions = BTreeSet::new();
    for node in nodes(client, datacenter).await? {
        judge_node(&node, &mut report);
        versions.insert(node.version);
    }
    if versions.is_empty() {
        return Err(StoreError::Unavailable(format!("no node of {datacenter} could be asked")));
    }
    report.version = versions.into_iter().collect::<Vec<_>>().join(", ");
    Ok(report)
}

/// What a node says of itself.
#[derive(Debug)]
struct Node {
    address: String,
    version: String,
    settings: BTreeMap<String, String>,
}

/// The nodes of the datacenter that answer; one that is down is not judged.
async fn nodes(client: &Client, datacenter: &str) -> Result<Vec<Node>, StoreError> {
    let cluster = client.session().get_cluster_state();
    let mut nodes = Vec::new();
    let mut last_error = None;
    for node in cluster.get_nodes_info() {
        if node.datacenter.as_deref() != Some(datacenter) || !node.is_connected() {
            continue;
        }
        match ask(client, NodeIdentifier::Node(Arc::clone(node)), node.address.to_string()).await {
            Ok(node) => nodes.push(node),
            Err(error) => last_error = Some(error),
        }
    }
    match last_error {
        Some(error) if nodes.is_empty() => Err(error),
        _ => Ok(nodes),
    }
}

async fn ask(client: &Client, node: NodeIdentifier, address: String) -> Result<Node, StoreError> {
    let target = SingleTargetLoadBalancingPolicy::new(node, None);
    let ask = |cql: String| {
        let mut text = Text::new(cql);
        text.set_load_balancing_policy(Some(Arc::clone(&target) as _));
        async {
            let answer = client.session().query_unpaged(text, ()).await;
            let answer = answer.map_err(|error| of_execution(&error, Effect::None))?;
            answer.into_rows_result().map_err(unexpected)
        }
    };
    let local = ask("SELECT release_version FROM system.local".to_owned()).await?;
    let (version,) = local.first_row::<(String,)>().map_err(unexpected)?;
    let mut settings = BTreeMap::new();
    for name in SETTINGS {
        let cql = format!("SELECT value FROM system_views.settings WHERE name = '{name}'");
        let answer = ask(cql).await?;
        let row = answer.maybe_first_row::<(Option<String>,)>().map_err(unexpected)?;
        if let Some((Some(value),)) = row {
            settings.insert(name.to_owned(), value);
        }
    }
    Ok(Node { address, version, settings })
}

fn judge_node(node: &Node, report: &mut StoreReport) {
    let Node { address, version, settings } = node;
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 5) {
        report.unfit.push(format!("node {address} is Cassandra {version}: upgrade it to 5.0"));
    }
    let setting = |name: &str| settings.get(name).map(String::as_str);
    match setting("commitlog_sync") {
        Some("batch" | "group") => {}
        found => report.unfit.push(format!(
            "node {address} has commitlog_sync: {}, which answers before it writes to the disk: set \
             commitlog_sync to batch or group and restart the node",
            found.unwrap_or("periodic")
        )),
    }
    match setting("paxos_variant") {
        Some("v2") => {}
        found => report.unfit.push(format!(
            "node {address} has paxos_variant: {}: set paxos_variant to v2 on every node and restart \
             them one by one",
            found.unwrap_or("v1")
        )),
    }
    for name in ["minimum_timestamp_fail_threshold", "maximum_timestamp_fail_threshold"] {
        if let Some(value) = setting(name).filter(|value| !matches!(*value, "" | "null")) {
            report.unfit.push(format!(
                "node {address} has {name}: {value}, which refuses logical timestamps: remove it and \
                 restart the node"
            ));
        }
    }
}

/// The keyspace's replication.
#[derive(Debug, Default)]
struct Keyspace {
    durable: bool,
    strategy: String,
    copies: BTreeMap<String, u32>,
    /// Datacenters with replicas that do not keep what they were given.
    transient: Vec<String>,
}

async fn replication(client: &Client) -> Result<Keyspace, StoreError> {
    let read = client
        .prepare(
            Kind::Read,
            "SELECT durable_writes, replication FROM system_schema.keyspaces \
             WHERE keyspace_name = ?",
        )
        .await?;
    let mut keyspace = Keyspace::default();
    let take = |(durable, options): (Option<bool>, Option<BTreeMap<String, String>>)| {
        keyspace.durable = durable.unwrap_or(true);
        for (name, value) in options.unwrap_or_default() {
            if name == "class" {
                let class = value.rsplit('.').next().unwrap_or_default();
                class.clone_into(&mut keyspace.strategy);
            } else if let Ok(copies) = value.parse() {
                keyspace.copies.insert(name, copies);
            } else {
                keyspace.transient.push(name);
            }
        }
        Ok(ControlFlow::Continue(()))
    };
    client.pages(&read, 10, (client.keyspace(),), take).await?;
    Ok(keyspace)
}

fn judge_keyspace(
    keyspace: &Keyspace,
    name: &str,
    datacenter: &str,
    policy: AckPolicy,
    report: &mut StoreReport,
) {
    if !keyspace.durable {
        report.unfit.push(format!(
            "keyspace {name} has durable_writes = false: ALTER KEYSPACE {name} WITH durable_writes = \
             true"
        ));
    }
    if keyspace.strategy != "NetworkTopologyStrategy" {
        report.unfit.push(format!(
            "keyspace {name} uses {}: alter it to NetworkTopologyStrategy with 3 replicas in each \
             datacenter, then repair",
            keyspace.strategy
        ));
    }
    for transient in &keyspace.transient {
        report.unfit.push(format!(
            "keyspace {name} has transient replicas in {transient}: alter it to whole numbers"
        ));
    }
    if report.replication == 0 {
        report.unfit.push(format!(
            "keyspace {name} has no replicas in {datacenter}: add 3 there and rebuild its nodes"
        ));
    } else if report.replication < REPLICAS_MIN {
        report.development_only.push(format!(
            "keyspace {name} has {} of {REPLICAS_MIN} replicas in {datacenter}, so one lost disk loses \
             messages: alter its replication to {REPLICAS_MIN}, then repair",
            report.replication
        ));
    }
    if policy == AckPolicy::MajorityOfRegions && keyspace.copies.len() < 3 {
        report.development_only.push(format!(
            "ackPolicy MajorityOfRegions survives a region only with 3 datacenters, and keyspace \
             {name} is in {}",
            keyspace.copies.len()
        ));
    }
}

#[cfg(test)]
mod tests;

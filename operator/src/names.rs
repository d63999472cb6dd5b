//! The names and labels of everything that the operator makes, from those of the objects that people
//! made. Two different objects never lead to the same name.

use std::collections::BTreeMap;

use iris_runtime::tls::Role;

/// The field manager of every apply, and `app.kubernetes.io/managed-by` of what is applied.
pub const MANAGER: &str = "iris-operator";
/// Holds an `IrisShardMigration` back while a move is ordered that a deletion must end.
pub const MIGRATION_FINALIZER: &str = "iris.dev/move-ordered";

/// On everything that belongs to a cluster.
pub const CLUSTER_LABEL: &str = "iris.dev/cluster";
/// On everything that belongs to a region.
pub const REGION_LABEL: &str = "iris.dev/region";
/// On everything that belongs to an edge pool.
pub const POOL_LABEL: &str = "iris.dev/pool";
/// On pods: what they are for.
pub const ROLE_LABEL: &str = "iris.dev/role";

/// The role of schema jobs, which have no certificate.
pub const SCHEMA_ROLE: &str = "schema";

/// Secret: the keys of the cluster's certificate authority. No pod mounts it.
pub fn authority(cluster: &str) -> String {
    format!("{cluster}-ca")
}

/// ConfigMap: the certificates that pods trust.
pub fn trust(cluster: &str) -> String {
    format!("{cluster}-trust")
}

/// Secret: the keys of tokens, for owners.
pub fn signing_keys(cluster: &str) -> String {
    format!("{cluster}-jwt")
}

/// ConfigMap: the public keys of tokens, for edges.
pub fn public_keys(cluster: &str) -> String {
    format!("{cluster}-jwks")
}

/// Secret and ConfigMap: the certificate authority that clients trust.
pub fn client_authority(cluster: &str) -> String {
    format!("{cluster}-client-ca")
}

/// ServiceAccount and ConfigMap of schema jobs.
pub fn schema(cluster: &str) -> String {
    format!("{cluster}-schema")
}

/// Job: one for each digest of what it applies.
pub fn schema_job(cluster: &str, digest: &str) -> String {
    format!("{cluster}-schema-{digest}")
}

/// ConfigMap: the settings of a region's pods.
pub fn config(region: &str) -> String {
    format!("{region}-config")
}

/// ServiceAccount of the pods of a role in a region, and the name of what runs them.
pub fn workload(region: &str, role: Role) -> String {
    format!("{region}-{}", role.as_str())
}

/// Everything of an edge pool: its Deployment, Service, ConfigMap, budget and autoscaler.
pub fn edge(pool: &str) -> String {
    format!("{pool}-edge")
}

/// Secret: the certificate that clients of a pool see, when the operator makes it.
pub fn listener(pool: &str) -> String {
    format!("{pool}-listener")
}

/// The region and the role that a service account stands for.
pub fn of_service_account(name: &str) -> Option<(&str, Role)> {
    [Role::Owner, Role::ControlPlane, Role::Edge]
        .into_iter()
        .find_map(|role| Some((name.strip_suffix(role.as_str())?.strip_suffix('-')?, role)))
        .filter(|(region, _)| !region.is_empty())
}

/// `host:port` of a region's control plane.
pub fn control_plane_address(namespace: &str, region: &str) -> String {
    let service = workload(region, Role::ControlPlane);
    format!("{service}.{namespace}.svc:{}", iris_runtime::config::ports::CONTROL)
}

/// What a part of Iris is labelled with.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// The cluster.
    pub cluster: String,
    /// The region, of what belongs to one.
    pub region: Option<String>,
    /// The pool, of what belongs to one.
    pub pool: Option<String>,
    /// What the pods are for.
    pub role: Option<&'static str>,
}

impl Labels {
    /// Of the cluster as a whole.
    pub fn of_cluster(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), ..Self::default() }
    }

    /// Of a region's part.
    pub fn of_region(cluster: &str, region: &str, role: Option<Role>) -> Self {
        let role = role.map(Role::as_str);
        Self { region: Some(region.to_owned()), role, ..Self::of_cluster(cluster) }
    }

    /// Of a pool's edges.
    pub fn of_pool(cluster: &str, region: &str, pool: &str) -> Self {
        let edges = Self::of_region(cluster, region, Some(Role::Edge));
        Self { pool: Some(pool.to_owned()), ..edges }
    }

    /// What pods are selected by. It never changes for a workload that exists.
    pub fn selector(&self) -> BTreeMap<String, String> {
        let parts = [
            (CLUSTER_LABEL, Some(self.cluster.clone())),
            (REGION_LABEL, self.region.clone()),
            (POOL_LABEL, self.pool.clone()),
            (ROLE_LABEL, self.role.map(str::to_owned)),
        ];
        parts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }

    /// Everything that an object is labelled with.
    pub fn all(&self) -> BTreeMap<String, String> {
        let common = [
            ("app.kubernetes.io/name", "iris"),
            ("app.kubernetes.io/managed-by", MANAGER),
            ("app.kubernetes.io/instance", &self.cluster),
            ("app.kubernetes.io/component", self.role.unwrap_or("cluster")),
        ];
        let common = common.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.selector().into_iter().chain(common).collect()
    }
}

/// A selector as `kubectl -l` takes it.
pub fn selector_text(selector: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_account_stands_for_one_role_of_one_region() {
        assert_eq!(of_service_account("eu-owner"), Some(("eu", Role::Owner)));
        assert_eq!(
            of_service_account("eu-west-controlplane"),
            Some(("eu-west", Role::ControlPlane))
        );
        assert_eq!(of_service_account("a-edge-edge"), Some(("a-edge", Role::Edge)));
        for other in ["owner", "-owner", "euowner", "eu-operator", "default", ""] {
            assert_eq!(of_service_account(other), None, "{other}");
        }
    }

    #[test]
    fn names_fit_into_63_characters() {
        let longest = "x".repeat(40);
        let names = [
            // A pod of a Job adds 6 characters, one of a StatefulSet 4, and a revision of one 11.
            (schema_job(&longest, "01234567"), 6),
            (workload(&longest, Role::Owner), 11),
            (workload(&longest, Role::ControlPlane), 0),
            (edge(&longest), 0),
            (client_authority(&longest), 0),
            (listener(&longest), 0),
        ];
        for (name, more) in names {
            assert!(name.len() + more <= 63, "{name}");
        }
    }

    #[test]
    fn a_selector_is_part_of_all_labels() {
        let labels = Labels::of_pool("chat", "eu", "eu-public");
        let all = labels.all();
        assert!(labels.selector().iter().all(|(key, value)| all.get(key) == Some(value)));
        assert!(selector_text(&labels.selector()).contains("iris.dev/pool=eu-public"));
    }
}

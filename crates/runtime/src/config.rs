//! The settings that the operator writes for the pods of a region: one JSON file, mounted.
//!
//! Unknown fields are ignored, so that an older pod reads what a newer operator wrote; missing ones
//! have defaults, so that a newer pod reads what an older operator wrote.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where the file is mounted.
pub const CONFIG_PATH: &str = "/etc/iris/config/config.json";
/// Where the trust bundle of the cluster is mounted: `ca.crt`.
pub const TRUST_PATH: &str = "/etc/iris/trust/ca.crt";
/// Where the token for the issuer is projected.
pub const TOKEN_PATH: &str = "/var/run/secrets/iris.dev/issuer/token";
/// A memory-backed directory of the pod that outlives its containers: the pod's certificate and key.
pub const IDENTITY_CACHE: &str = "/run/iris/identity";
/// Where owners find the signing keys of tokens, and edges the public ones: `jwks.json`, `signing.pem`.
pub const JWT_PATH: &str = "/etc/iris/jwt";
/// Where edges find the certificate that clients see: `tls.crt`, `tls.key`.
pub const LISTENER_PATH: &str = "/etc/iris/listener";

/// Ports, the same in every pod.
pub mod ports {
    /// gRPC between pods, mutual TLS.
    pub const PEER: u16 = 7443;
    /// The control plane's gRPC, mutual TLS.
    pub const CONTROL: u16 = 7444;
    /// The operator's issuer, TLS.
    pub const ISSUER: u16 = 7445;
    /// Health and metrics, HTTPS.
    pub const ADMIN: u16 = 9443;
    /// Clients, TLS.
    pub const CLIENT: u16 = 8443;
}

/// Everything a pod is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The namespace of the cluster.
    pub namespace: String,
    /// The name of the `IrisCluster`.
    pub cluster: String,
    /// The name of the `IrisRegion`.
    pub region: String,
    /// How many shards the cluster has.
    pub shard_count: u32,
    /// What an acknowledgement promises.
    #[serde(default)]
    pub ack_policy: AckPolicy,
    /// Whether single replicas are accepted.
    #[serde(default)]
    pub profile: Profile,
    /// The database.
    pub cassandra: Cassandra,
    /// The region's etcd.
    pub etcd: Etcd,
    /// host:port of the control plane's service.
    pub control_plane: String,
    /// How many owners the region should have: the control plane waits for them at a cold start.
    #[serde(default = "one")]
    pub owners: u32,
    /// host:port of the operator's issuer.
    pub issuer: String,
    /// How long things are kept.
    #[serde(default)]
    pub retention: Retention,
    /// Bounds that people may choose.
    #[serde(default)]
    pub limits: Limits,
    /// `iss` of every token.
    pub token_issuer: String,
    /// How edges let their clients go when they end.
    #[serde(default)]
    pub drain: Drain,
    /// For how many seconds an owner that ends waits until others have its shards. The default is not
    /// written: it is what versions do that do not know of this.
    #[serde(default = "leave_seconds", skip_serializing_if = "is_leave_seconds")]
    pub leave_seconds: u32,
}

/// See [`Settings::leave_seconds`].
pub const fn leave_seconds() -> u32 {
    25
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls takes a reference")]
const fn is_leave_seconds(seconds: &u32) -> bool {
    *seconds == leave_seconds()
}

/// How an edge lets its clients go when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Drain {
    /// Clients asked to leave in a second.
    pub connections_per_second: u32,
    /// How long it waits for them.
    pub timeout_seconds: u32,
}

impl Default for Drain {
    fn default() -> Self {
        Self { connections_per_second: 200, timeout_seconds: 60 }
    }
}

/// What an acknowledgement promises; see `docs/guarantees.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AckPolicy {
    /// A quorum of the home region's replicas has it.
    #[default]
    HomeRegion,
    /// A quorum of all replicas of three regions has it.
    MajorityOfRegions,
    /// A quorum of every region's replicas has it.
    AllRegions,
}

/// What the cluster is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Profile {
    /// Refuses what cannot keep its promises.
    #[default]
    Production,
    /// Accepts single replicas and says so.
    Development,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cassandra {
    /// host:port of some nodes.
    pub contact_points: Vec<String>,
    /// The region's datacenter.
    pub datacenter: String,
    /// The keyspace.
    pub keyspace: String,
    /// A directory with `username` and `password`; none without authentication.
    pub credentials_path: Option<PathBuf>,
    /// A directory with `ca.crt` and, for mutual TLS, `tls.crt` and `tls.key`; none without TLS.
    pub tls_path: Option<PathBuf>,
}

/// A region's etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Etcd {
    /// URLs.
    pub endpoints: Vec<String>,
    /// A directory with `ca.crt`, `tls.crt`, `tls.key`.
    pub tls_path: Option<PathBuf>,
    /// Before every key: one etcd may serve several regions.
    pub prefix: String,
}

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retention {
    /// Days that a message waits for a device that does not come.
    pub undelivered_days: u32,
    /// Days that a message stays after every device has it; 0 keeps none.
    pub history_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { undelivered_days: 30, history_days: 30 }
    }
}

/// Bounds that people may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Handshakes that an edge admits in a second.
    pub handshakes_per_second: u32,
    /// Connections that an edge serves.
    pub connections_per_edge: u32,
    /// Accounts that may be registered in a second, by edge.
    pub registrations_per_second: u32,
    /// Messages that a device may send in a second.
    pub sends_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes_per_second: 2_000,
            connections_per_edge: 18_000,
            registrations_per_second: 50,
            sends_per_second: iris_core::limits::SENDS_PER_SECOND,
        }
    }
}

fn one() -> u32 {
    1
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is not there or cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} is not a valid configuration: {source}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl Settings {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let unreadable = |source| SettingsError::Unreadable { path: path.to_path_buf(), source };
        let text = std::fs::read(path).map_err(unreadable)?;
        serde_json::from_slice(&text)
            .map_err(|source| SettingsError::Invalid { path: path.to_path_buf(), source })
    }
}

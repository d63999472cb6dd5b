//! What the store must be told of its Cassandra.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::StoreError;

/// What an acknowledgement promises; decides the consistency of every statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckPolicy {
    /// A quorum of the home region's replicas has it.
    #[default]
    HomeRegion,
    /// A quorum of all replicas of three regions has it.
    MajorityOfRegions,
    /// A quorum of every region's replicas has it.
    AllRegions,
}

/// Where Cassandra is, who we are there, and how long to wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CassandraConfig {
    /// host:port of some nodes.
    pub contact_points: Vec<String>,
    /// The region's datacenter: the only one whose nodes are ever asked, as a local consistency means
    /// the datacenter of whoever is asked.
    pub datacenter: String,
    /// The keyspace.
    pub keyspace: String,
    /// A directory with `username` and `password`, read at every new connection.
    pub credentials_path: Option<PathBuf>,
    /// A directory with `ca.crt` and, for mutual TLS, `tls.crt` and `tls.key`, read at every new
    /// connection.
    pub tls_path: Option<PathBuf>,
    /// What an acknowledgement promises.
    pub ack_policy: AckPolicy,
    /// How long a block of the log is kept; whole seconds.
    pub log_ttl: Duration,
    /// How many days a place of an inbox is kept.
    pub inbox_days: u32,
    /// Connections to each node.
    pub connections_per_node: NonZeroUsize,
    /// How long to wait.
    pub timeouts: Timeouts,
}

/// How long a request may take before its outcome counts as unknown (writes) or as nothing (reads).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect to a node.
    pub connect: Duration,
    /// The write of a block: soon written again, through another node, as the answers of many wait.
    pub append: Duration,
    /// Any other plain write.
    pub write: Duration,
    /// A plain read.
    pub read: Duration,
    /// The read of a fence: an old answer is worth nothing, so a new read soon is worth more.
    pub fence_read: Duration,
    /// A compare-and-swap or a serial read.
    pub serial: Duration,
    /// A change of the schema, and the agreement on it.
    pub schema: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            append: Duration::from_secs(1),
            write: Duration::from_secs(3),
            read: Duration::from_secs(3),
            fence_read: Duration::from_secs(1),
            serial: Duration::from_secs(5),
            schema: Duration::from_secs(30),
        }
    }
}

/// Days that Cassandra can count in a TTL: 20 years.
const TTL_SECONDS_MAX: u64 = 630_720_000;

impl CassandraConfig {
    /// With neither credentials nor TLS, and everything else at its default.
    pub fn new(contact_points: Vec<String>, datacenter: String, keyspace: String) -> Self {
        Self {
            contact_points,
            datacenter,
            keyspace,
            credentials_path: None,
            tls_path: None,
            ack_policy: AckPolicy::default(),
            log_ttl: Duration::from_hours(72),
            inbox_days: 30,
            connections_per_node: NonZeroUsize::new(2).expect("two is not zero"),
            timeouts: Timeouts::default(),
        }
    }

    /// Refuses what no Cassandra could be asked for.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let named = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let name = self.keyspace.as_bytes();
        if !name.first().is_some_and(u8::is_ascii_lowercase)
            || name.len() > 48
            || !name.iter().copied().all(named)
        {
            return Err(StoreError::Schema(format!(
                "{:?} cannot name a keyspace: use 1 to 48 of a-z, 0-9 and _, a letter first",
                self.keyspace
            )));
        }
        if self.contact_points.is_empty() {
            return Err(StoreError::Schema("no contact point of Cassandra is given".to_owned()));
        }
        self.log_ttl_s().and(self.inbox_ttl_s()).map(drop)
    }

    pub(super) fn log_ttl_s(&self) -> Result<i32, StoreError> {
        ttl("the log", self.log_ttl.as_secs())
    }

    pub(super) fn inbox_ttl_s(&self) -> Result<i32, StoreError> {
        ttl("an inbox", u64::from(self.inbox_days) * 86_400)
    }
}

fn ttl(what: &str, seconds: u64) -> Result<i32, StoreError> {
    // 0 would mean for ever.
    let kept = (1..=TTL_SECONDS_MAX).contains(&seconds).then_some(seconds);
    kept.and_then(|seconds| i32::try_from(seconds).ok()).ok_or_else(|| {
        StoreError::Schema(format!(
            "{what} cannot be kept for {seconds} s: use 1 s to {TTL_SECONDS_MAX} s"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cassandra_cannot_do_is_refused_before_it_is_asked() {
        let config = |keyspace: &str| {
            CassandraConfig::new(vec!["db:9042".into()], "dc1".into(), keyspace.into())
        };
        assert_eq!(config("iris_1").check(), Ok(()));
        for bad in ["", "1iris", "Iris", "iris-1", "iris;drop", &"a".repeat(49)] {
            assert!(matches!(config(bad).check(), Err(StoreError::Schema(_))), "{bad}");
        }
        let forever = CassandraConfig { inbox_days: 0, ..config("iris") };
        assert!(matches!(forever.check(), Err(StoreError::Schema(_))));
        let eternal = CassandraConfig { inbox_days: 365 * 21, ..config("iris") };
        assert!(matches!(eternal.check(), Err(StoreError::Schema(_))));
        let nobody = CassandraConfig { contact_points: Vec::new(), ..config("iris") };
        assert!(matches!(nobody.check(), Err(StoreError::Schema(_))));
    }
}

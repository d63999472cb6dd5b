//! The map of shards: who serves which, at which epoch.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use xtask::cluster::{Cluster, NAMESPACE};

/// The region of the quickstart, which its map is named after.
pub(crate) const REGION: &str = "eu";

/// Who serves a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) owner: String,
    pub(crate) epoch: u32,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shards(BTreeMap<u32, Held>);

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    ranges: Vec<Range>,
    truncated: bool,
}

#[derive(Deserialize)]
struct Range {
    first: u32,
    last: u32,
    owner: Option<String>,
    epoch: u32,
}

impl Shards {
    /// As the API server shows them.
    pub(crate) fn now(cluster: &Cluster) -> Result<Self> {
        let get = ["-n", NAMESPACE, "get", "irisshardmap", REGION, "-o", "json"];
        Self::parse(&cluster.kubectl(get)?)
    }

    fn parse(text: &str) -> Result<Self> {
        let Object { status } = serde_json::from_str(text)?;
        ensure!(!status.truncated, "the map does not show every shard");
        let mut shards = BTreeMap::new();
        for Range { first, last, owner, epoch } in status.ranges {
            let owner = owner.with_context(|| format!("nobody serves shards {first} to {last}"))?;
            shards.extend((first..=last).map(|n| (n, Held { owner: owner.clone(), epoch })));
        }
        ensure!(!shards.is_empty(), "the map shows no shard");
        Ok(Self(shards))
    }

    /// How many a pod serves.
    pub(crate) fn count(&self, pod: &str) -> usize {
        self.of(pod).count()
    }

    /// Those that a pod serves, with their epochs.
    pub(crate) fn of(&self, pod: &str) -> impl Iterator<Item = (u32, u32)> {
        self.0.iter().filter(move |(_, held)| held.owner == pod).map(|(n, held)| (*n, held.epoch))
    }

    /// How many of a pod's have a higher epoch later.
    pub(crate) fn raised(&self, pod: &str, later: &Self) -> usize {
        let raised =
            |(n, epoch): &(u32, u32)| later.0.get(n).is_some_and(|held| held.epoch > *epoch);
        self.of(pod).filter(raised).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &str) -> Result<Shards> {
        Shards::parse(&format!(r#"{{"status": {{"ranges": [{ranges}]}}}}"#))
    }

    #[test]
    fn ranges_are_shards() {
        let before = map(r#"{"first":0,"last":1,"owner":"a","epoch":3,"phase":"Serving"},
                            {"first":2,"last":2,"owner":"b","epoch":1,"phase":"Serving"}"#)
        .unwrap();
        assert_eq!((before.count("a"), before.count("b"), before.count("c")), (2, 1, 0));
        let after = map(r#"{"first":0,"last":0,"owner":"b","epoch":4},
                           {"first":1,"last":1,"owner":"a","epoch":3},
                           {"first":2,"last":2,"owner":"b","epoch":1}"#)
        .unwrap();
        assert_eq!((before.raised("a", &after), before.raised("b", &after)), (1, 0));
    }

    #[test]
    fn a_shard_that_nobody_serves_is_an_error() {
        assert!(map(r#"{"first":0,"last":9,"epoch":3}"#).is_err());
        assert!(map("").is_err());
    }
}

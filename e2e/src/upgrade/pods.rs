//! Which pods run which version, and what of that was seen over time. Pure, but for one question to the
//! API server.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::Value;
use xtask::cluster::{Cluster, NAMESPACE};

/// The roles, and the program that each runs.
pub const ROLES: [(&str, &str); 3] =
    [("controlplane", "controlplane"), ("owner", "dataplane"), ("edge", "dataplane")];

/// The images of a version, by the programs' short names.
pub type Images = BTreeMap<String, String>;

/// One of the two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// The one to go back to.
    Older,
    /// The one that the cluster runs.
    Newer,
}

/// A pod at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its id: one that was replaced has another.
    pub uid: String,
    /// What it is.
    pub role: String,
    /// What it runs.
    pub image: String,
    /// Whether it is ready, and nobody has asked it to end.
    pub serves: bool,
    /// How often its container was started again.
    pub restarts: u64,
}

/// Every pod of the three roles.
///
/// # Errors
/// When the API server does not answer.
pub fn list(cluster: &Cluster) -> Result<Vec<Pod>> {
    let selector = "iris.dev/role in (owner,edge,controlplane)";
    let get =
        ["-n", NAMESPACE, "get", "pods", "-l", selector, "--request-timeout=10s", "-o", "json"];
    let found: Value = serde_json::from_str(&cluster.kubectl(get)?)?;
    found["items"].as_array().context("no list of pods")?.iter().map(of).collect()
}

fn of(pod: &Value) -> Result<Pod> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let conditions = pod["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let name = pod["metadata"]["name"].as_str().context("a pod without a name")?;
    Ok(Pod {
        name: name.to_owned(),
        uid: text(&pod["metadata"]["uid"]),
        role: text(&pod["metadata"]["labels"]["iris.dev/role"]),
        image: text(&pod["spec"]["containers"][0]["image"]),
        serves: ready && pod["metadata"]["deletionTimestamp"].is_null(),
        restarts: pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0),
    })
}

/// The two versions' images.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Of the older one.
    pub older: Images,
    /// Of the newer one.
    pub newer: Images,
}

impl Pair {
    /// The images of one.
    pub fn images(&self, version: Version) -> &Images {
        match version {
            Version::Older => &self.older,
            Version::Newer => &self.newer,
        }
    }

    /// Whether a pod runs the program of a version.
    pub fn runs(&self, pod: &Pod, version: Version) -> bool {
        let program = ROLES.into_iter().find(|(role, _)| *role == pod.role).map(|(_, name)| name);
        program.is_some_and(|program| self.images(version).get(program) == Some(&pod.image))
    }

    /// Which version a pod is of; nothing for a third one, and the newer one where both are the same.
    pub fn version_of(&self, pod: &Pod) -> Option<Version> {
        [Version::Newer, Version::Older].into_iter().find(|version| self.runs(pod, *version))
    }

    /// Whether a role's program differs between the two: otherwise none of its pods restarts.
    pub fn differs(&self, role: &str) -> bool {
        let program = ROLES.into_iter().find(|(name, _)| *name == role).map(|(_, program)| program);
        program.is_some_and(|program| self.older.get(program) != self.newer.get(program))
    }

    /// The pods that are not of a version.
    pub fn others<'p>(&self, pods: &'p [Pod], version: Version) -> Vec<&'p Pod> {
        pods.iter().filter(|pod| !self.runs(pod, version)).collect()
    }
}

/// How many pods of a role serve, of each version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Serving {
    /// Of the older one.
    pub older: usize,
    /// Of the newer one.
    pub newer: usize,
}

/// One line of the record: how it was from a moment on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Since the leg began, in tenths of a second.
    pub at_ds: u64,
    /// By role.
    pub serving: BTreeMap<String, Serving>,
    /// Each pod that serves, with its version.
    pub pods: BTreeMap<String, Version>,
}

/// What was seen of the pods over a leg.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Each time that something was different.
    pub moments: Vec<Moment>,
    /// Every pod that there was.
    pub uids: BTreeSet<String>,
    /// Starts of containers beyond the first of each pod: processes that died.
    pub restarts: BTreeMap<String, u64>,
}

impl Record {
    /// Takes what is there at a moment. Answers whether something is different from before.
    pub fn take(&mut self, pair: &Pair, pods: &[Pod], at_ds: u64) -> bool {
        let mut moment = Moment { at_ds, serving: BTreeMap::new(), pods: BTreeMap::new() };
        for (role, _) in ROLES {
            moment.serving.insert(role.to_owned(), Serving::default());
        }
        for pod in pods {
            self.uids.insert(pod.uid.clone());
            self.restarts.insert(pod.uid.clone(), pod.restarts);
            let Some(version) = pair.version_of(pod).filter(|_| pod.serves) else { continue };
            moment.pods.insert(pod.name.clone(), version);
            let serving = moment.serving.entry(pod.role.clone()).or_default();
            match version {
                Version::Older => serving.older += 1,
                Version::Newer => serving.newer += 1,
            }
        }
        let same = self.moments.last().is_some_and(|last| last.pods == moment.pods);
        if !same {
            self.moments.push(moment);
        }
        !same
    }

    /// Whether pods of both versions of a role served at once.
    pub fn mixed(&self, role: &str) -> bool {
        let of = |moment: &Moment| moment.serving.get(role).copied().unwrap_or_default();
        self.moments.iter().map(of).any(|serving| serving.older > 0 && serving.newer > 0)
    }

    /// The fewest pods of a role that served at once.
    pub fn fewest(&self, role: &str) -> usize {
        let of = |moment: &Moment| moment.serving.get(role).copied().unwrap_or_default();
        let all = self.moments.iter().map(of).map(|serving| serving.older + serving.newer);
        all.min().unwrap_or(0)
    }

    /// The most.
    pub fn most(&self, role: &str) -> usize {
        let of = |moment: &Moment| moment.serving.get(role).copied().unwrap_or_default();
        let all = self.moments.iter().map(of).map(|serving| serving.older + serving.newer);
        all.max().unwrap_or(0)
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut first = true;
        for (role, _) in ROLES {
            let Serving { older, newer } = self.serving.get(role).copied().unwrap_or_default();
            let gap = if first { "" } else { "   " };
            write!(f, "{gap}{role} {older} older {newer} newer")?;
            first = false;
        }
        let old = self.pods.iter().filter(|(_, version)| **version == Version::Older);
        let old: Vec<_> = old.map(|(name, _)| name.as_str()).collect();
        if old.is_empty() { Ok(()) } else { write!(f, "   (older: {})", old.join(", ")) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn pair() -> Pair {
        let images = |tag: &str| {
            let image = |name: &str| (name.to_owned(), format!("{name}:{tag}"));
            [image("dataplane"), image("controlplane"), image("operator")].into()
        };
        Pair { older: images("1"), newer: images("2") }
    }

    pub(crate) fn pod(name: &str, role: &str, tag: &str) -> Pod {
        let program = if role == "controlplane" { role } else { "dataplane" };
        Pod {
            name: name.to_owned(),
            uid: format!("{name}-{tag}"),
            role: role.to_owned(),
            image: format!("{program}:{tag}"),
            serves: true,
            restarts: 0,
        }
    }

    #[test]
    fn both_versions_count_only_while_both_serve_at_once() {
        let (pair, mut record) = (pair(), Record::default());
        let owners = |tags: [&str; 2]| -> Vec<Pod> {
            tags.iter().zip(["o-0", "o-1"]).map(|(tag, name)| pod(name, "owner", tag)).collect()
        };
        let mut pods = owners(["2", "2"]);
        assert!(record.take(&pair, &pods, 0));
        assert!(!record.take(&pair, &pods, 1), "nothing is different");
        pods[0].serves = false;
        assert!(record.take(&pair, &pods, 2));
        assert!(!record.mixed("owner"));
        pods = owners(["1", "2"]);
        pods[0].serves = false;
        record.take(&pair, &pods, 3);
        assert!(!record.mixed("owner"), "it does not serve yet");
        record.take(&pair, &owners(["1", "2"]), 4);
        assert!(record.mixed("owner") && !record.mixed("edge"));
        assert_eq!((record.fewest("owner"), record.most("owner")), (1, 2));
        assert_eq!(record.moments.len(), 3);
        assert!(record.moments[2].to_string().contains("owner 1 older 1 newer"));
        assert!(record.moments[2].to_string().ends_with("(older: o-0)"));
        assert_eq!(record.uids.len(), 3);
    }

    #[test]
    fn a_pod_of_a_third_version_is_of_neither() {
        let pods = [pod("a", "edge", "3"), pod("b", "edge", "2"), pod("c", "controlplane", "1")];
        let others = pair().others(&pods, Version::Newer);
        assert_eq!(others.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(pair().version_of(&pods[0]), None);
    }

    #[test]
    fn a_program_that_is_the_same_in_both_versions_restarts_nobody() {
        let mut pair = pair();
        pair.older.insert("controlplane".to_owned(), "controlplane:2".to_owned());
        assert!(!pair.differs("controlplane") && pair.differs("owner") && pair.differs("edge"));
        let same = [pod("c", "controlplane", "2")];
        assert_eq!(pair.version_of(&same[0]), Some(Version::Newer));
        assert!(pair.others(&same, Version::Older).is_empty(), "it need not change");
    }

    #[test]
    fn a_pod_is_read_as_the_api_server_writes_it() {
        let value = serde_json::json!({
            "metadata": {"name": "eu-owner-0", "uid": "u", "labels": {"iris.dev/role": "owner"}},
            "spec": {"containers": [{"image": "dataplane:1"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                       "containerStatuses": [{"restartCount": 2}]},
        });
        let read = of(&value).unwrap();
        assert_eq!((read.serves, read.restarts, read.role.as_str()), (true, 2, "owner"));
        let mut leaving = value;
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert!(!of(&leaving).unwrap().serves);
        assert!(of(&serde_json::json!({})).is_err());
    }
}

//! What is wrong, in plain words. Pure: objects go in, sentences come out.

use iris_crds::conditions::{Condition, State, find};
use iris_crds::migration::ResultName;
use kube::ResourceExt as _;
use serde::Serialize;

use super::cluster::Objects;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// Of which object: `kind/name`.
    pub(super) object: String,
    /// What, and where it helps what to do.
    pub(super) text: String,
}

/// A condition and the status that is no trouble.
const GOOD: [(&str, State); 6] = [
    ("Stalled", State::False),
    ("Available", State::True),
    ("Covered", State::True),
    ("Degraded", State::False),
    ("CertificateReady", State::True),
    ("StoreFit", State::True),
];

/// What moves that have failed are told of: the newest.
const FAILED_TOLD: usize = 5;

/// Everything that is wrong, the widest first.
pub(super) fn problems(objects: &Objects) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut say = |object: String, text: String| found.push(Problem { object, text });
    if objects.clusters.is_empty() {
        let text = "there is no IrisCluster here: apply one, for example manifests/quickstart.yaml";
        say("cluster".to_owned(), text.to_owned());
    }
    for cluster in &objects.clusters {
        let conditions = cluster.status.as_ref().map(|status| status.conditions.as_slice());
        of_conditions(&mut say, "cluster", &cluster.name_any(), conditions);
        if cluster.spec.paused {
            say(
                named("cluster", &cluster.name_any()),
                "it is paused: nothing is changed".to_owned(),
            );
        }
    }
    for region in &objects.regions {
        let name = region.name_any();
        let status = region.status.as_ref();
        of_conditions(&mut say, "region", &name, status.map(|status| status.conditions.as_slice()));
        let Some(status) = status else { continue };
        if let Some(shards) = status.shards.filter(|shards| shards.serving < shards.total) {
            let missing = shards.total - shards.serving;
            say(
                named("region", &name),
                format!(
                    "{missing} of {} shards are not served ({} moving, {} taken over, {} released, \
                     {} never claimed): their clients are told to retry",
                    shards.total, shards.moving, shards.takeover, shards.released, shards.unclaimed
                ),
            );
        }
        for instance in &status.instances {
            let text = match instance.state.as_str() {
                "Silent" => "the control plane does not hear it",
                "TakenOver" => "its shards went to others",
                "Absent" => "the control plane does not know it: it may be starting",
                _ => continue,
            };
            say(named("owner", &instance.name), text.to_owned());
        }
    }
    for pool in &objects.pools {
        let conditions = pool.status.as_ref().map(|status| status.conditions.as_slice());
        of_conditions(&mut say, "pool", &pool.name_any(), conditions);
    }
    for map in &objects.maps {
        let status = map.status.as_ref();
        let conditions = status.map(|status| status.conditions.as_slice());
        of_conditions(&mut say, "map", &map.name_any(), conditions);
        for trouble in status.iter().flat_map(|status| &status.troubles) {
            say(format!("shard/{}", trouble.shard), trouble.message.clone());
        }
    }
    of_moves(&mut say, objects);
    found
}

fn of_moves(say: &mut impl FnMut(String, String), objects: &Objects) {
    let mut failed = Vec::new();
    for one in &objects.moves {
        let Some(status) = &one.status else { continue };
        match status.result {
            Some(ResultName::Failed) => failed.push(one),
            Some(ResultName::Succeeded | ResultName::Aborted | ResultName::Reversed) => {}
            None => {
                if let Some(stalled) = differs(&status.conditions, "Stalled", State::False) {
                    say(named("move", &one.name_any()), stalled.message.clone());
                }
            }
        }
    }
    failed.sort_by_key(|one| one.creation_timestamp().map(|time| time.0));
    for one in failed.iter().rev().take(FAILED_TOLD) {
        let conditions = one.status.iter().flat_map(|status| &status.conditions);
        let why = conditions.into_iter().find(|condition| condition.kind == "Succeeded");
        let why = why.map(|condition| condition.message.clone()).unwrap_or_default();
        say(named("move", &one.name_any()), format!("it failed: {why}"));
    }
}

fn of_conditions(
    say: &mut impl FnMut(String, String),
    kind: &str,
    name: &str,
    conditions: Option<&[Condition]>,
) {
    let Some(conditions) = conditions.filter(|conditions| !conditions.is_empty()) else {
        let text = "the operator has not looked at it yet: is it running? \
                    `kubectl get deploy -A | grep iris-operator`";
        return say(named(kind, name), text.to_owned());
    };
    let mut told: Vec<&str> = Vec::new();
    for (condition, good) in GOOD {
        if let Some(found) = differs(conditions, condition, good) {
            // Several conditions often say the same.
            if !told.contains(&found.message.as_str()) {
                told.push(&found.message);
                let text = if found.message.is_empty() { &found.reason } else { &found.message };
                say(named(kind, name), text.clone());
            }
        }
    }
}

fn differs<'a>(conditions: &'a [Condition], kind: &str, good: State) -> Option<&'a Condition> {
    find(conditions, kind).filter(|condition| condition.status != good)
}

fn named(kind: &str, name: &str) -> String {
    format!("{kind}/{name}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn objects() -> Objects {
        Objects {
            clusters: Vec::new(),
            regions: Vec::new(),
            pools: Vec::new(),
            maps: Vec::new(),
            moves: Vec::new(),
        }
    }

    fn condition(kind: &str, status: &str, message: &str) -> Value {
        json!({
            "type": kind, "status": status, "reason": "R", "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        })
    }

    fn region(status: Value) -> iris_crds::IrisRegion {
        let region = json!({
            "apiVersion": "iris.dev/v1alpha1", "kind": "IrisRegion", "metadata": {"name": "eu"},
            "spec": {
                "clusterRef": {"name": "chat"}, "cassandraDatacenter": "dc1",
                "etcd": {"endpoints": ["https://etcd:2379"]},
            },
            "status": status,
        });
        serde_json::from_value(region).unwrap()
    }

    fn texts(objects: &Objects) -> String {
        let texts = problems(objects).into_iter().map(|p| format!("{} {}", p.object, p.text));
        texts.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn nothing_at_all_is_a_problem() {
        assert!(texts(&objects()).contains("quickstart"));
    }

    #[test]
    fn a_region_without_trouble_has_no_problem() {
        let status = json!({
            "conditions": [condition("Available", "True", ""), condition("Stalled", "False", "")],
            "shards": {"total": 64, "serving": 64},
            "instances": [{"name": "o-0", "state": "Serving", "shards": 64, "updated": true}],
        });
        let objects = Objects { regions: vec![region(status)], ..objects() };
        assert!(!texts(&objects).contains("region/"), "{}", texts(&objects));
    }

    #[test]
    fn a_stalled_region_says_why_once_and_its_owners_are_named() {
        let why = "the Secret cassandra is missing";
        let status = json!({
            "conditions": [condition("Available", "False", why), condition("Stalled", "True", why)],
            "shards": {"total": 64, "serving": 40, "takeover": 24},
            "instances": [{"name": "o-1", "state": "TakenOver", "shards": 0, "updated": true}],
        });
        let found = texts(&Objects { regions: vec![region(status)], ..objects() });
        assert_eq!(found.matches(why).count(), 1, "{found}");
        assert!(found.contains("24 of 64 shards"), "{found}");
        assert!(found.contains("owner/o-1"), "{found}");
    }

    #[test]
    fn an_operator_that_never_looked_is_a_problem() {
        let found = texts(&Objects { regions: vec![region(json!({}))], ..objects() });
        assert!(found.contains("region/eu the operator has not looked"), "{found}");
    }
}

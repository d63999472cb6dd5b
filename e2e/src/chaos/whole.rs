//! Whether the cluster is whole: every pod of it and every resource of Iris is Ready, by what the API
//! server shows.
//!
//! Never waits and never mends.

use anyhow::Result;
use serde_json::Value;
use xtask::cluster::{Cluster, NAMESPACE};

/// The operator's namespace.
pub const SYSTEM: &str = "iris-system";

/// The kinds whose conditions count.
const KINDS: &str = "iriscluster,irisregion,irisshardmap,irisedgepool";

/// What must be true of an object that has such a condition, and what must not.
const WANTED: [&str; 2] = ["Available", "Covered"];
const UNWANTED: [&str; 2] = ["Degraded", "Stalled"];

/// Everything that is not as it should be.
///
/// # Errors
/// When the API server does not answer.
pub fn problems(cluster: &Cluster) -> Result<Vec<String>> {
    let mut problems = of_objects(&objects(cluster)?);
    problems.extend(of_pods(&pods(cluster)?));
    Ok(problems)
}

/// All pods of Iris, its databases and its operator.
pub(crate) fn pods(cluster: &Cluster) -> Result<Value> {
    let get = ["get", "pods", "--all-namespaces", "--request-timeout=10s", "-o", "json"];
    let mut pods: Value = serde_json::from_str(&cluster.kubectl(get)?)?;
    if let Some(items) = pods["items"].as_array_mut() {
        items.retain(|pod| {
            let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
            // A Job's pod ends.
            let ends = pod["metadata"]["ownerReferences"][0]["kind"] == "Job";
            [NAMESPACE, SYSTEM].contains(&namespace) && !ends
        });
    }
    Ok(pods)
}

fn objects(cluster: &Cluster) -> Result<Value> {
    let get = ["-n", NAMESPACE, "get", KINDS, "--request-timeout=10s", "-o", "json"];
    Ok(serde_json::from_str(&cluster.kubectl(get)?)?)
}

fn name(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or("Pod");
    format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or("?"))
}

fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|condition| condition["type"] == kind)
}

fn of_objects(list: &Value) -> Vec<String> {
    let objects: Vec<_> = list["items"].as_array().into_iter().flatten().collect();
    if objects.is_empty() {
        return vec!["there is no resource of Iris".to_owned()];
    }
    let mut problems = Vec::new();
    for object in objects {
        let mut judged = false;
        for (kinds, wanted) in [(WANTED, true), (UNWANTED, false)] {
            for kind in kinds {
                let Some(found) = condition(object, kind) else { continue };
                judged |= wanted;
                let is = found["status"] == "True";
                // What is not known is as good as wrong, on either side.
                let unknown = found["status"] == "Unknown";
                if is != wanted || unknown {
                    let why = found["message"].as_str().unwrap_or_default();
                    let status = found["status"].as_str().unwrap_or("?");
                    problems.push(format!("{}: {kind}={status} {why}", name(object)));
                }
            }
        }
        if !judged {
            problems.push(format!("{}: nothing says whether it is available", name(object)));
        }
    }
    problems
}

fn of_pods(list: &Value) -> Vec<String> {
    let pods: Vec<_> = list["items"].as_array().into_iter().flatten().collect();
    if pods.is_empty() {
        return vec!["there is no pod".to_owned()];
    }
    let mut problems = Vec::new();
    for pod in pods {
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            problems.push(format!("{} is on its way out", name(pod)));
        } else if condition(pod, "Ready").is_none_or(|ready| ready["status"] != "True") {
            let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
            let why = waiting.as_str().unwrap_or("no reason given");
            problems.push(format!("{} is not Ready: {why}", name(pod)));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(conditions: &[(&str, &str)]) -> Value {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status)| json!({"type": kind, "status": status, "message": "m"}))
            .collect();
        let object = json!({"kind": "IrisRegion", "metadata": {"name": "eu"}, "status": {"conditions": conditions}});
        json!({"items": [object]})
    }

    #[test]
    fn an_object_is_whole_when_it_is_available_and_nothing_ails_it() {
        let whole = [("Available", "True"), ("Degraded", "False"), ("Stalled", "False")];
        assert!(of_objects(&object(&whole)).is_empty());
        assert!(of_objects(&object(&[("Covered", "True")])).is_empty());
        for wrong in [
            &[("Available", "False")][..],
            &[("Available", "Unknown")],
            &[("Available", "True"), ("Degraded", "True")],
            &[("Available", "True"), ("Stalled", "Unknown")],
            &[("Progressing", "False")],
            &[],
        ] {
            assert_eq!(of_objects(&object(wrong)).len(), 1, "{wrong:?}");
        }
        assert_eq!(of_objects(&json!({"items": []})).len(), 1, "nothing there is not whole");
    }

    #[test]
    fn a_pod_is_whole_when_it_is_ready_and_stays() {
        let pod = |status: &str| {
            json!({"items": [{"metadata": {"name": "p"},
                "status": {"conditions": [{"type": "Ready", "status": status}]}}]})
        };
        assert!(of_pods(&pod("True")).is_empty());
        assert_eq!(of_pods(&pod("False")), ["Pod p is not Ready: no reason given"]);
        let mut leaving = pod("True");
        leaving["items"][0]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(of_pods(&leaving), ["Pod p is on its way out"]);
        assert_eq!(of_pods(&json!({"items": []})).len(), 1);
    }
}

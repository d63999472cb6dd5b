//! Why pods do not run, in words: what a container waits for, or what it said when it ended.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use crate::error::{Error, Tried};

/// Pods that are told of.
const TOLD_MAX: usize = 4;
/// The end of what a container said: that is where the reason is.
const WORDS_CHARS_MAX: usize = 600;

/// What is the matter with pods that are not ready.
pub async fn of_pods(
    client: &Client,
    namespace: &str,
    selector: &str,
) -> Result<Vec<String>, Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = api.list(&ListParams::default().labels(selector)).await;
    let pods = pods.tried(|| format!("cannot list the pods with {selector}"))?;
    let mut found: Vec<_> = pods.items.iter().filter_map(of_pod).collect();
    let more = found.len().saturating_sub(TOLD_MAX);
    found.truncate(TOLD_MAX);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    Ok(found)
}

/// What is the matter with a pod, if anything is.
fn of_pod(pod: &Pod) -> Option<String> {
    let name = pod.name_any();
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    if conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        return None;
    }
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    if let Some(why) = containers.iter().find_map(waiting) {
        return Some(format!("{name}: {why}"));
    }
    let unscheduled = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(message) = unscheduled.and_then(|condition| condition.message.clone()) {
        return Some(format!("{name}: not scheduled: {message}"));
    }
    let phase = status.phase.as_deref().unwrap_or("Unknown");
    Some(format!("{name}: {phase}, not ready"))
}

fn waiting(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone().unwrap_or_else(|| "waiting".to_owned());
    let before = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let said = before.and_then(|ended| ended.message.clone()).filter(|said| !said.is_empty());
    let said = said.or_else(|| waiting.message.clone()).unwrap_or_default();
    Some(if said.is_empty() { reason } else { format!("{reason}: {}", tail(&said)) })
}

/// What a pod that ended said last.
pub fn last_words(pod: &Pod) -> Option<String> {
    let containers = pod.status.as_ref()?.container_statuses.as_deref()?;
    containers.iter().find_map(|container| {
        let now = container.state.as_ref().and_then(|state| state.terminated.as_ref());
        let before = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let ended = now.or(before)?;
        let said = ended.message.clone().filter(|said| !said.trim().is_empty());
        said.map(|said| tail(&said)).or_else(|| waiting(container))
    })
}

fn tail(text: &str) -> String {
    let text = text.trim();
    let skipped = text.chars().count().saturating_sub(WORDS_CHARS_MAX);
    if skipped == 0 {
        return text.to_owned();
    }
    std::iter::once('…').chain(text.chars().skip(skipped)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "eu-owner-0"}, "status": status}))
            .unwrap()
    }

    #[test]
    fn a_pod_that_does_not_run_says_why() {
        let image = pod(json!({"phase": "Pending", "containerStatuses": [{
            "name": "owner", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
        }]}));
        assert_eq!(of_pod(&image).unwrap(), "eu-owner-0: ImagePullBackOff: no such image");
        let crash = pod(json!({"phase": "Running", "containerStatuses": [{
            "name": "owner", "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            "lastState": {"terminated": {"exitCode": 1, "message": "cannot reach cassandra:9042"}},
        }]}));
        assert_eq!(
            of_pod(&crash).unwrap(),
            "eu-owner-0: CrashLoopBackOff: cannot reach cassandra:9042"
        );
        assert_eq!(last_words(&crash).unwrap(), "cannot reach cassandra:9042");
        let ready = pod(json!({"conditions": [{"type": "Ready", "status": "True"}]}));
        assert_eq!(of_pod(&ready), None);
        let nowhere = pod(json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"},
        ]}));
        assert!(of_pod(&nowhere).unwrap().contains("0/3 nodes"));
    }

    #[test]
    fn the_end_of_a_long_text_is_what_counts() {
        let text = format!("{}the reason", "x".repeat(2000));
        let cut = tail(&text);
        assert!(cut.ends_with("the reason") && cut.chars().count() == WORDS_CHARS_MAX + 1);
    }
}

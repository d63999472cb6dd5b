//! What may change the pods that run. A change that people asked for is rolled out; one that only the
//! operator brings, because it is a newer one, waits until somebody lets it through.
//!
//! Both are told apart by what was written down with the workload: the template as it was applied, and
//! a digest of all that people had said then.

use std::collections::BTreeMap;

use iris_crds::cluster::OperatorChanges;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;

/// On workloads: the template as it was applied.
const TEMPLATE: &str = "iris.dev/template";
/// On workloads: a digest of what people had said when it was.
const INPUTS: &str = "iris.dev/inputs";
/// Differences that are told; more are counted.
const TOLD_MAX: usize = 8;

/// The template to apply, with what to write down.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The template.
    pub template: PodTemplateSpec,
    /// The annotations of the workload.
    pub annotations: BTreeMap<String, String>,
    /// What waits to be let through, in words.
    pub waiting: Option<String>,
}

/// Decides which template a workload gets: the one that was built, or the one that it has.
pub fn settle(
    live: Option<&BTreeMap<String, String>>,
    built: PodTemplateSpec,
    inputs: &str,
    changes: OperatorChanges,
) -> Result<Settled, Error> {
    let text = to_text(&built)?;
    let applied = live.and_then(|annotations| annotations.get(TEMPLATE));
    let same_inputs =
        live.and_then(|annotations| annotations.get(INPUTS)).map(String::as_str) == Some(inputs);
    if let Some(applied) = applied
        && same_inputs
        && changes == OperatorChanges::OnRequest
        && *applied != text
        // What cannot be read was not applied by this program or its predecessors: it is replaced.
        && let Ok(template) = serde_json::from_str::<PodTemplateSpec>(applied)
    {
        let before: Value = serde_json::from_str(applied).unwrap_or_default();
        let after: Value = serde_json::from_str(&text).unwrap_or_default();
        let differences = differences(&before, &after);
        // Written by a version that spelled the same thing differently.
        let waiting = (!differences.is_empty()).then(|| told(&differences));
        let annotations = annotations(applied.clone(), inputs);
        return Ok(Settled { template, annotations, waiting });
    }
    Ok(Settled { template: built, annotations: annotations(text, inputs), waiting: None })
}

/// A digest of what people said.
pub fn inputs(parts: &[&dyn erased::Json]) -> Result<String, Error> {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        let text = part.json()?;
        hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    Ok(hasher.finalize().to_hex().chars().take(16).collect())
}

/// Anything that can be written as JSON, behind a pointer.
pub mod erased {
    use super::{Error, Serialize, to_text};

    /// Anything that can be written as JSON.
    pub trait Json {
        /// Its text.
        fn json(&self) -> Result<String, Error>;
    }

    impl<T: Serialize> Json for T {
        fn json(&self) -> Result<String, Error> {
            to_text(self)
        }
    }
}

fn annotations(template: String, inputs: &str) -> BTreeMap<String, String> {
    [(TEMPLATE.to_owned(), template), (INPUTS.to_owned(), inputs.to_owned())].into()
}

fn to_text(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Internal(format!("no JSON: {error}")))
}

fn told(differences: &[String]) -> String {
    let mut text = differences.iter().take(TOLD_MAX).cloned().collect::<Vec<_>>().join("; ");
    if differences.len() > TOLD_MAX {
        text += &format!("; and {} more", differences.len() - TOLD_MAX);
    }
    text
}

/// Where two templates differ, in words.
fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Object(before), Value::Object(after)) => {
            let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
                let (before, after) = (of(before), of(after));
                compare(&path, &before.unwrap_or_default(), &after.unwrap_or_default(), found);
            }
        }
        (Value::Array(before), Value::Array(after)) if named(before) && named(after) => {
            compare(path, &by_name(before), &by_name(after), found);
        }
        (before, after) => found.push(format!("{path}: {} -> {}", short(before), short(after))),
    }
}

/// Lists of Kubernetes whose items have names are compared by them.
fn named(list: &[Value]) -> bool {
    list.iter().all(|item| item["name"].is_string())
}

fn by_name(list: &[Value]) -> Value {
    let items = list.iter();
    Value::Object(
        items
            .map(|item| (item["name"].as_str().unwrap_or_default().to_owned(), item.clone()))
            .collect(),
    )
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => return "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() > 80 {
        return text.chars().take(79).chain(['…']).collect();
    }
    text
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec};

    use super::*;

    fn template(image: &str, env: &[&str]) -> PodTemplateSpec {
        let env = env.iter().map(|name| EnvVar {
            name: (*name).to_owned(),
            value: Some("1".to_owned()),
            value_from: None,
        });
        PodTemplateSpec {
            metadata: None,
            spec: Some(PodSpec {
                containers: vec![Container {
                    name: "owner".to_owned(),
                    image: Some(image.to_owned()),
                    env: Some(env.collect()),
                    ..Container::default()
                }],
                ..PodSpec::default()
            }),
        }
    }

    fn applied(template: PodTemplateSpec, inputs: &str) -> BTreeMap<String, String> {
        settle(None, template, inputs, OperatorChanges::OnRequest).unwrap().annotations
    }

    #[test]
    fn an_upgrade_of_the_operator_alone_changes_no_pod() {
        let before = applied(template("a:1", &["A"]), "said");
        let newer = template("a:1", &["A", "B"]);
        let settled =
            settle(Some(&before), newer.clone(), "said", OperatorChanges::OnRequest).unwrap();
        assert_eq!(settled.template, template("a:1", &["A"]));
        assert_eq!(settled.annotations, before, "and it goes on waiting");
        let waiting = settled.waiting.unwrap();
        assert!(waiting.contains("spec.containers.owner.env.B: none -> "), "{waiting}");
        // Let through at once where people want that.
        let at_once = settle(Some(&before), newer, "said", OperatorChanges::Always).unwrap();
        assert_eq!((at_once.waiting, at_once.template), (None, template("a:1", &["A", "B"])));
    }

    #[test]
    fn what_people_change_is_rolled_out_with_all_that_waited() {
        let before = applied(template("a:1", &["A"]), "said");
        let newer = template("a:2", &["A", "B"]);
        let settled =
            settle(Some(&before), newer.clone(), "said more", OperatorChanges::OnRequest).unwrap();
        assert_eq!((settled.template, settled.waiting), (newer, None));
    }

    #[test]
    fn what_was_not_written_down_is_replaced() {
        let built = template("a:1", &[]);
        let nothing =
            settle(Some(&BTreeMap::new()), built.clone(), "said", OperatorChanges::OnRequest);
        assert_eq!(nothing.unwrap().template, built);
        let torn = [(TEMPLATE.to_owned(), "{".to_owned()), (INPUTS.to_owned(), "said".to_owned())];
        let torn = settle(Some(&torn.into()), built.clone(), "said", OperatorChanges::OnRequest);
        assert_eq!(torn.unwrap().template, built);
    }

    #[test]
    fn differences_are_told_by_name_and_bounded() {
        let names: Vec<_> = (0..20).map(|n| format!("V{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let before = applied(template("a:1", &[]), "said");
        let after =
            settle(Some(&before), template("b:1", &names), "said", OperatorChanges::OnRequest);
        let text = after.unwrap().waiting.unwrap();
        assert!(text.contains("and 13 more"), "{text}");
    }

    #[test]
    fn inputs_differ_where_what_was_said_does() {
        let a = inputs(&[&"ab", &"c"]).unwrap();
        assert_eq!(a, inputs(&[&"ab", &"c"]).unwrap());
        assert_ne!(a, inputs(&[&"a", &"bc"]).unwrap());
    }
}

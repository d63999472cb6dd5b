//! Whether the API server serves the definitions that this operator was built with: fields that it
//! would drop, or rules that it would not keep, are found before anything is written.
//!
//! A server that knows more is well: a newer chart of definitions comes before a newer operator.

use iris_crds::generate::{self, GenerateError};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

/// Differences that are told.
const TOLD_MAX: usize = 5;

/// Why this operator must not work with this API server.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// What the operator was built with is not a definition.
    #[error("the operator is at fault: {0}")]
    Own(#[from] GenerateError),
    /// A mistake in the operator.
    #[error("the operator is at fault: {0}")]
    Json(#[from] serde_json::Error),
    /// The API server did not say.
    #[error("cannot read the definition {name}: {}", iris_runtime::rpc::chain(source))]
    Api {
        /// Which.
        name: String,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// It is not installed.
    #[error("the definition {0} is not installed: install the chart iris-crds first")]
    Missing(String),
    /// It is older than the operator, or another.
    #[error(
        "the definition {name} is not the one that this operator needs ({differences}): upgrade the \
         chart iris-crds to the operator's version, then the operator goes on by itself"
    )]
    Differs {
        /// Which.
        name: String,
        /// Where.
        differences: String,
    },
}

/// Compares every definition. Nothing is changed.
pub async fn check(client: &Client) -> Result<(), DefinitionsError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for own in generate::definitions()? {
        let name = own.name_any();
        let served = api.get_opt(&name).await;
        let served = served.map_err(|source| DefinitionsError::Api {
            name: name.clone(),
            source: Box::new(source),
        })?;
        let Some(served) = served else { return Err(DefinitionsError::Missing(name)) };
        let differences = differences(&own, &served)?;
        if !differences.is_empty() {
            let mut told = differences.iter().take(TOLD_MAX).cloned().collect::<Vec<_>>();
            if differences.len() > TOLD_MAX {
                told.push(format!("{} more", differences.len() - TOLD_MAX));
            }
            return Err(DefinitionsError::Differs { name, differences: told.join("; ") });
        }
    }
    Ok(())
}

fn differences(
    own: &CustomResourceDefinition,
    served: &CustomResourceDefinition,
) -> Result<Vec<String>, DefinitionsError> {
    let established = served.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut established = established.filter(|condition| condition.type_ == "Established");
    if !established.any(|condition| condition.status == "True") {
        return Ok(vec!["it is not established yet".to_owned()]);
    }
    let mut found = Vec::new();
    for version in &own.spec.versions {
        let same = served.spec.versions.iter().find(|other| other.name == version.name);
        let Some(other) = same.filter(|other| other.served) else {
            found.push(format!("version {} is not served", version.name));
            continue;
        };
        let (own, served) = (serde_json::to_value(version)?, serde_json::to_value(other)?);
        let schema = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
        compare("", &schema(&own), &schema(&served), &mut found);
    }
    Ok(found)
}

/// What of our schema is not in the served one.
fn compare(path: &str, own: &Value, served: &Value, found: &mut Vec<String>) {
    let place = if path.is_empty() { "the object" } else { path };
    if own["type"] != served["type"] {
        found.push(format!("{place} is {} and should be {}", served["type"], own["type"]));
        return;
    }
    let properties = own["properties"].as_object().into_iter().flatten();
    for (name, property) in properties {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match served["properties"].get(name) {
            Some(other) => compare(&path, property, other, found),
            None => found.push(format!("{path} is missing")),
        }
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if own[key].is_object() {
            compare(&format!("{path}{mark}"), &own[key], &served[key], found);
        }
    }
    for value in own["enum"].as_array().into_iter().flatten() {
        let known = served["enum"].as_array().is_none_or(|values| values.contains(value));
        if !known {
            found.push(format!("{place} cannot be {value}"));
        }
    }
    let rules = |schema: &Value| -> Vec<String> {
        let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        rules.filter_map(|rule| rule["rule"].as_str().map(str::to_owned)).collect()
    };
    let kept = rules(served);
    for rule in rules(own).into_iter().filter(|rule| !kept.contains(rule)) {
        found.push(format!("{place} does not keep the rule {rule:?}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn established(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
        let status = json!({"conditions": [{"type": "Established", "status": "True"}]});
        definition.status = Some(serde_json::from_value(status).unwrap());
        definition
    }

    fn changed(change: impl Fn(&mut Value)) -> Vec<String> {
        let own = generate::definitions().unwrap().remove(0);
        let mut value = serde_json::to_value(established(own.clone())).unwrap();
        change(&mut value);
        differences(&own, &serde_json::from_value(value).unwrap()).unwrap()
    }

    fn schema(value: &mut Value) -> &mut Value {
        &mut value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    }

    #[test]
    fn what_the_server_would_drop_or_not_keep_is_found() {
        assert!(changed(|_| {}).is_empty());
        let newer =
            changed(|value| schema(value)["properties"]["more"] = json!({"type": "string"}));
        assert!(newer.is_empty(), "a newer definition is well: {newer:?}");
        let lacks = changed(|value| {
            schema(value)["properties"].as_object_mut().unwrap().remove("shardCount");
        });
        assert_eq!(lacks, ["spec.shardCount is missing"]);
        let other =
            changed(|value| schema(value)["properties"]["shardCount"]["type"] = "string".into());
        assert!(other[0].starts_with("spec.shardCount is"), "{other:?}");
        let lax = changed(|value| {
            let rules = &mut schema(value)["properties"]["shardCount"]["x-kubernetes-validations"];
            *rules = json!([]);
        });
        assert!(lax.iter().any(|text| text.contains("does not keep the rule")), "{lax:?}");
        let unserved = changed(|value| value["spec"]["versions"][0]["served"] = false.into());
        assert_eq!(unserved, ["version v1alpha1 is not served"]);
        let early = changed(|value| value["status"] = json!({}));
        assert_eq!(early, ["it is not established yet"]);
    }
}

//! The CustomResourceDefinitions, as they are installed.
//!
//! Never writes a file; `bin/crdgen.rs` does.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt, ResourceExt};
use serde_json::Value;

use crate::{
    IrisCluster, IrisEdgePool, IrisRebalance, IrisRegion, IrisShardMap, IrisShardMigration,
};

/// Why nothing can be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The derived definition is not one.
    #[error("a definition cannot be converted: {0}")]
    Json(#[from] serde_json::Error),
    /// It cannot be written as YAML.
    #[error("a definition cannot be written: {0}")]
    Yaml(String),
}

/// Every definition, in the order in which people read them.
pub fn definitions() -> Result<Vec<CustomResourceDefinition>, GenerateError> {
    [
        IrisCluster::crd(),
        IrisRegion::crd(),
        IrisEdgePool::crd(),
        IrisShardMap::crd(),
        IrisShardMigration::crd(),
        IrisRebalance::crd(),
    ]
    .into_iter()
    .map(finish)
    .collect()
}

/// What Helm must not delete with a chart, and formats that an API server knows.
fn finish(
    mut definition: CustomResourceDefinition,
) -> Result<CustomResourceDefinition, GenerateError> {
    let keep = ("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    definition.annotations_mut().extend([keep]);
    let mut value = serde_json::to_value(definition)?;
    tidy(&mut value);
    Ok(serde_json::from_value(value)?)
}

/// API servers warn of formats that they do not know: of the unsigned ones, and of `double`'s kin.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let known = match map.get("format").and_then(Value::as_str) {
                Some("uint8" | "uint16" | "int8" | "int16") => Some("int32"),
                Some("uint32" | "uint64" | "uint") => Some("int64"),
                _ => None,
            };
            if let Some(format) = known {
                map.insert("format".to_owned(), format.into());
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(list) => list.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A definition's file: its name and its text.
pub fn file(definition: &CustomResourceDefinition) -> Result<(String, String), GenerateError> {
    let plural = &definition.spec.names.plural;
    // Through a value, so that keys are sorted and the text is the same on every machine.
    let value = serde_json::to_value(definition)?;
    let yaml =
        serde_saphyr::to_string(&value).map_err(|error| GenerateError::Yaml(error.to_string()))?;
    let header =
        "# Generated from the types in crds/src by `cargo run -p iris-crds --bin crdgen`.\n";
    Ok((format!("{plural}.yaml"), format!("{header}{yaml}")))
}

//! What is generated is what is in the repository, and what an API server can serve.

use std::process::Command;

use iris_crds::generate;
use serde_json::Value;

#[test]
fn the_repository_has_what_is_generated() {
    let output = Command::new(env!("CARGO_BIN_EXE_crdgen")).arg("--check").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_kind_is_complete() {
    let definitions = generate::definitions().unwrap();
    assert_eq!(definitions.len(), 6);
    for definition in definitions {
        let name = definition.metadata.name.clone().unwrap();
        let value = serde_json::to_value(&definition).unwrap();
        let names = &value["spec"]["names"];
        assert_eq!(names["categories"], serde_json::json!(["iris"]), "{name}");
        assert_eq!(names["shortNames"].as_array().unwrap().len(), 1, "{name}");
        let version = &value["spec"]["versions"][0];
        assert!(version["subresources"]["status"].is_object(), "{name} has a status subresource");
        let columns = version["additionalPrinterColumns"].as_array().unwrap();
        let has = |column: &str| columns.iter().any(|known| known["name"] == column);
        assert!(has("Age") && columns.len() >= 5, "{name}");
        let schema = &version["schema"]["openAPIV3Schema"];
        undescribed(&name, schema);
        assert!(!has_unknown_format(schema), "{name} has a format that API servers warn of");
    }
}

/// Every field of a spec and of a status says what it is.
fn undescribed(path: &str, schema: &Value) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        assert!(property["description"].is_string(), "{path} has no description");
        undescribed(&path, property);
        undescribed(&path, &property["items"]);
    }
}

fn has_unknown_format(value: &Value) -> bool {
    match value {
        Value::Object(map) => {
            let unknown = map
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(|format| !matches!(format, "int32" | "int64" | "date-time"));
            unknown || map.values().any(has_unknown_format)
        }
        Value::Array(list) => list.iter().any(has_unknown_format),
        _ => false,
    }
}

#[test]
fn only_kinds_that_scale_have_a_scale() {
    for definition in generate::definitions().unwrap() {
        let value = serde_json::to_value(&definition).unwrap();
        let scale = &value["spec"]["versions"][0]["subresources"]["scale"];
        let scales = matches!(definition.spec.names.kind.as_str(), "IrisRegion" | "IrisEdgePool");
        assert_eq!(scale.is_object(), scales, "{}", definition.spec.names.kind);
    }
}

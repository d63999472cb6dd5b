//! What people say about pods, laid over what was built. It adds; what was built stays.

use std::collections::BTreeMap;

use iris_crds::common::PodOverlay;
use k8s_openapi::api::core::v1::{Affinity, EnvVar, PodTemplateSpec, Toleration};

use crate::error::Error;

pub(super) fn lay(overlay: &PodOverlay, template: &mut PodTemplateSpec) -> Result<(), Error> {
    let metadata = template.metadata.get_or_insert_default();
    add(&mut metadata.labels, &overlay.labels);
    add(&mut metadata.annotations, &overlay.annotations);
    let spec = template.spec.get_or_insert_default();
    if !overlay.node_selector.is_empty() {
        spec.node_selector = Some(overlay.node_selector.clone());
    }
    spec.priority_class_name.clone_from(&overlay.priority_class_name);
    if !overlay.tolerations.is_empty() {
        spec.tolerations = Some(overlay.tolerations.iter().map(toleration).collect());
    }
    spec.affinity = overlay.affinity.clone().map(affinity).transpose()?;
    for container in &mut spec.containers {
        let said = overlay.env.iter().map(|variable| EnvVar {
            name: variable.name.clone(),
            value: Some(variable.value.clone()),
            value_from: None,
        });
        container.env.get_or_insert_default().extend(said);
    }
    Ok(())
}

fn add(built: &mut Option<BTreeMap<String, String>>, said: &BTreeMap<String, String>) {
    let built = built.get_or_insert_default();
    for (key, value) in said {
        built.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

fn toleration(said: &iris_crds::common::Toleration) -> Toleration {
    Toleration {
        key: said.key.clone(),
        operator: said.operator.clone(),
        value: said.value.clone(),
        effect: said.effect.clone(),
        toleration_seconds: said.toleration_seconds,
    }
}

fn affinity(said: serde_json::Value) -> Result<Affinity, Error> {
    serde_json::from_value(said).map_err(|error| {
        let message = format!("template.affinity is not a pod's affinity: {error}");
        Error::blocked("InvalidTemplate", message)
    })
}

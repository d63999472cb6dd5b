//! What is changed on the way: the images of the cluster's pods in its spec, and the operator by its chart.
//! And how everything is put back.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use xtask::cluster::{Cluster, NAMESPACE};

use super::pods::Images;
use crate::chaos::whole::SYSTEM;

/// The quickstart's cluster.
const CLUSTER: &str = "iriscluster/chat";
/// The operator's release and Deployment.
const CHART: &str = "iris";
const OPERATOR: &str = "deployment/iris-operator";
/// How long a new operator may take to be ready.
const OPERATOR_MAX_S: u32 = 300;

/// What the cluster's spec said before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    dataplane: Value,
    control_plane: Value,
    operator_changes: Value,
}

impl Said {
    /// As it is now.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn now(cluster: &Cluster) -> Result<Self> {
        let get = ["-n", NAMESPACE, "get", CLUSTER, "-o", "json"];
        Ok(Self::of(&serde_json::from_str(&cluster.kubectl(get)?)?))
    }

    fn of(object: &Value) -> Self {
        let spec = &object["spec"];
        Self {
            dataplane: spec["images"]["dataplane"].clone(),
            control_plane: spec["images"]["controlPlane"].clone(),
            operator_changes: spec["updatePolicy"]["operatorChanges"].clone(),
        }
    }

    /// For a file.
    pub fn to_json(&self) -> String {
        self.patch().to_string()
    }

    /// From a file.
    ///
    /// # Errors
    /// When it is none that [`Said::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self> {
        let patch: Value = serde_json::from_str(text).context("what the spec said")?;
        Ok(Self::of(&patch))
    }

    /// The patch after which the spec says this again. What was not there is taken out.
    fn patch(&self) -> Value {
        json!({"spec": {
            "images": {"dataplane": self.dataplane, "controlPlane": self.control_plane},
            "updatePolicy": {"operatorChanges": self.operator_changes},
        }})
    }

    /// Says it again.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn say(&self, cluster: &Cluster) -> Result<()> {
        patch(cluster, &self.patch())
    }
}

/// Has the cluster's pods run these images. Nothing else restarts them meanwhile, as in production: what
/// only another operator would change waits.
///
/// # Errors
/// When the API server refuses.
pub fn name_images(cluster: &Cluster, images: &Images) -> Result<()> {
    let image = |name: &str| images.get(name).with_context(|| format!("no image of {name}"));
    let (dataplane, control_plane) = (image("dataplane")?, image("controlplane")?);
    patch(
        cluster,
        &json!({"spec": {
            "images": {"dataplane": dataplane, "controlPlane": control_plane},
            "updatePolicy": {"operatorChanges": "OnRequest"},
        }}),
    )
}

fn patch(cluster: &Cluster, patch: &Value) -> Result<()> {
    let text = patch.to_string();
    let args = ["-n", NAMESPACE, "patch", CLUSTER, "--type=merge", "-p", &text];
    cluster.kubectl(args).map(drop)
}

/// An operator and the chart that installs it.
#[derive(Debug, Clone)]
pub struct Operator {
    /// The chart's directory.
    pub chart: PathBuf,
    /// Its images.
    pub images: Images,
}

impl Operator {
    /// The operator of a version whose work tree this is.
    pub fn of(source: &Path, images: &Images) -> Self {
        Self { chart: source.join("charts/iris"), images: images.clone() }
    }

    /// Installs it instead of the one that runs, as `helm upgrade` does, and waits until it is ready. The
    /// definitions stay the newer ones: they come before an operator and never go back.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn install(&self, cluster: &Cluster) -> Result<()> {
        let mut args: Vec<String> = ["upgrade", CHART].map(str::to_owned).into();
        args.push(self.chart.display().to_string());
        args.extend(["-n", SYSTEM].map(str::to_owned));
        for name in ["operator", "dataplane", "controlplane"] {
            let image = self.images.get(name).with_context(|| format!("no image of {name}"))?;
            args.extend(["--set".to_owned(), format!("images.{name}={image}")]);
        }
        cluster.helm(&args)?;
        let limit = format!("--timeout={OPERATOR_MAX_S}s");
        cluster.kubectl(["-n", SYSTEM, "rollout", "status", OPERATOR, &limit]).map(drop)
    }
}

/// What the operator's Deployment runs.
///
/// # Errors
/// When the API server does not answer.
pub fn operator_image(cluster: &Cluster) -> Result<String> {
    let path = "-o=jsonpath={.spec.template.spec.containers[0].image}";
    Ok(cluster.kubectl(["-n", SYSTEM, "get", OPERATOR, path])?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spec_did_not_say_is_taken_out_again() {
        let quickstart = json!({"spec": {"updatePolicy": {"operatorChanges": "Always"}}});
        let patch = Said::of(&quickstart).patch();
        assert_eq!(patch["spec"]["images"], json!({"dataplane": null, "controlPlane": null}));
        assert_eq!(patch["spec"]["updatePolicy"]["operatorChanges"], "Always");
        let named = json!({"spec": {"images": {"dataplane": "d:1", "pullPolicy": "Never"}}});
        let patch = Said::of(&named).patch();
        assert_eq!(patch["spec"]["images"]["dataplane"], "d:1");
        assert_eq!(patch["spec"]["updatePolicy"], json!({"operatorChanges": null}));
        let kept = Said::from_json(&Said::of(&named).to_json()).unwrap();
        assert_eq!(kept, Said::of(&named));
    }
}

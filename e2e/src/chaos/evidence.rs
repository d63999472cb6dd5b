//! What the cluster says of itself after a cell that failed, in files: pods, resources, logs.
//!
//! Never fails: a cell has failed already, and what can be kept is kept.

use std::fs;
use std::path::Path;

use xtask::cluster::NAMESPACE;

use super::scene::Scene;
use super::whole::{self, SYSTEM};

/// A cell takes about a minute, healing two more.
const SINCE: &str = "--since=6m";

pub(crate) fn keep(scene: &Scene, dir: &Path) {
    if let Err(error) = fs::create_dir_all(dir) {
        scene.say(&format!("no evidence is kept: {dir:?}: {error}"));
        return;
    }
    let limit = "--request-timeout=20s";
    let resources = "iriscluster,irisregion,irisedgepool,irisshardmap,irisshardmigration";
    let asked: [(&str, Vec<&str>); 3] = [
        ("pods.txt", vec!["get", "pods", "-A", "-o", "wide", limit]),
        ("resources.yaml", vec!["-n", NAMESPACE, "get", resources, "-o", "yaml", limit]),
        ("events.txt", vec!["get", "events", "-A", "--sort-by=.lastTimestamp", limit]),
    ];
    let write = |file: &str, args: &[&str]| {
        let text = scene.cluster.kubectl(args).unwrap_or_else(|error| format!("{error:#}"));
        // There is nobody to tell.
        let _ = fs::write(dir.join(file), text);
    };
    for (file, args) in asked {
        write(file, &args);
    }
    let pods = whole::pods(&scene.cluster).unwrap_or_default();
    for pod in pods["items"].as_array().into_iter().flatten() {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        let iris = namespace == SYSTEM || !pod["metadata"]["labels"]["iris.dev/role"].is_null();
        if iris {
            write(&format!("{name}.log"), &["-n", namespace, "logs", name, SINCE, limit]);
            let previous = ["-n", namespace, "logs", name, "--previous", "--tail=2000", limit];
            write(&format!("{name}.previous.log"), &previous);
        }
    }
    scene.say(&format!("what the cluster says of it is in {}", dir.display()));
}

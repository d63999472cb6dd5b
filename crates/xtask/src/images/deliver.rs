//! Getting images to where pods are started: into each node's containerd, into `kind`, or to a
//! registry.
//!
//! Never sends a node what it already has.

use std::thread;

use anyhow::{Context, Result};

use super::{Image, buildah};
use crate::{
    cluster::{Local, node::ctr, plan::NodeId},
    env::Env,
};

/// Imports images on a node, unless it has them.
pub(crate) fn import(local: &Local, node: NodeId, images: &[&Image]) -> Result<()> {
    let known = ctr(local, node).args(["images", "ls", "-q"]).output()?;
    for image in images {
        if !known.lines().any(|line| line == image.reference) {
            ctr(local, node).args(["images", "import"]).arg(&image.archive).run()?;
        }
    }
    Ok(())
}

/// Imports images on all nodes, two nodes at a time: unpacking is bound by the disk.
pub(crate) fn import_everywhere(local: &Local, images: &[&Image]) -> Result<()> {
    let nodes: Vec<NodeId> = local.plan.nodes().collect();
    for pair in nodes.chunks(2) {
        thread::scope(|scope| {
            let imports: Vec<_> =
                pair.iter().map(|node| scope.spawn(move || import(local, *node, images))).collect();
            imports.into_iter().try_for_each(|import| {
                import.join().map_err(|_| anyhow::anyhow!("an import ended badly"))?
            })
        })?;
    }
    Ok(())
}

/// Whether a node has all of these images.
pub(crate) fn has(local: &Local, node: NodeId, images: &[&Image]) -> Result<bool> {
    let known = ctr(local, node).args(["images", "ls", "-q"]).output()?;
    Ok(images.iter().all(|image| known.lines().any(|line| line == image.reference)))
}

/// Pushes an image to a registry and gives its reference there.
pub(crate) fn push(env: &Env, image: &Image, registry: &str) -> Result<String> {
    let tail = image.reference.split_once('/').context("a reference without a slash")?.1;
    let reference = format!("{registry}/iris-{tail}");
    let from = format!("oci-archive:{}", image.archive.display());
    let pulled = buildah(env)?.args(["pull", "--quiet", &from]).output()?;
    let id = pulled.lines().last().context("the image builder gave no identifier")?.to_owned();
    buildah(env)?.args(["push", "--quiet", &id, &format!("docker://{reference}")]).run()?;
    buildah(env)?.args(["rmi", "--force", &id]).run()?;
    Ok(reference)
}
